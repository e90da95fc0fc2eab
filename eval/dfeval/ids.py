"""When two ids name the same recording.

Audio extension aside, one path must be the end of the other: ``LA_E_1`` is ``flac/LA_E_1.flac`` and ``yourtts/7.wav``
is ``/data/yourtts/7.wav``, but ``fish/7.wav`` is neither.
"""

from collections.abc import Iterable, Iterator, Sequence

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
    plain_ids, plain_trial_ids = list(map(_plain, ids)), list(map(_plain, trial_ids))
    whole = _index(enumerate(plain_trial_ids))
    if not any("/" in trial_id for trial_id in plain_trial_ids):
        # The usual case, in a tenth of the time: only the last part of an id can be a trial's.
        yield from (whole.get(utt_id[utt_id.rfind("/") + 1 :], NONE) for utt_id in plain_ids)
        return
    ends = _index((row, end) for row, trial_id in enumerate(plain_trial_ids) for end in _ends(trial_id))
    for utt_id in plain_ids:
        # The closest first: the same path, a trial's path that ends in this one, a trial's path that this one ends in.
        found = whole.get(utt_id, NONE)
        if found == NONE:
            found = ends.get(utt_id, NONE)
        yield found if found != NONE else next((whole[end] for end in _ends(utt_id) if end in whole), NONE)


def _index(rows: Iterable[tuple[int, str]]) -> dict[str, int]:
    index: dict[str, int] = {}
    for row, key in rows:
        index[key] = SEVERAL if key in index else row
    return index


def _plain(utt_id: str) -> str:
    """The path with forward slashes and no audio extension."""
    path = (utt_id.replace("\\", "/") if "\\" in utt_id else utt_id).removeprefix("./").strip("/")
    dot = path.rfind(".")
    return path[:dot] if dot > 0 and path[dot:].lower() in AUDIO_EXTENSIONS else path


def _ends(path: str) -> Iterator[str]:
    """Every proper end of a path at a folder, the longest first."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path
