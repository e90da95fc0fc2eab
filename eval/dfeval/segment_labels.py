"""Which parts of a recording are spoof: RTTM, lists of parts, and PartialSpoof's arrays of labels.

rttm           SPEAKER CON_E_0000001 1 0.52 0.31 <NA> <NA> spoof <NA> <NA>
parts          CON_E_0000001 2.83 spoof 0.00-0.52-bonafide 0.52-0.83-spoof 0.83-2.83-bonafide
partialspoof   eval_seglab_0.02.npy: {name: array of "1" (bona fide) and "0" (spoof)}, an array each 20 ms
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfeval.errors import ProtocolError, ScoreFileError
from dfeval.formats import LABELS, SPOOF
from dfeval.metrics.eer import Floats
from dfeval.pickles import NUMBERS, StandIn, refuse_global

SPOOF_DIGIT, BONAFIDE_DIGIT = "0", "1"  # as PartialSpoof has them
RESOLUTION = re.compile(r"_(\d+(?:\.\d+)?)\.npy$")
RTTM_FIELDS = 8  # up to the label; two more follow it, as a rule

# Spoof parts of a recording: seconds, shape (n_parts, 2), in order and apart; all else is bona fide.
Parts = Mapping[str, Floats]


def load_segment_labels(path: Path, kind: str | None = None) -> Parts:
    """The spoof parts of each recording.

    Args:
        path: of the labels.
        kind: a key of `KINDS`; found out from the content unless given.

    Raises:
        ProtocolError: it can't be read, or makes no parts.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProtocolError(f"{path}: can't be read as labels of parts: {error.strerror or error}") from None
    chosen = kind or _kind_of(content)
    if chosen not in KINDS:
        raise ProtocolError(f"labels of the kind {chosen!r} are unknown; known are {', '.join(KINDS)}")
    parts = KINDS[chosen](path, content)
    if not parts:
        raise ProtocolError(f"{path}: expected labels of parts ({chosen}), found none")
    return {name: _merged(np.array(sorted(spoof), dtype=np.float64).reshape(-1, 2)) for name, spoof in parts.items()}


def _kind_of(content: bytes) -> str:
    if content.startswith(b"\x93NUMPY"):
        return "partialspoof"
    return "rttm" if content.lstrip().startswith(b"SPEAKER") else "parts"


def _rttm(path: Path, content: bytes) -> dict[str, list[tuple[float, float]]]:
    parts: dict[str, list[tuple[float, float]]] = {}
    for number, fields in _lines(path, content):
        if fields[0] != "SPEAKER":
            continue
        if len(fields) < RTTM_FIELDS:
            raise ProtocolError(f"{path}, line {number}: expected {RTTM_FIELDS} fields of RTTM or more: {fields}")
        start, length = _seconds(path, number, fields[3:5])
        spoof = parts.setdefault(fields[1], [])
        if _is_spoof(path, number, fields[7]):
            spoof.append((start, start + length))
    return parts


def _listed(path: Path, content: bytes) -> dict[str, list[tuple[float, float]]]:
    parts: dict[str, list[tuple[float, float]]] = {}
    for number, fields in _lines(path, content):
        if len(fields) < 3:
            raise ProtocolError(
                f"{path}, line {number}: expected 'name seconds label start-end-label …', found {' '.join(fields)!r}"
            )
        spoof = parts.setdefault(fields[0], [])
        for part in fields[3:]:
            words = part.split("-", 2)
            if len(words) < 3:
                raise ProtocolError(f"{path}, line {number}: expected start-end-label, found {part!r}")
            start, end = _seconds(path, number, words[:2])
            if _is_spoof(path, number, words[2]):
                spoof.append((start, end))
        if len(fields) == 3 and _is_spoof(path, number, fields[2]):
            spoof.append((0.0, _seconds(path, number, fields[1:2])[0]))
    return parts


def _lines(path: Path, content: bytes) -> list[tuple[int, list[str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{path}: expected text in UTF-8, or PartialSpoof's .npy: {error}") from None
    return [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _seconds(path: Path, number: int, words: Sequence[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [np.nan]
    if not all(np.isfinite(value) and value >= 0 for value in values):
        raise ProtocolError(f"{path}, line {number}: expected seconds from 0 on, found {' '.join(words)}")
    return values


def _is_spoof(path: Path, number: int, word: str) -> bool:
    if word.lower() not in LABELS:
        raise ProtocolError(f"{path}, line {number}: label {word!r} is not one of {', '.join(LABELS)}")
    return LABELS[word.lower()] == SPOOF


def _arrays(path: Path, content: bytes) -> dict[str, list[tuple[float, float]]]:
    found = RESOLUTION.search(path.name)
    if found is None or not float(found[1]):
        raise ProtocolError(f"{path}: expected the labels' resolution in its name, as in eval_seglab_0.02.npy")
    step_s = float(found[1])
    parts = {}
    for name, labels in _dict_of(path, content).items():
        words = [str(label) for label in labels]
        if unknown := sorted({*words} - {SPOOF_DIGIT, BONAFIDE_DIGIT}):
            raise ProtocolError(f"{path}: {name} has the label {unknown[0]!r}, expected 1 (bona fide) or 0 (spoof)")
        parts[name] = [(k * step_s, (k + 1) * step_s) for k, word in enumerate(words) if word == SPOOF_DIGIT]
    return parts


def _merged(spoof: Floats) -> Floats:
    """Parts that touch or overlap as one, empty ones left out; a billionth of a second is no gap."""
    merged: list[list[float]] = []
    for start, end in spoof.tolist():
        if merged and start <= merged[-1][1] + 1e-9:
            merged[-1][1] = max(merged[-1][1], end)
        elif end > start:
            merged.append([start, end])
    return np.array(merged, dtype=np.float64).reshape(-1, 2)


KINDS: Mapping[str, Callable[[Path, bytes], dict[str, list[tuple[float, float]]]]] = MappingProxyType(
    {"rttm": _rttm, "parts": _listed, "partialspoof": _arrays}
)


def _dict_of(path: Path, content: bytes) -> dict[str, NDArray[Any]]:
    """The dict in an .npy, whose body is a pickle: nothing of it runs, see `dfeval.pickles`."""
    try:
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        whole = _Unpickler(file, encoding="latin-1").load() if dtype.hasobject and not shape else None
    except ScoreFileError as error:
        raise ProtocolError(f"{path}: refused: {error}; expected PartialSpoof's dict of label arrays") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ProtocolError(f"{path}: is no readable .npy ({error}); expected PartialSpoof's label arrays") from error
    values = whole.values if isinstance(whole, _Array) else None
    names = values[0] if isinstance(values, list) and len(values) == 1 else None
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and isinstance(one, _Array) and isinstance(one.values, np.ndarray)
        for name, one in names.items()
    ):
        raise ProtocolError(f"{path}: expected one dict of label arrays by name, as in PartialSpoof")
    return {name: one.values for name, one in names.items()}


class _Kind:
    """What a pickle asks of a dtype: text, numbers or objects, and their order of bytes in the state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise ScoreFileError("it asks for a NumPy dtype that is none of labels")
        self.order = "<" if state[1] in ("=", "|") else str(state[1])


class _Array:
    """What a pickle asks of an array: a list of objects, or text and numbers."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: Any = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Kind):
            raise ScoreFileError("it asks for a NumPy array of an unknown form")
        kind, data = state[2], state[4]
        if kind.code.startswith("O") and isinstance(data, list):
            self.values = data
        elif not kind.code.startswith("O") and isinstance(data, bytes):
            self.values = np.frombuffer(data, np.dtype(kind.order + kind.code))
        else:
            raise ScoreFileError("it asks for a NumPy array whose data do not fit its dtype")


class _Dtype(StandIn):
    __slots__ = ()

    def __call__(self, code: object, *_: object) -> _Kind:
        if not isinstance(code, str) or not (code in NUMBERS or code == "O8" or re.fullmatch(r"U\d{1,3}", code)):
            raise ScoreFileError(f"it asks for a NumPy dtype {str(code)[:20]!r}, which is none of labels")
        return _Kind(code)


class _Reconstruct(StandIn):
    __slots__ = ()

    def __call__(self, *_: object) -> _Array:
        return _Array()


_STAND_INS: Mapping[tuple[str, str], StandIn] = {
    ("numpy", "dtype"): _Dtype(),
    ("numpy", "ndarray"): StandIn(),
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _STAND_INS[module, name] if (module, name) in _STAND_INS else refuse_global(module, name)

    def persistent_load(self, pid: Any) -> Any:
        return refuse_global("persistent", repr(pid))
