"""Score files: the client's CSV, ASVspoof text, and the pickles of ``{path: score}`` that research code leaves behind.

What a file is, its content says, never its name.
"""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from dfeval.errors import ScoreFileError

ID_COLUMNS = ("utt_id", "filename", "trial_anon", "file")
SCORE_COLUMNS = ("score", "cm-score", "cm_score")
PROVENANCE = ("model", "weights", "checkpoint_sha256")
RUN = ("mode", "pool", "hop_s")
KEPT = (*PROVENANCE, *RUN, "path")
PICKLE_MAGIC = b"\x80"


@dataclass(frozen=True)
class ScoreFile:
    """Scores of one detector, higher = more bona fide: ``table`` has ``utt_id``, ``score`` and, if known, ``path``."""

    table: pd.DataFrame
    path: Path
    detector: str
    weights: str | None = None
    checkpoint_sha256: str | None = None
    mode: str | None = None

    @property
    def is_random(self) -> bool:
        """True when any score came from seeded weights: no figure made of it means anything."""
        return self.weights is not None and "random" in self.weights


def load_scores(path: Path, score_column: str | None = None, model: str | None = None) -> ScoreFile:
    """Read a score file.

    ``score_column`` picks another column of a CSV than ``score``; ``model`` picks one model's rows from a file that
    has several.

    Raises:
        ScoreFileError: unreadable, not a score file, a score that is no number, several models and none chosen.
    """
    try:
        with path.open("rb") as file:
            start = file.read(65536)
    except OSError as error:
        raise ScoreFileError(f"{path}: can't be read: {error.strerror}") from error
    if not start.strip():
        raise ScoreFileError(f"{path}: is empty; expected scores")
    is_pickle = start.startswith(PICKLE_MAGIC)
    table = _read_pickle(path) if is_pickle else _read_text(path, start, score_column)
    return _one_detector(table, path, model)


def write_scores(scores: ScoreFile, path: Path) -> None:
    """Write a score file as CSV, provenance in a column each."""
    known = {"model": scores.detector, "weights": scores.weights, "checkpoint_sha256": scores.checkpoint_sha256}
    table = scores.table.assign(**{name: value for name, value in known.items() if value})
    table.to_csv(path, index=False)


def _one_detector(table: pd.DataFrame, path: Path, model: str | None) -> ScoreFile:
    models = [str(name) for name in table["model"].unique()] if "model" in table.columns else []
    if model is not None:
        if model not in models:
            found = ", ".join(models) or "no column `model`"
            raise ScoreFileError(f"{path}: has no score of the model {model!r}; found {found}")
        table = table[table["model"] == model].reset_index(drop=True)
    elif len(models) > 1:
        raise ScoreFileError(f"{path}: has scores of {len(models)} models ({', '.join(models)}); choose with --model")
    provenance = {name: _joined(table, name) for name in (*PROVENANCE, *RUN)}
    return ScoreFile(
        table=table.drop(columns=[name for name in provenance if name in table.columns]),
        path=path,
        detector=provenance["model"] or path.stem,
        weights=provenance["weights"],
        checkpoint_sha256=provenance["checkpoint_sha256"],
        mode=_mode(provenance),
    )


def _mode(run: dict[str, str | None]) -> str | None:
    """How recordings were cut into windows, in words: no figure is complete without it."""
    words = (run["mode"], run["pool"], f"hop {run['hop_s']} s" if run["hop_s"] else None)
    return ", ".join(word for word in words if word) or None


def _joined(table: pd.DataFrame, column: str) -> str | None:
    if column not in table.columns:
        return None
    return ", ".join(str(value) for value in table[column].unique() if str(value)) or None


def _read_text(path: Path, start: bytes, score_column: str | None) -> pd.DataFrame:
    if b"\0" in start:
        raise ScoreFileError(
            f"{path}: is neither text nor a pickle; expected CSV with utt_id,score, or lines of 'id score'"
        )
    first_line = start.decode("utf-8-sig", errors="replace").splitlines()[0]
    separator = next((mark for mark in (",", "\t", ";") if mark in first_line), r"\s+")
    fields = first_line.split() if separator == r"\s+" else [field.strip() for field in first_line.split(separator)]
    if any(name in fields for name in ID_COLUMNS):
        return _read_headed(path, separator, fields, score_column)
    return _read_headless(path, separator, fields)


def _read_headed(path: Path, separator: str, fields: Sequence[str], score_column: str | None) -> pd.DataFrame:
    id_column = next(name for name in ID_COLUMNS if name in fields)
    wanted = (score_column,) if score_column else SCORE_COLUMNS
    found = next((name for name in wanted if name in fields), None)
    if found is None:
        raise ScoreFileError(
            f"{path}: expected a column {' or '.join(wanted)}, found {', '.join(fields)}; name it with --score-column"
        )
    kept = [name for name in KEPT if name in fields]
    table = _parse(path, separator, header=0, usecols=[id_column, found, *kept])
    return table.rename(columns={id_column: "utt_id", found: "score"})


def _read_headless(path: Path, separator: str, fields: Sequence[str]) -> pd.DataFrame:
    """ASVspoof text, no header: the id first, the score last (``id score``, or AASIST's ``id attack key score``)."""
    if len(fields) < 2 or not _is_number(fields[-1]):
        raise ScoreFileError(
            f"{path}: expected CSV with the header utt_id,score or lines of 'id score', found {' '.join(fields)[:80]!r}"
        )
    last = len(fields) - 1
    table = _parse(path, separator, header=None, usecols=[0, last])
    return table.rename(columns={0: "utt_id", last: "score"})


def _parse(path: Path, separator: str, header: int | None, usecols: Sequence[Any]) -> pd.DataFrame:
    texts: dict[Any, str] = {name: "category" for name in KEPT if name in usecols}
    texts |= {name: "str" for name in (usecols[0], "path") if name in usecols}
    try:
        return pd.read_csv(
            path,
            sep=separator,
            header=header,
            usecols=list(usecols),
            dtype={**texts, usecols[1]: "float64"},
            skipinitialspace=True,
            keep_default_na=False,
            na_values={usecols[1]: ["", "nan", "NaN", "NA"]},
            encoding="utf-8-sig",
            encoding_errors="replace",  # a path may be in any encoding
        )
    except (ValueError, OSError) as error:
        raise ScoreFileError(f"{path}: can't be read as scores: {error}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles dicts, strings and numbers; a pickle that names any function or class is refused before it runs."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ScoreFileError(f"it asks for {module}.{name}, and a stranger's pickle may run anything")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise ScoreFileError(f"it asks for a persistent object {pid!r}")


def _read_pickle(path: Path) -> pd.DataFrame:
    advice = "expected a plain dict of {path: number}; save the scores as CSV (utt_id,score) instead"
    try:
        scores = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except ScoreFileError as error:
        raise ScoreFileError(f"{path}: refused: {error}; {advice}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ScoreFileError(f"{path}: is no readable pickle ({error}); {advice}") from error
    if not isinstance(scores, dict) or not all(isinstance(name, str) for name in scores):
        raise ScoreFileError(f"{path}: holds {type(scores).__name__}; {advice}")
    wrong = next((value for value in scores.values() if not isinstance(value, int | float)), None)
    if wrong is not None:
        raise ScoreFileError(f"{path}: holds a score of type {type(wrong).__name__}; {advice}")
    return pd.DataFrame({"utt_id": list(scores), "score": [float(value) for value in scores.values()]})
