"""Several data sets with the scores of several detectors, listed in a TOML file; its paths are relative to it.

[sets.la19]
protocol = "la19/protocol.txt"         # two in a list for BRSpeech-DF
format = "asvspoof2019-la"             # of --protocol-format; csv without
phase = "eval"                         # as --phase; also where = ["codec=C05"], label_column, bonafide_label,
scores.aasist = "la19/aasist.txt"      # id_column and score_column
scores.sls = ["la19/bonafide.pkl", "la19/spoof.pkl"]
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfeval.errors import EvalError
from dfeval.protocols import ProtocolColumns, load_protocol
from dfeval.scores import load_scores
from dfeval.trials import Trials, join

KEYS = (
    *("protocol", "format", "phase", "where", "label_column", "bonafide_label"),
    *("id_column", "score_column", "invert", "scores"),
)
# detector → data set → trials; a detector need not have scored every set.
Table = Mapping[str, Mapping[str, Trials]]


def load_data_sets(path: Path) -> tuple[list[str], Table]:
    """The data sets' names and each detector's trials of those that it has scored, in the file's order.

    Raises:
        EvalError: no such file, no TOML, or a set that lacks something or has what is not known.
        ProtocolError, ScoreFileError: a file that it names can't be read.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvalError(f"{path}: can't be read as a list of data sets: {error}") from None
    sets = content.get("sets")
    if not isinstance(sets, dict) or not sets or not all(isinstance(one, dict) for one in sets.values()):
        raise EvalError(f"{path}: expected data sets, each as [sets.NAME] with protocol and scores.DETECTOR")
    table: dict[str, dict[str, Trials]] = {}
    for name, stated in sets.items():
        for detector, trials in _load(f"{path}: sets.{name}", path.parent, stated).items():
            table.setdefault(detector, {})[name] = trials
    return list(sets), {_shown_as(detector, by_set): by_set for detector, by_set in table.items()}


def _shown_as(detector: str, by_set: Mapping[str, Trials]) -> str:
    """The name of a row: one in which scores of random weights stand says so."""
    return next((trials.shown_as for trials in by_set.values() if trials.source.is_random), detector)


def _load(where: str, folder: Path, stated: Mapping[str, Any]) -> dict[str, Trials]:
    if unknown := [key for key in stated if key not in KEYS]:
        raise EvalError(f"{where}: {', '.join(unknown)} is not known; known are {', '.join(KEYS)}")
    scores = stated.get("scores")
    if not isinstance(scores, dict) or not scores or "protocol" not in stated:
        raise EvalError(f"{where}: expected protocol = FILE and scores.DETECTOR = FILE")
    protocol = load_protocol(
        _paths(f"{where}.protocol", folder, stated["protocol"]),
        _text(where, stated, "format") or "csv",
        _text(where, stated, "phase"),
        columns=ProtocolColumns(
            *(_text(where, stated, key) for key in ("id_column", "label_column", "bonafide_label"))
        ),
        where=_texts(f"{where}.where", stated.get("where", [])),
    )
    column, ids = _text(where, stated, "score_column"), _text(where, stated, "id_column")
    invert = stated.get("invert", False)
    if not isinstance(invert, bool):
        raise EvalError(f"{where}.invert: expected true or false, found {invert!r}")
    return {
        detector: join(
            load_scores(
                _paths(f"{where}.scores.{detector}", folder, files),
                column,
                id_column=ids,
                name=detector,
                invert=invert,
            ),
            protocol,
        )
        for detector, files in scores.items()
    }


def _paths(where: str, folder: Path, stated: Any) -> list[Path]:
    return [folder / name for name in _texts(where, stated)]


def _texts(where: str, stated: Any) -> list[str]:
    values = [stated] if isinstance(stated, str) else stated
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise EvalError(f"{where}: expected text, or a list of texts, found {stated!r}")
    return values


def _text(where: str, stated: Mapping[str, Any], key: str) -> str | None:
    value = stated.get(key)
    if value is not None and not isinstance(value, str):
        raise EvalError(f"{where}.{key}: expected text in quotes, found {value!r}")
    return value
