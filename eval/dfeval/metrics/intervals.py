"""Confidence intervals of a figure, from its variance and the number of independent units behind it.

The variance comes from the bootstrap (EER, AUC, minimum costs: `bootstrap`) or, for sums of means, in closed form
(`variance_of_means`). Percentiles of the replicates are not used: their upper end is too low with few speakers or
trials (`benchmarks/coverage.py` prints how often each kind holds the true figure).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from dfeval.metrics.eer import Floats

LEVEL = 0.95
MAX_LOG = 500.0  # keeps a hopelessly wide interval finite
MIN_TRIALS = 20  # of each class: with fewer, no kind of interval held the true figure as often as it says
MIN_ERRORS = 10  # of each kind at the threshold of a cost: with fewer, its interval lies too low
MIN_CONFUSIONS = 5  # the same at the EER's threshold, of a figure without a threshold of its own
MIN_SPEAKERS = 10  # of each class: fewer draws of fewer speakers say little about the speakers that were not recorded


@dataclass(frozen=True)
class Interval:
    """Bounds, confidence level, and what was drawn (``unit`` trial or speaker, how many).

    ``n_replicates`` is 0 where the variance has a closed form and nothing was drawn.
    """

    low: float
    high: float
    level: float
    n_replicates: int
    unit: str
    n_units: int


@dataclass(frozen=True)
class Units:
    """What varies independently: ``unit`` (trial, speaker), how many in all, and in the class that has fewer."""

    unit: str
    n_units: int
    n_of_rarer_class: int


def units_of(is_bonafide: NDArray[np.bool_], speakers: NDArray[np.int64] | None) -> Units:
    """The units of trials whose speakers are numbered, or None where trials count by themselves."""
    if speakers is None:
        n_bonafide = int(is_bonafide.sum())
        return Units("trial", is_bonafide.size, min(n_bonafide, is_bonafide.size - n_bonafide))
    # Counting is linear in the trials, where finding the unique numbers would sort them.
    n_of_class = (int(np.count_nonzero(np.bincount(speakers[mask]))) for mask in (is_bonafide, ~is_bonafide))
    return Units("speaker", int(np.count_nonzero(np.bincount(speakers))), min(n_of_class))


def share_interval(value: float, variance: float, units: Units, n_replicates: int) -> Interval | None:
    """Interval of a figure between 0 and 1: Clopper and Pearson's, of that many successes in that many trials.

    The number of trials is the one that would have this variance, lessened for the few units that the variance is
    known from (Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24, 1998). It rather holds the true figure too often than too
    seldom. None where nothing varies, as when no error was seen.
    """
    if not variance > 0 or not 0 < value < 1 or units.n_of_rarer_class < 2:
        return None
    normal, student = _quantiles(units)
    n_effective = value * (1 - value) / variance * (normal / student) ** 2
    successes, failures = value * n_effective, (1 - value) * n_effective
    low = float(betaincinv(successes, failures + 1, (1 - LEVEL) / 2))
    high = float(betaincinv(successes + 1, failures, (1 + LEVEL) / 2))
    return Interval(low, high, LEVEL, n_replicates, units.unit, units.n_units)


def rate_interval(value: float, variance: float, units: Units) -> Interval | None:
    """Interval of an error rate at a threshold that these trials did not choose.

    As `share_interval`; where no error, or nothing else, was seen, that of as many trials as there are units.
    """
    if 0 < value < 1 or not 0 <= value <= 1:
        return share_interval(value, variance, units, 0)
    reach = 1 - ((1 - LEVEL) / 2) ** (1 / units.n_of_rarer_class)
    low, high = (0.0, reach) if value == 0 else (1 - reach, 1.0)
    return Interval(low, high, LEVEL, 0, units.unit, units.n_units)


def cost_interval(value: float, variance: float, units: Units, n_replicates: int = 0) -> Interval | None:
    """Interval of a figure above 0 without upper end: Student's, of its logarithm; None where nothing varies."""
    if not variance > 0 or not 0 < value < math.inf or units.n_of_rarer_class < 2:
        return None
    reach = math.exp(min(_quantiles(units)[1] * math.sqrt(variance) / value, MAX_LOG))
    return Interval(value / reach, value * reach, LEVEL, n_replicates, units.unit, units.n_units)


def difference_interval(value: float, variance: float, units: Units, n_replicates: int) -> Interval:
    """Interval of a difference: Student's; of no width where nothing varies."""
    reach = _quantiles(units)[1] * math.sqrt(variance) if variance > 0 else 0.0
    return Interval(value - reach, value + reach, LEVEL, n_replicates, units.unit, units.n_units)


def variance_of_means(losses: Floats, is_bonafide: NDArray[np.bool_], speakers: NDArray[np.int64] | None) -> float:
    """Variance of the sum of both classes' mean losses.

    By speaker, each speaker's share in the error of the sum is squared (Taylor linearisation of ratio means: Korn &
    Graubard, "Analysis of Health Surveys", 1999, ch. 2), so that a speaker's trials of both classes may go together.

    Args:
        losses: of each trial, shape (n_trials,).
        is_bonafide: the class of each.
        speakers: the speaker of each, numbered from 0 without gaps; None: each trial by itself.
    """
    if speakers is None:
        return float(sum(losses[mask].var(ddof=1) / mask.sum() for mask in (is_bonafide, ~is_bonafide)))
    errors = np.zeros(int(speakers.max()) + 1)
    for mask in (is_bonafide, ~is_bonafide):
        of_class = losses[mask]
        errors += np.bincount(speakers[mask], (of_class - of_class.mean()) / of_class.size, errors.size)
    return float(errors.size / (errors.size - 1) * (errors**2).sum())


def _quantiles(units: Units) -> tuple[float, float]:
    """Of the normal and of Student's distribution, at the level's upper end."""
    upper = (1 + LEVEL) / 2
    return float(ndtri(upper)), float(stdtrit(units.n_of_rarer_class - 1, upper))
