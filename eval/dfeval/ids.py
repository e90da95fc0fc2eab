"""When two ids name the same recording.

Audio extension aside, one path must be the end of the other: ``LA_E_1`` is ``flac/LA_E_1.flac`` and ``yourtts/7.wav``
is ``/data/yourtts/7.wav``, but ``fish/7.wav`` is neither.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

AUDIO_EXTENSIONS = (
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4"),
    *(".aac", ".wma", ".aiff", ".aif", ".amr", ".webm"),
)
NONE, SEVERAL = -1, -2  # in place of a row number


def match(ids: Sequence[str], trial_ids: Sequence[str]) -> NDArray[np.int64]:
    """Row in ``trial_ids`` (which are distinct) for each id: NONE where there is none, SEVERAL where many would do."""
    rows = pd.Index(trial_ids).get_indexer(pd.Index(ids)).astype(np.int64)
    left = np.flatnonzero(rows < 0)
    if len(left):
        rows[left] = list(_by_path([ids[index] for index in left.tolist()], trial_ids))
    return rows


def _by_path(ids: Sequence[str], trial_ids: Sequence[str]) -> Iterator[int]:
    whole: dict[str, int] = {}
    ends: dict[str, int] = {}
    for row, trial_id in enumerate(trial_ids):
        first, *shorter = _tails(trial_id)
        whole[first] = SEVERAL if first in whole else row
        for tail in shorter:
            ends[tail] = SEVERAL if tail in ends else row
    for utt_id in ids:
        # The closest first: the same path, a trial's path that ends in this one, a trial's path that this one ends in.
        first, *shorter = _tails(utt_id)
        found = whole.get(first, NONE)
        if found == NONE:
            found = ends.get(first, NONE)
        yield found if found != NONE else next((whole[tail] for tail in shorter if tail in whole), NONE)


def _tails(utt_id: str) -> list[str]:
    """The path without its audio extension, and every end of it at a folder, the longest first."""
    path = utt_id.replace("\\", "/").strip("/").removeprefix("./")
    stem, dot, extension = path.rpartition(".")
    if dot and f".{extension.lower()}" in AUDIO_EXTENSIONS:
        path = stem
    tails = [path]
    while "/" in path:
        path = path.partition("/")[2]
        tails.append(path)
    return tails
