"""When two ids name the same recording.

One path must be the end of the other: ``LA_E_1`` is ``flac/LA_E_1.flac`` and ``yourtts/7.wav`` is
``/data/yourtts/7.wav``, but ``fish/7.wav`` is neither. Audio extensions count where both have one that matches
(``clip.wav`` and ``clip.mp3`` are two trials), and are passed over otherwise.
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
    if not len(left):
        return rows
    paths, trial_paths = [_path(ids[index]) for index in left.tolist()], list(map(_path, trial_ids))
    plain, plain_trials = list(map(_plain, paths)), list(map(_plain, trial_paths))
    found = np.array(list(_by_path(plain, plain_trials)), dtype=np.int64)
    if plain_trials != trial_paths:
        with_extension = np.array(list(_by_path(paths, trial_paths)), dtype=np.int64)
        taken = {*rows[rows >= 0].tolist(), *with_extension.tolist()}
        for index in np.flatnonzero((with_extension == NONE) & (found >= 0)).tolist():
            row = int(found[index])
            # clip.mp3 is not the trial clip.wav when there is a clip.wav among the ids.
            if row in taken and paths[index] != plain[index] and trial_paths[row] != plain_trials[row]:
                found[index] = NONE
        found = np.where(with_extension == NONE, found, with_extension)
    rows[left] = found
    return rows


def _by_path(ids: Sequence[str], trial_ids: Sequence[str]) -> Iterator[int]:
    whole = _index(enumerate(trial_ids))
    if not any("/" in trial_id for trial_id in trial_ids):
        # The usual case, in a tenth of the time: only the last part of an id can be a trial's.
        yield from (whole.get(utt_id[utt_id.rfind("/") + 1 :], NONE) for utt_id in ids)
        return
    ends = _index((row, end) for row, trial_id in enumerate(trial_ids) for end in _ends(trial_id))
    for utt_id in ids:
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


def _path(utt_id: str) -> str:
    """The path with forward slashes and, where it has an audio extension, that one in small letters."""
    path = (utt_id.replace("\\", "/") if "\\" in utt_id else utt_id).removeprefix("./").strip("/")
    dot = path.rfind(".")
    return path[:dot] + path[dot:].lower() if dot > 0 and path[dot:].lower() in AUDIO_EXTENSIONS else path


def _plain(path: str) -> str:
    """What `_path` returned, without the audio extension."""
    dot = path.rfind(".")
    return path[:dot] if dot > 0 and path[dot:] in AUDIO_EXTENSIONS else path


def _ends(path: str) -> Iterator[str]:
    """Every proper end of a path at a folder, the longest first."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path
