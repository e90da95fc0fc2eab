"""Pickles of ``{path: score}``, read without running anything that they bring.

A pickle is a program. This reader knows the names of NumPy's constructors of scalars and dtypes, and the one that
turns text into bytes in older protocols, but calls stand-ins of its own for them; any other name is refused.
"""

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from dfeval.errors import ScoreFileError

# Protocols 2 and later begin with a mark; 0 and 1 with a dict: `(d`, an empty one stored at 0, or `}q` and `}(`.
MAGICS = (b"\x80", b"(dp", b"(d", b"}q\x00", b"}(", b"}.")
ADVICE = "expected a plain dict of {path: number}; save the scores as CSV (utt_id,score) instead"
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def read_pickle(content: bytes, path: Path) -> pd.DataFrame:
    """The columns ``utt_id`` and ``score`` of a pickle; ScoreFileError for any that is more than numbers by name."""
    try:
        scores = _Unpickler(io.BytesIO(content), encoding="latin-1").load()
    except ScoreFileError as error:
        raise ScoreFileError(f"{path}: refused: {error}; {ADVICE}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ScoreFileError(f"{path}: is no readable pickle ({error}); {ADVICE}") from error
    if not isinstance(scores, dict) or not all(isinstance(name, str) for name in scores):
        raise ScoreFileError(f"{path}: holds {type(scores).__name__}; {ADVICE}")
    wrong = next((value for value in scores.values() if not isinstance(value, int | float)), None)
    if wrong is not None:
        raise ScoreFileError(f"{path}: holds a score of type {type(wrong).__name__}; {ADVICE}")
    try:
        return pd.DataFrame({"utt_id": list(scores), "score": list(map(float, scores.values()))})
    except OverflowError:
        problem = "expected a number that a float can hold, found a whole number beyond it"
        raise ScoreFileError(f"{path}: {problem}; {ADVICE}") from None


def refuse_global(module: str, name: str) -> NoReturn:
    """What a pickle gets that asks for any other name than those of the stand-ins."""
    raise ScoreFileError(f"it asks for {module}.{name}, and a stranger's pickle may run anything")


class StandIn:
    """Called in place of a global. It has no attributes to set, and refuses the state that a pickle would give it."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        """Refuse the state."""
        raise ScoreFileError("it changes what it was given to call")


class _Number:
    """What a pickle asks of a dtype: a number's kind and size, and its order of bytes in the state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ScoreFileError("it asks for a NumPy dtype that is no number")
        self.order = "<" if state[1] == "=" else str(state[1])


class _Dtype(StandIn):
    __slots__ = ()

    def __call__(self, code: object, *_: object) -> _Number:
        if not isinstance(code, str) or code not in NUMBERS:
            raise ScoreFileError(f"it asks for a NumPy dtype {str(code)[:20]!r}, which is no number")
        return _Number(code)


class _Scalar(StandIn):
    __slots__ = ()

    def __call__(self, dtype: object, data: object = b"") -> float | int:
        raw = data.encode("latin-1") if isinstance(data, str) else data
        if not isinstance(dtype, _Number) or not isinstance(raw, bytes):
            raise ScoreFileError("it asks for a NumPy scalar that is no number")
        plain = np.dtype(dtype.order + dtype.code)
        if len(raw) != plain.itemsize:
            raise ScoreFileError(f"a NumPy scalar of {plain.itemsize} bytes has {len(raw)}")
        number: float | int = np.frombuffer(raw, plain)[0].item()
        return number


class _Encode(StandIn):
    __slots__ = ()

    def __call__(self, text: object, encoding: object = "latin1") -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise ScoreFileError("it asks for a codec")
        return text.encode("latin-1")


_STAND_INS = {
    ("numpy", "dtype"): _Dtype(),
    ("numpy.core.multiarray", "scalar"): _Scalar(),
    ("numpy._core.multiarray", "scalar"): _Scalar(),
    ("_codecs", "encode"): _Encode(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _STAND_INS[module, name] if (module, name) in _STAND_INS else refuse_global(module, name)

    def persistent_load(self, pid: Any) -> NoReturn:
        raise ScoreFileError(f"it asks for a persistent object {pid!r}")
