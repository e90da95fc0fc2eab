"""Confidence intervals of a figure, from draws or in closed form, and the number of independent units behind it.

Percentiles of the draws are not used: their upper end is too low with few speakers or trials
(`benchmarks/coverage.py` prints how often each kind holds the true figure).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, logit, ndtri, stdtr, stdtrit

from dfeval.metrics.eer import Floats

LEVEL = 0.95
MIN_TRIALS = 20  # of each class: with fewer, no kind of interval held the true figure as often as it says
MIN_CONFUSIONS = 2  # of each kind at the EER's threshold: with fewer, the Cllr's tail has not been seen yet
MAX_SEPARATED = 0.05  # share of draws without a confusion beyond which the AUC's upper end is anybody's guess
ROUNDING = 1e-12  # share of a mean by which rounding may move it
MIN_SLOPE = 1e-6  # of Hall's transformation: nearer to 0 it is none, and would lose digits
MIN_SPEAKERS = 10  # of each class: fewer draws of fewer speakers say little about the speakers that were not recorded

Ends = Callable[[float, float], tuple[float, float]]  # of a rate, given it and the number of trials behind it


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
    """What varies independently.

    Attributes:
        unit: trial or speaker.
        n_units: how many in all.
        n_of_rarer_class: how many in the class that has fewer.
        degrees: of freedom of a variance that both classes' units tell of; one less than the units where they are the
            same units, as speakers with trials of both classes are.
    """

    unit: str
    n_units: int
    n_of_rarer_class: int
    degrees: float


def units_of(is_bonafide: NDArray[np.bool_], speakers: NDArray[np.int64] | None) -> Units:
    """The units of trials whose speakers are numbered, or None where trials count by themselves."""
    if speakers is None:
        n_bonafide = int(is_bonafide.sum())
        n_of_class = (n_bonafide, is_bonafide.size - n_bonafide)
        return Units("trial", is_bonafide.size, min(n_of_class), _degrees(*n_of_class))
    # Counting is linear in the trials, where finding the unique numbers would sort them.
    of_class = [
        np.bincount(speakers[mask], minlength=int(speakers.max()) + 1) > 0 for mask in (is_bonafide, ~is_bonafide)
    ]
    n_bonafide, n_spoof = (int(known.sum()) for known in of_class)
    rarer = min(n_bonafide, n_spoof)
    degrees = float(rarer - 1) if (of_class[0] & of_class[1]).any() else _degrees(n_bonafide, n_spoof)
    return Units("speaker", int((of_class[0] | of_class[1]).sum()), rarer, degrees)


def _degrees(n_bonafide: int, n_spoof: int) -> float:
    """Degrees of freedom of the variance of a sum of both classes' means, where their units vary alike.

    Welch, "The generalization of 'Student's' problem when several different population variances are involved",
    Biometrika 34, 1947; at least those of the class with fewer units.
    """
    if min(n_bonafide, n_spoof) < 2:
        return 0.0
    shares = np.array((1 / n_bonafide, 1 / n_spoof))
    return float(shares.sum() ** 2 / (shares**2 / (1 / shares - 1)).sum())


def share_interval(value: float, drawn: Floats, step: float, units: Units) -> Interval | None:
    """Interval of a figure between 0 and 1, given its draws: Student's, of its log-odds.

    It lies around the figure less the bias that the draws show: trials of one speaker meet each other more often among
    a few speakers than in the world. The draws' spread is that of as many units as were drawn, divided by n where
    n - 1 is right (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 12.4).

    Few errors draw few errors, and the spread is too small where luck has seen one instead of three. So the end that is
    farther from 0 or 1 lies at least where Jeffreys' would for a rate of as many trials as have that spread.

    Args:
        value: the figure.
        drawn: its replicates, shape (n_replicates,).
        step: the least by which it differs from 0 or 1 without being it; draws of 0 and 1 count as half of it.
        units: that were drawn.

    Returns:
        The interval; None where nothing varies, as when no error was seen.
    """
    n_units = units.n_of_rarer_class
    if drawn.size < 2 or np.ptp(drawn) == 0 or not 0 < value < 1 or n_units < 2:
        return None

    def log_odds(shares: Floats) -> Floats:
        return np.asarray(logit(np.clip(shares, step / 2, 1 - step / 2)))

    unbiased = float(np.clip(2 * value - drawn.mean(), step / 2, 1 - step / 2))
    variance_ratio = n_units / (n_units - 1)
    reach = _student(units.degrees) * float(log_odds(drawn).std(ddof=1)) * math.sqrt(variance_ratio)
    centre = float(logit(unbiased))
    low, high = float(expit(centre - reach)), float(expit(centre + reach))
    variance = float(drawn.var(ddof=1)) * variance_ratio
    least_low, least_high = jeffreys(unbiased, unbiased * (1 - unbiased) / variance)
    low, high = (low, max(high, least_high)) if unbiased < 0.5 else (min(low, least_low), high)
    return _interval(min(low, value), max(high, value), units, drawn.size)


def rate_interval(value: float, variance: float, units: Units) -> Interval:
    """Interval of an error rate at a threshold that these trials did not choose: Clopper and Pearson's.

    The number of trials is the one that would have this variance, lessened for the few units that the variance is
    known from (Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24, 1998); where no error, or nothing else, was seen, that of units.
    """
    n_trials = float(units.n_of_rarer_class)
    if variance > 0:
        n_trials = value * (1 - value) / variance * (_NORMAL / _student(units.degrees)) ** 2
    return _interval(*clopper_pearson(value, n_trials), units)


def loss_interval(value: float, variance: float, skewness: float, units: Units) -> Interval | None:
    """Interval of a mean loss above 0 without upper end: Student's, on two scales, and as the losses' skewness asks.

    Losses have a tail of which few trials show little, and where they do not show it their variance is too small as
    well. So the lower end is found on a logarithmic scale, the upper one on that of 1/√, which reaches further there.
    Where the tail is seen, the upper end goes at least as far as with the skewness removed (Hall, "On the removal of
    skewness by transformation", J. R. Statist. Soc. B 54, 1992; of two classes: Zhou & Dinh, Biostatistics 6, 2005).

    Args:
        value: the mean loss.
        variance: of it.
        skewness: of it, as `skewness_of_means` gives it.
        units: behind it.

    Returns:
        The interval; None where nothing varies, or where the upper end has no bound.
    """
    # Of equal losses rounding may leave a variance of its own.
    if not 0 < value < math.inf or not variance > (ROUNDING * value) ** 2 or units.n_of_rarer_class < 2:
        return None
    # Losses of one class may vary far more than the other's: the degrees are those of the class with fewer units.
    error, quantile = math.sqrt(variance), _student(units.n_of_rarer_class - 1)
    reach = quantile * error / value
    if reach >= 2:
        return None
    high = max(value / (1 - reach / 2) ** 2, value - error * _with_skewness(-quantile, skewness))
    return _interval(value * math.exp(-reach), high, units)


def _with_skewness(quantile: float, skewness: float) -> float:
    """Hall's inverse transformation: the quantile of a studentised mean that has this skewness."""
    slope = skewness / 3
    if abs(slope) < MIN_SLOPE:
        return quantile
    return (math.cbrt(1 + 3 * slope * (quantile - slope / 2)) - 1) / slope


def jeffreys(rate: float, n_trials: float) -> tuple[float, float]:
    """Ends of a rate's interval by Jeffreys' prior (Brown, Cai & DasGupta, Statistical Science 16, 2001)."""
    return _beta(rate * n_trials, n_trials, 0.5, 0.5)


def clopper_pearson(rate: float, n_trials: float) -> tuple[float, float]:
    """Ends of a rate's interval by Clopper & Pearson, which rather holds the true rate too often."""
    return _beta(rate * n_trials, n_trials, 0.0, 1.0)


def weighed_rates(
    weights: tuple[float, float],
    is_wrong: NDArray[np.bool_],
    is_bonafide: NDArray[np.bool_],
    speakers: NDArray[np.int64] | None,
    ends: Ends = jeffreys,
) -> tuple[float, float]:
    """Ends of the interval of a weighed sum of both classes' error rates at one threshold.

    Each rate's own ends are as far from it as the sum's would be if the other rate were known; both distances add up
    as squares (Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27,
    2008). That is right with few errors, and with none. Where speakers vary, the number of trials behind each rate is
    that with the variance that is found between speakers, as in `rate_interval`; how both rates of a speaker go
    together adds to both in proportion.

    Args:
        weights: of the bona fide and of the spoof trials' error rate.
        is_wrong: whether each trial is rejected, or accepted, wrongly; shape (n_trials,).
        is_bonafide: the class of each.
        speakers: the speaker of each, numbered from 0 without gaps; None: each trial by itself.
        ends: of one rate.
    """
    masks = (is_bonafide, ~is_bonafide)
    rates = [float(is_wrong[mask].mean()) for mask in masks]
    sizes = [float(mask.sum()) for mask in masks]
    if speakers is not None:
        errors = [_errors(is_wrong, mask, speakers) for mask in masks]
        sizes = _sizes_by_speaker(weights, rates, errors, units_of(is_bonafide, speakers).n_of_rarer_class)
    below, above = 0.0, 0.0
    for weight, rate, size in zip(weights, rates, sizes, strict=True):
        low, high = ends(rate, size)
        below, above = below + (weight * (rate - low)) ** 2, above + (weight * (high - rate)) ** 2
    value = sum(weight * rate for weight, rate in zip(weights, rates, strict=True))
    return value - math.sqrt(below), value + math.sqrt(above)


def difference_test(value: float, variance: float, units: Units, n_replicates: int) -> tuple[Interval, float]:
    """Student's interval of a difference, and the p-value of "there is none" by the same distribution.

    Both follow from one ratio, difference over standard error, so p < 1 - level exactly where the interval excludes 0.

    Args:
        value: the difference.
        variance: of it, above 0.
        units: that were drawn.
        n_replicates: how many draws the variance comes from.
    """
    error = math.sqrt(variance)
    reach = _student(units.degrees) * error
    p_value = 2 * float(stdtr(units.degrees, -abs(value) / error))
    return _interval(value - reach, value + reach, units, n_replicates), p_value


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
    errors = sum(_errors(losses, mask, speakers) for mask in (is_bonafide, ~is_bonafide))
    n_speakers = np.size(errors)
    return float(n_speakers / (n_speakers - 1) * np.sum(errors**2))


def skewness_of_means(
    losses: Floats, is_bonafide: NDArray[np.bool_], speakers: NDArray[np.int64] | None, variance: float
) -> float:
    """Skewness of the sum of both classes' mean losses: third moments add up as variances do.

    Args:
        losses: of each trial, shape (n_trials,).
        is_bonafide: the class of each.
        speakers: the speaker of each, numbered from 0 without gaps; None: each trial by itself.
        variance: of the sum, above 0, as `variance_of_means` gives it.
    """
    masks, scale = (is_bonafide, ~is_bonafide), math.sqrt(variance)
    if speakers is None:
        errors = [(losses[mask] - losses[mask].mean()) / mask.sum() for mask in masks]
    else:
        errors = [np.asarray(sum(_errors(losses, mask, speakers) for mask in masks))]
    return sum(_third_moment(error / scale) for error in errors)


def _third_moment(errors: Floats) -> float:
    """Of the sum of units' errors, without bias."""
    n_units = errors.size
    return float(n_units**2 / ((n_units - 1) * (n_units - 2)) * (errors**3).sum())


def _errors(losses: NDArray[Any], mask: NDArray[np.bool_], speakers: NDArray[np.int64]) -> Floats:
    """Each speaker's share in the error of the mean loss of the trials that the mask picks."""
    of_class = losses[mask]
    shares = (of_class - of_class.mean()) / of_class.size
    return np.asarray(np.bincount(speakers[mask], shares, int(speakers.max()) + 1), dtype=np.float64)


def _sizes_by_speaker(
    weights: tuple[float, float], rates: Sequence[float], errors: Sequence[Floats], n_speakers: int
) -> list[float]:
    """How many trials of their own would have told as much of each rate as these speakers did."""
    apart = sum(weight**2 * float((error**2).sum()) for weight, error in zip(weights, errors, strict=True))
    together = float(((weights[0] * errors[0] + weights[1] * errors[1]) ** 2).sum())
    sizes = []
    for rate, error in zip(rates, errors, strict=True):
        variance = n_speakers / (n_speakers - 1) * float((error**2).sum()) * (together / apart if apart > 0 else 1.0)
        size = rate * (1 - rate) / variance if variance > 0 else n_speakers
        sizes.append(size * (_NORMAL / _student(n_speakers - 1)) ** 2)
    return sizes


def _beta(successes: float, n_trials: float, less: float, more: float) -> tuple[float, float]:
    """Quantiles of the beta distributions of a share; ``less`` and ``more`` are added to the successes at each end."""
    failures, outside = n_trials - successes, (1 - LEVEL) / 2
    low = float(betaincinv(successes + less, failures + 1 - less, outside)) if successes > 0 else 0.0
    high = float(betaincinv(successes + more, failures + 1 - more, 1 - outside)) if failures > 0 else 1.0
    return low, high


def _interval(low: float, high: float, units: Units, n_replicates: int = 0) -> Interval:
    return Interval(low, high, LEVEL, n_replicates, units.unit, units.n_units)


_NORMAL = float(ndtri((1 + LEVEL) / 2))


def _student(degrees: float) -> float:
    """Quantile at the level's upper end of Student's distribution with so many degrees of freedom."""
    return float(stdtrit(degrees, (1 + LEVEL) / 2))
