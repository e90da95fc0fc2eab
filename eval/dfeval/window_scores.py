"""Scores along a recording, as the client's sliding mode leaves them in a score file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfcontract.card import RANDOM
from dfcontract.score_file import LIST_SEPARATOR, NAMES, from_row
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfcontract.windows import PROTOCOL, SLIDING
from dfeval.errors import ScoreFileError
from dfeval.metrics.eer import Floats

NEEDED = ("utt_id", "score", "window_starts_s", "window_scores", "duration_s")


@dataclass(frozen=True)
class WindowScores:
    """One recording: its windows' starts (seconds) and scores, both of shape (n_windows,), and the pooled score.

    ``is_random``: of random weights, so that no score means anything.
    """

    utt_id: str
    starts_s: Floats
    scores: Floats
    duration_s: float
    pooled: float
    is_random: bool = False

    @property
    def window_s(self) -> float:
        """Length of a window: the last one is aligned to the recording's end."""
        return self.duration_s - float(self.starts_s[-1])


def load_window_scores(path: Path, utt_id: str | None = None) -> WindowScores:
    """The windows of one recording of a score file; without ``utt_id``, of the one that has most.

    Raises:
        ScoreFileError: unreadable, no window scores, no such recording, or one of which protocol mode has scored only
            the beginning.
    """
    table = _table(path)
    if utt_id is None:
        row = table.iloc[int(table["window_scores"].str.count(LIST_SEPARATOR).to_numpy().argmax())]
    elif not (table["utt_id"] == utt_id).any():
        raise ScoreFileError(f"{path}: has no recording {utt_id!r}; it has {', '.join(table['utt_id'][:5])}, …")
    else:
        row = table[table["utt_id"] == utt_id].iloc[0]
    try:
        return _recording(from_row({str(name): str(text) for name, text in row.items()}))
    except ScoreFileError as error:
        raise ScoreFileError(f"{path}: {error}") from None


def load_all_window_scores(path: Path) -> tuple[list[WindowScores], list[str]]:
    """The windows of all recordings of a score file, and why some have none, in words.

    Raises:
        ScoreFileError: unreadable, or no recording has windows that cover it.
    """
    recordings, unread = [], []
    for row in _table(path).to_dict("records"):
        try:
            recordings.append(_recording(from_row({str(name): str(text) for name, text in row.items()})))
        except ScoreFileError as error:
            unread.append(str(error))
    if not recordings:
        raise ScoreFileError(f"{path}: {unread[0]}")
    notes = [f"{len(unread):,} rows of {path} can't be used and are left out, first: {unread[0]}"] if unread else []
    return recordings, notes


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, usecols=lambda name: name in NAMES, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ScoreFileError(f"{path}: can't be read as a score file: {error}") from error
    if missing := [name for name in NEEDED if name not in table.columns]:
        raise ScoreFileError(
            f"{path}: expected a score file of the sliding mode with the columns {', '.join(NEEDED)}; "
            f"{', '.join(missing)} missing"
        )
    if table.empty:
        raise ScoreFileError(f"{path}: has no rows")
    return table


def _recording(row: dict[str, Any]) -> WindowScores:
    utt_id, duration_s = row["utt_id"], row["duration_s"]
    starts_s, scores = (np.array(row[name], dtype=np.float64) for name in ("window_starts_s", "window_scores"))
    if row["score"] is None or duration_s is None or not scores.size:
        raise ScoreFileError(f"expected a score, a duration and windows of {utt_id}, found none")
    if starts_s.shape != scores.shape:
        raise ScoreFileError(f"{utt_id} has {starts_s.size} window starts and {scores.size} window scores")
    if row.get("mode") == PROTOCOL and scores.size == 1:  # several are of a detector that scores whole clips
        _check_is_whole(utt_id, duration_s, row.get("window_samples"))
    return WindowScores(utt_id, starts_s, scores, duration_s, row["score"], row.get("weights") == RANDOM)


def _check_is_whole(utt_id: str, duration_s: float, window_samples: int | None) -> None:
    window_s = None if window_samples is None else window_samples / SAMPLE_RATE_HZ
    if window_s is None or duration_s > window_s:
        length = "one window" if window_s is None else f"one window of {window_s:.2f} s"
        raise ScoreFileError(
            f"{utt_id} was scored in {PROTOCOL} mode, which has {length}, of {duration_s:.2f} s; "
            f"score it with dfclient score --mode {SLIDING}"
        )
