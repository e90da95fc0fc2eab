"""Score files: the client's CSV, ASVspoof text, and the pickles of ``{path: score}`` that research code leaves behind.

What a file is, its content says, never its name. The columns of the client's CSV are those of `dfcontract.score_file`;
pandas reads them here, since a data set has 600,000 rows and more.
"""

import csv
import io
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from dfcontract.card import RANDOM
from dfcontract.score_file import RUN_NAMES
from dfcontract.text import number
from dfeval.errors import ScoreFileError

# How other software names these two columns.
ID_COLUMNS = ("utt_id", "filename", "trial_anon", "file")
SCORE_COLUMNS = ("score", "cm-score", "cm_score")
NO_SCORE = ("", "nan", "NaN", "NA")  # read as NaN
PICKLE_MAGIC = b"\x80"


@dataclass(frozen=True)
class DetectorScores:
    """Scores of one detector, higher = more bona fide.

    Attributes:
        table: ``utt_id``, ``score`` and, where ids repeat and it is known, ``path``.
        path: of the file that they were read from.
        detector: the model's name, or the file's where it names no model.
        run: what the file states of the run that made it (columns of `RUN_NAMES`); several values joined by a comma.
        csv_column: the column that holds the scores, where the file is CSV with a header and commas; else None.
    """

    table: pd.DataFrame
    path: Path
    detector: str
    run: Mapping[str, str] = field(default_factory=dict)
    csv_column: str | None = None

    @property
    def weights(self) -> str | None:
        """``pretrained``, ``custom`` or ``random``; None where the file doesn't say."""
        return self.run.get("weights")

    @property
    def checkpoint_sha256(self) -> str | None:
        """Digest of the weights; None where the file doesn't say."""
        return self.run.get("checkpoint_sha256")

    @property
    def is_random(self) -> bool:
        """True when any score came from seeded weights: no figure made of it means anything."""
        return self.weights is not None and RANDOM in self.weights

    @property
    def mode(self) -> str | None:
        """How recordings were cut into windows, in words: no figure is complete without it. None if not known."""
        hop_s = self.run.get("hop_s")
        words = (self.run.get("mode"), self.run.get("pool"), f"hop {hop_s} s" if hop_s else None)
        return ", ".join(word for word in words if word) or None


def load_scores(path: Path, score_column: str | None = None, model: str | None = None) -> DetectorScores:
    """Read a score file.

    Args:
        path: of any of the kinds that the module names.
        score_column: another column of a CSV than ``score``.
        model: whose rows count, in a file that has several models.

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
    if start.startswith(PICKLE_MAGIC):
        return _one_detector(_read_pickle(path), path, model)
    table, csv_column = _read_text(path, start, score_column)
    return _one_detector(table, path, model, csv_column)


def _one_detector(table: pd.DataFrame, path: Path, model: str | None, csv_column: str | None = None) -> DetectorScores:
    models = [str(name) for name in table["model"].unique()] if "model" in table.columns else []
    if model is not None:
        if model not in models:
            found = ", ".join(models) or "no column `model`"
            raise ScoreFileError(f"{path}: has no score of the model {model!r}; found {found}")
        table = table[table["model"] == model].reset_index(drop=True)
    elif len(models) > 1:
        raise ScoreFileError(f"{path}: has scores of {len(models)} models ({', '.join(models)}); choose with --model")
    stated = [name for name in RUN_NAMES if name in table.columns]
    run = {name: text for name in stated if (text := _joined(table[name]))}
    return DetectorScores(table.drop(columns=stated), path, run.get("model", path.stem), run, csv_column)


def _joined(values: "pd.Series[Any]") -> str:
    return ", ".join(_tidy(str(value)) for value in values.unique() if str(value))


def _tidy(text: str) -> str:
    """A number as the client writes it, so that `1` and the `1.0` of other software are the same hop."""
    return number(float(text)) if text.endswith(".0") and _is_number(text) else text


def _read_text(path: Path, start: bytes, score_column: str | None) -> tuple[pd.DataFrame, str | None]:
    """The table, and the score's column where the file is CSV with commas."""
    if b"\0" in start:
        raise ScoreFileError(
            f"{path}: is neither text nor a pickle; expected CSV with utt_id,score, or lines of 'id score'"
        )
    first_line = re.split(r"[\r\n]", start.decode("utf-8-sig", errors="replace"), maxsplit=1)[0]
    separator = next((mark for mark in (",", "\t", ";") if mark in first_line), r"\s+")
    fields = first_line.split()
    if separator != r"\s+":
        fields = [name.strip() for name in next(csv.reader([first_line], delimiter=separator, skipinitialspace=True))]
    if not any(name in fields for name in ID_COLUMNS):
        return _read_headless(path, separator, fields), None
    table, found = _read_headed(path, separator, fields, score_column)
    return table, found if separator == "," else None


def _read_headed(
    path: Path, separator: str, fields: Sequence[str], score_column: str | None
) -> tuple[pd.DataFrame, str]:
    id_column = next(name for name in ID_COLUMNS if name in fields)
    wanted = (score_column,) if score_column else SCORE_COLUMNS
    found = next((name for name in wanted if name in fields), None)
    if found is None:
        raise ScoreFileError(
            f"{path}: expected a column {' or '.join(wanted)}, found {', '.join(fields)}; name it with --score-column"
        )
    stated = [name for name in RUN_NAMES if name in fields]
    table = _parse(path, separator, header=0, usecols=[id_column, found, *stated])
    if "path" in fields and table[id_column].duplicated().any():  # 600,000 paths take a while: read where they matter
        table["path"] = _parse(path, separator, header=0, usecols=[id_column, found, "path"])["path"]
    return table.rename(columns={id_column: "utt_id", found: "score"}), found


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
    texts: dict[Any, str] = {name: "category" for name in RUN_NAMES if name in usecols}
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
            na_values={usecols[1]: list(NO_SCORE)},
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
