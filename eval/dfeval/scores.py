"""Scores of one detector: one score file or several that each hold a part, as `dfeval.score_readers` reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dfcontract.card import RANDOM
from dfcontract.score_file import RUN_NAMES
from dfcontract.text import number
from dfcontract.windows import Cutting, in_words
from dfeval.errors import ScoreFileError
from dfeval.score_readers import SCORE_COLUMNS, read_scores

RANDOM_WEIGHTS = "RANDOM WEIGHTS"  # beside every figure that is made of such scores


@dataclass(frozen=True)
class DetectorScores:
    """Scores of one detector, higher = more bona fide.

    Attributes:
        table: ``utt_id``, ``score`` and, where ids repeat and it is known, ``path``.
        paths: of the files that they were read from.
        detector: the model's name, or the files' where they name no model.
        run: what the file states of the run that made it (columns of `RUN_NAMES`); several values joined by a comma.
        column: the header's name of the scores, in the first file; None where no file has a header.
        is_inverted: whether the scores are the files' with the sign changed.
        is_rewritable: whether they come from one file that `dfcontract.score_file` rewrites: CSV with a header and
            commas.
        notes: what was guessed and what could not be read.
        id_columns: the names of the files' ids, or their numbers.
        options: what `load_scores` was asked for besides the paths.
    """

    table: pd.DataFrame
    paths: tuple[Path, ...]
    detector: str
    run: Mapping[str, str] = field(default_factory=dict)
    column: str | None = None
    is_inverted: bool = False
    is_rewritable: bool = False
    notes: tuple[str, ...] = ()
    id_columns: tuple[str | None, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the files, in words."""
        return " + ".join(path.name for path in self.paths)

    @property
    def weights(self) -> str | None:
        """``pretrained``, ``custom`` or ``random``; None where the file doesn't say."""
        return self.run.get("weights")

    @property
    def checkpoint_sha256(self) -> str | None:
        """Digest of the weights; None where the file doesn't say."""
        return self.run.get("checkpoint_sha256")

    @property
    def unusual_column(self) -> str:
        """Where the scores are not just those of a column that goes by that name: which they are, `-` if negated."""
        column = "" if (self.column or "").lower() in SCORE_COLUMNS else self.column or ""
        return f"-{column or SCORE_COLUMNS[0]}" if self.is_inverted else column

    @property
    def is_random(self) -> bool:
        """True when any score came from seeded weights: no figure made of it means anything."""
        return self.weights is not None and RANDOM in self.weights

    @property
    def mode(self) -> str | None:
        """How recordings were cut into windows, in words: no figure is complete without it. None if not known."""
        return in_words(*(self.run.get(name, "") for name in ("mode", "pool", "hop_s"))) or None

    @property
    def cutting(self) -> Cutting:
        """The same, with the length of the windows: what calibrations and fusions compare."""
        return Cutting(self.mode or "", self.run.get("window_samples", ""))


def load_scores(
    paths: Path | Sequence[Path],
    score_column: str | None = None,
    model: str | None = None,
    *,
    id_column: str | None = None,
    name: str | None = None,
    invert: bool = False,
) -> DetectorScores:
    """Read one detector's scores.

    Args:
        paths: a score file of any kind that `dfeval.score_readers` knows, or several, which count as one file with the
            rows of all: bona fide and spoof apart, or the shards of a large set.
        score_column: another column than ``score``; in a file without header its number, from 1.
        model: whose rows count, in a file that has several models.
        id_column: another column than those that go by the name of an id; in a file without header its number.
        name: of the detector, in place of the model's or the files'.
        invert: the files' higher scores are more spoof: negate them.

    Raises:
        ScoreFileError: unreadable, not a score file, a column that can't be told, several models and none chosen.
    """
    options = {"score_column": score_column, "model": model, "id_column": id_column, "name": name, "invert": invert}
    files = (paths,) if isinstance(paths, Path) else tuple(paths)
    read = [read_scores(path, score_column, id_column, with_paths=len(files) > 1) for path in files]
    table = read[0].table if len(read) == 1 else _in_one([part.table for part in read])
    notes = tuple(note for part in read for note in part.notes)
    where = " + ".join(map(str, files))
    models = [str(name) for name in table["model"].unique()] if "model" in table.columns else []
    if model is not None:
        if model not in models:
            found = ", ".join(models) or "no column `model`"
            raise ScoreFileError(f"{where}: has no score of the model {model!r}; found {found}")
        table = table[table["model"] == model].reset_index(drop=True)
    elif len(models) > 1:
        names = ", ".join(name or "rows that name none" for name in models)
        raise ScoreFileError(f"{where}: has scores of {len(models)} models ({names}); choose with --model")
    stated = [name for name in RUN_NAMES if name in table.columns]
    run = {name: text for name in stated if (text := _joined(table[name]))}
    detector = name or run.get("model", " + ".join(map(_stem, files)))
    if invert:
        table = table.assign(score=-table["score"])
        notes = (*notes, f"{' + '.join(path.name for path in files)}: scores are negated, as was asked for")
    return DetectorScores(
        table.drop(columns=stated),
        files,
        detector,
        run,
        column=next((part.column for part in read if part.column), None),
        is_inverted=invert,
        is_rewritable=len(read) == 1 and read[0].is_rewritable,
        notes=notes,
        id_columns=tuple(part.id_column for part in read),
        options=options,
    )


def check_id_column(scores: DetectorScores, wanted: str | None) -> None:
    """Refuse a name of an id column that none of the files has, where no protocol may have it instead.

    Raises:
        ScoreFileError: it is none's.
    """
    if wanted and wanted.lower() not in [str(name).lower() for name in scores.id_columns]:
        found = ", ".join(dict.fromkeys(map(str, scores.id_columns)))
        raise ScoreFileError(f"{scores.name}: has no --id-column {wanted!r}; its ids are in {found}")


def _stem(path: Path) -> str:
    return Path(path.stem).stem if path.suffix == ".gz" else path.stem


def _in_one(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all, in order; what a part does not state of its run is empty."""
    has_paths = all("path" in table.columns for table in tables)  # a path is of use where every row has one
    parts = [table.astype({name: "str" for name in RUN_NAMES if name in table.columns}) for table in tables]
    whole = pd.concat(parts if has_paths else [part.drop(columns="path", errors="ignore") for part in parts])
    stated = [name for name in RUN_NAMES if name in whole.columns]
    return whole.fillna(dict.fromkeys(stated, "")).reset_index(drop=True)


def _joined(values: "pd.Series[Any]") -> str:
    return ", ".join(_tidy(str(value)) for value in values.unique() if str(value))


def _tidy(text: str) -> str:
    """A number as the client writes it, so that `1` and the `1.0` of other software are the same hop."""
    return number(float(text)) if text.endswith(".0") and _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
