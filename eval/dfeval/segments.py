"""How well window scores say *where* a recording is spoof: point and range EER at a resolution.

A recording's score at a moment is the mean of the windows that cover it; a frame's score is its mean over the frame.

- Point EER: each frame is a trial, spoof where any of it is (PartialSpoof: Zhang et al., IEEE/ACM TASLP 31, 2023).
- Range EER: each frame's decision is judged by how many seconds of it are right, against the labels' own boundaries
  (Zhang, Wang, Cooper, Evans, Yamagishi, "Range-based equal error rate for spoof localization", Interspeech 2023).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfeval.errors import EvalError, OneClassError
from dfeval.ids import match
from dfeval.metrics.eer import Floats, OperatingPoint, error_rates
from dfeval.scores import RANDOM_WEIGHTS
from dfeval.segment_labels import Parts
from dfeval.window_scores import WindowScores

RESOLUTIONS_S = (0.02, 0.16)
NEXT_TO_NOTHING_S = 1e-6  # of a frame: what sums of floats leave


@dataclass(frozen=True)
class Frames:
    """Frames of one recording or many: scores, and seconds of each that are bona fide and spoof; all of one shape."""

    scores: Floats
    bonafide_s: Floats
    spoof_s: Floats

    @property
    def is_spoof(self) -> NDArray[np.bool_]:
        """Where any of a frame is spoof."""
        return np.asarray(self.spoof_s > NEXT_TO_NOTHING_S)


@dataclass(frozen=True)
class SegmentFigures:
    """Figures at one resolution."""

    resolution_s: float
    n_bonafide: int
    n_spoof: int
    bonafide_s: float
    spoof_s: float
    point: OperatingPoint
    range: OperatingPoint


def frames_of(recording: WindowScores, spoof: Floats, resolution_s: float) -> Frames:
    """A recording's frames: the last may be shorter, and those that no window covers are left out.

    Args:
        recording: with its windows.
        spoof: parts of it, in seconds, shape (n_parts, 2), apart.
        resolution_s: length of a frame.
    """
    n_frames = max(int(np.ceil(recording.duration_s / resolution_s - NEXT_TO_NOTHING_S)), 1)
    frame_edges = np.minimum(np.arange(n_frames + 1) * resolution_s, recording.duration_s)
    starts = recording.starts_s
    ends = np.minimum(starts + recording.window_s, recording.duration_s)
    edges = np.unique(np.concatenate((frame_edges, starts, ends)))
    lengths, middles = np.diff(edges), (edges[:-1] + edges[1:]) / 2
    values = _mean_scores(recording.scores, starts, ends, middles)
    kept = (lengths > NEXT_TO_NOTHING_S) & ~np.isnan(values)
    frame = np.searchsorted(frame_edges, middles[kept], side="right") - 1
    covered = np.bincount(frame, weights=lengths[kept], minlength=n_frames)
    sums = np.bincount(frame, weights=lengths[kept] * values[kept], minlength=n_frames)
    has_score = covered > NEXT_TO_NOTHING_S
    scores = sums[has_score] / covered[has_score]
    # Frames of the same windows have to tie, and the quotient of two sums would part them in the last digit.
    places = np.flatnonzero(np.diff(frame, prepend=-1))
    lowest, highest = (np.asarray(extreme.reduceat(values[kept], places)) for extreme in (np.minimum, np.maximum))
    spoof_s = np.diff(_covered_by(spoof, frame_edges))[has_score]
    bonafide_s = np.diff(frame_edges)[has_score] - spoof_s
    return Frames(np.where(lowest == highest, lowest, scores), bonafide_s, spoof_s)


def segment_figures(
    recordings: Iterable[WindowScores], labels: Parts, resolutions_s: Sequence[float] = RESOLUTIONS_S
) -> tuple[list[SegmentFigures], list[str]]:
    """Figures at each resolution over all recordings that have labels, and what did not match, in words.

    Raises:
        EvalError: no recording has labels, or a resolution that is none.
        OneClassError: all of it is bona fide, or all spoof.
    """
    if wrong := [value for value in resolutions_s if not 0.001 <= value <= 10]:
        raise EvalError(f"expected resolutions of 0.001 to 10 seconds, found {wrong[0]:g}")
    scored = list(recordings)
    names = list(labels)
    rows = match([one.utt_id for one in scored], names)
    labelled = [(one, labels[names[row]]) for one, row in zip(scored, rows.tolist(), strict=True) if row >= 0]
    if not labelled:
        raise EvalError(f"expected labels of the {len(scored):,} scored recordings, such as {scored[0].utt_id}: none")
    notes = []
    if any(one.is_random for one, _ in labelled):
        notes.append(f"{RANDOM_WEIGHTS}: the graph is right, its scores mean nothing")
    if n_without := len(scored) - len(labelled):
        first = next(one.utt_id for one, row in zip(scored, rows.tolist(), strict=True) if row < 0)
        notes.append(f"{n_without:,} scored recordings have no labels and are left out ({first}, …)")
    if n_unscored := len(names) - len({row for row in rows.tolist() if row >= 0}):
        notes.append(f"{n_unscored:,} labelled recordings have no windows among the scores")
    frame_s = max(resolutions_s)
    if past := [one.utt_id for one, spoof in labelled if spoof.max(initial=0.0) > one.duration_s + frame_s]:
        question = "are the labels theirs, and in seconds?"
        notes.append(f"labels of {len(past):,} recordings end long after them ({past[0]}, …): {question}")
    return [_figures(labelled, resolution_s) for resolution_s in resolutions_s], notes


def range_eer(frames: Frames) -> OperatingPoint:
    """The mean of both rates, in seconds of each class, at the threshold where they are closest.

    A frame whose score is below the threshold is called spoof as a whole.

    Raises:
        OneClassError: no second is bona fide, or none is spoof.
    """
    scores, group = np.unique(frames.scores, return_inverse=True)
    bonafide, spoof = (np.bincount(group, weights=seconds) for seconds in (frames.bonafide_s, frames.spoof_s))
    if not bonafide.sum() or not spoof.sum():
        raise OneClassError(int(bonafide.sum() > 0), int(spoof.sum() > 0), "a range EER")
    frr = np.concatenate(([0.0], np.cumsum(bonafide))) / bonafide.sum()
    far = 1 - np.concatenate(([0.0], np.cumsum(spoof))) / spoof.sum()
    closest = int(np.argmin(np.abs(frr - far)))
    thresholds = np.append(scores, np.nextafter(scores[-1], np.inf))
    return OperatingPoint(float(frr[closest] + far[closest]) / 2, float(thresholds[closest]))


def _figures(labelled: Sequence[tuple[WindowScores, Floats]], resolution_s: float) -> SegmentFigures:
    parts = [frames_of(recording, spoof, resolution_s) for recording, spoof in labelled]
    columns: Mapping[str, Floats] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "bonafide_s", "spoof_s")
    }
    frames = Frames(**columns)
    is_spoof = frames.is_spoof
    if is_spoof.all() or not is_spoof.any():
        raise OneClassError(int((~is_spoof).sum()), int(is_spoof.sum()), "a segment EER")
    return SegmentFigures(
        resolution_s=resolution_s,
        n_bonafide=int((~is_spoof).sum()),
        n_spoof=int(is_spoof.sum()),
        bonafide_s=float(frames.bonafide_s.sum()),
        spoof_s=float(frames.spoof_s.sum()),
        point=error_rates(frames.scores[~is_spoof], frames.scores[is_spoof]).eer,
        range=range_eer(frames),
    )


def _mean_scores(scores: Floats, starts: Floats, ends: Floats, moments: Floats) -> Floats:
    """The mean score of the windows, in order, that cover each of the moments; NaN where none does."""
    first, last = np.searchsorted(ends, moments, side="right"), np.searchsorted(starts, moments, side="right")
    means = {
        (low, high): scores[low:high].mean()
        for low, high in {*zip(first.tolist(), last.tolist(), strict=True)}
        if low < high
    }
    return np.array([means.get(pair, np.nan) for pair in zip(first.tolist(), last.tolist(), strict=True)])


def _covered_by(parts: Floats, moments: Floats) -> Floats:
    """Seconds of the parts up to each moment."""
    if not len(parts):
        return np.zeros(moments.size)
    edges = parts.ravel()
    lengths = np.diff(edges)
    lengths[1::2] = 0.0
    return np.asarray(np.interp(moments, edges, np.concatenate(([0.0], np.cumsum(lengths)))), dtype=np.float64)
