"""Per-window scores of the client's sliding mode: ``window_starts_s`` and ``window_scores``, joined by ``;``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfeval.errors import ScoreFileError
from dfeval.metrics.eer import Floats

COLUMNS = ("utt_id", "score", "window_starts_s", "window_scores", "duration_s")
SEPARATOR = ";"


@dataclass(frozen=True)
class WindowScores:
    """One recording: its windows' starts (seconds) and scores, both of shape (n_windows,), and the pooled score."""

    utt_id: str
    starts_s: Floats
    scores: Floats
    duration_s: float
    pooled: float

    @property
    def window_s(self) -> float:
        """Length of a window: the last one is aligned to the recording's end."""
        return self.duration_s - float(self.starts_s[-1])


def load_windows(path: Path, utt_id: str | None = None) -> WindowScores:
    """The windows of one recording of a score file; without ``utt_id``, of the one that has most.

    Raises:
        ScoreFileError: unreadable, no window scores, no such recording.
    """
    try:
        table = pd.read_csv(path, usecols=list(COLUMNS), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ScoreFileError(
            f"{path}: expected the columns {', '.join(COLUMNS)} of a score file of the sliding mode: {error}"
        ) from error
    if table.empty:
        raise ScoreFileError(f"{path}: has no rows")
    if utt_id is None:
        row = table.iloc[int(table["window_scores"].str.count(SEPARATOR).to_numpy().argmax())]
    elif not (table["utt_id"] == utt_id).any():
        raise ScoreFileError(f"{path}: has no recording {utt_id!r}; it has {', '.join(table['utt_id'][:5])}, …")
    else:
        row = table[table["utt_id"] == utt_id].iloc[0]
    try:
        starts, scores = (np.array(row[name].split(SEPARATOR), dtype=np.float64) for name in COLUMNS[2:4])
        recording = WindowScores(row["utt_id"], starts, scores, float(row["duration_s"]), float(row["score"]))
    except ValueError as error:
        raise ScoreFileError(f"{path}: the windows of {row['utt_id']} are no numbers: {error}") from error
    if starts.shape != scores.shape:
        raise ScoreFileError(f"{path}: {row['utt_id']} has {starts.size} window starts and {scores.size} window scores")
    return recording
