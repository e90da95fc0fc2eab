"""Two detectors on the same trials: is the difference of their EERs more than chance?

A paired bootstrap: both detectors are judged on the same redrawn trials (or speakers), so what makes a trial hard
cancels out. The p-value is the achieved significance level of the percentile interval (Efron & Tibshirani, "An
Introduction to the Bootstrap", 1993, ch. 15-16): twice the share of replicates in which the difference has the other
sign, one being added to both counts, as a p-value of zero can't be had by drawing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfeval.metrics.bootstrap import LEVEL, Counts, Interval, crossing, drawable
from dfeval.metrics.eer import Floats


@dataclass(frozen=True)
class Comparison:
    """EERs of two detectors on the same trials; ``difference``: second minus first, below zero = second better."""

    first: float
    second: float
    difference: Interval
    p_value: float
    n_bonafide: int
    n_spoof: int


@dataclass(frozen=True)
class _Sorted:
    """The order of one detector's scores, bona fide first among ties."""

    order: Counts
    is_bonafide: NDArray[np.bool_]

    def eer(self, drawn: Counts, total: tuple[int, int]) -> float:
        return crossing(drawn[self.order], self.is_bonafide, (0, 0), total)


def compare(
    first: Floats,
    second: Floats,
    is_bonafide: NDArray[np.bool_],
    *,
    speakers: NDArray[np.int64] | None = None,
    n_replicates: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two detectors' scores of the same trials; all arrays have shape (n_trials,).

    ``speakers`` numbers each trial's speaker; without, or with too few of them, trials are drawn within each class.
    """
    speakers = drawable(speakers, is_bonafide)
    detectors = [_sorted(scores, is_bonafide) for scores in (first, second)]
    rng = np.random.default_rng(seed)
    n_units = is_bonafide.size if speakers is None else int(speakers.max()) + 1
    differences = []
    for _ in range(n_replicates):
        drawn = _draw_trials(rng, is_bonafide) if speakers is None else _draw_units(rng, n_units)[speakers]
        n_bonafide = int(drawn[is_bonafide].sum())
        total = (n_bonafide, int(drawn.sum()) - n_bonafide)
        if all(total):
            eers = [detector.eer(drawn, total) for detector in detectors]
            differences.append(eers[1] - eers[0])
    values = np.asarray(differences)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    everyone = np.ones(is_bonafide.size, dtype=np.int64)
    total = (int(is_bonafide.sum()), int((~is_bonafide).sum()))
    return Comparison(
        first=detectors[0].eer(everyone, total),
        second=detectors[1].eer(everyone, total),
        difference=Interval(
            float(low), float(high), LEVEL, len(values), "trial" if speakers is None else "speaker", n_units
        ),
        p_value=_p_value(values),
        n_bonafide=total[0],
        n_spoof=total[1],
    )


def _p_value(differences: Floats) -> float:
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


def _sorted(scores: Floats, is_bonafide: NDArray[np.bool_]) -> _Sorted:
    order = np.lexsort((~is_bonafide, scores))
    return _Sorted(order.astype(np.int64), is_bonafide[order])


def _draw_units(rng: np.random.Generator, n_units: int) -> Counts:
    return np.bincount(rng.integers(n_units, size=n_units), minlength=n_units)


def _draw_trials(rng: np.random.Generator, is_bonafide: NDArray[np.bool_]) -> Counts:
    drawn = np.empty(is_bonafide.size, dtype=np.int64)
    for mask in (is_bonafide, ~is_bonafide):
        drawn[mask] = _draw_units(rng, int(mask.sum()))
    return drawn
