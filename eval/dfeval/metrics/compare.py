"""Two detectors on the same trials: is the difference of a figure more than chance?

A paired bootstrap: both detectors are judged on the same redrawn trials (or speakers), so what makes a trial hard
cancels out. The draws give the difference's standard error (of least costs, where that is larger, the losses at both
thresholds do); interval and p-value are both Student's with it (Efron & Tibshirani, "An Introduction to the Bootstrap",
1993, ch. 12), so p < 0.05 exactly where the 95 % interval excludes 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dfeval.figures import METRICS, Basis, wrong_at_least_cost
from dfeval.metrics.bootstrap import Counts, Replicates, crossing, drawable
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.eer import Floats, error_rates
from dfeval.metrics.intervals import MIN_TRIALS, Interval, difference_test, units_of, variance_of_means
from dfeval.metrics.tdcf import AsvRates

NO_DIFFERENCE = 1e-9  # sums of floats differ by less
COMPARABLE = tuple(name for name, metric in METRICS.items() if metric.drawn or metric.losses)


@dataclass(frozen=True)
class Comparison:
    """A figure (a key of METRICS) of two detectors on the same trials.

    Attributes:
        metric: which.
        first: the first detector's.
        second: the second detector's.
        interval: of second minus first; None where there is none.
        p_value: of a difference as large if there were none in truth; None where there is no interval.
        why_none: why there is no interval, in words; else empty.
        n_bonafide: trials.
        n_spoof: trials.
    """

    metric: str
    first: float
    second: float
    interval: Interval | None
    p_value: float | None
    why_none: str
    n_bonafide: int
    n_spoof: int

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class Figure:
    """What is compared: a name of COMPARABLE, and what it needs to be computed."""

    metric: str = "eer"
    costs: DcfCosts = field(default_factory=DcfCosts)
    asv: AsvRates | None = None


class _Sorted:
    """The order of one detector's scores, bona fide first among ties, and the figure of trials drawn so often each."""

    def __init__(self, scores: Floats, is_bonafide: NDArray[np.bool_], figure: Figure) -> None:
        order = np.lexsort((~is_bonafide, scores))
        self.order, self.is_bonafide, self.metric = order.astype(np.int64), is_bonafide[order], figure.metric
        rates = error_rates(scores[is_bonafide], scores[~is_bonafide])
        self.basis = Basis(rates, convex_hull(rates), figure.costs, figure.asv)
        self.units, self.points = units_of(is_bonafide, None), rates.distinct
        losses = METRICS[self.metric].losses
        self.losses = losses(self.basis) if losses else None

    def losses_at_least_cost(self) -> Floats | None:
        """What each trial, in the detectors' common order, adds to a least cost; None of other figures."""
        metric = METRICS[self.metric]
        weights = metric.weights(self.basis) if metric.weights and metric.drawn else None
        if weights is None:
            return None
        costs = np.where(self.is_bonafide, weights.frr, weights.far) / weights.normaliser
        losses = np.empty(self.order.size)
        losses[self.order] = wrong_at_least_cost(weights, self.basis.rates) * costs
        return losses

    def value(self, drawn: Counts, total: tuple[int, int]) -> float:
        """The figure of trials that are drawn so often each, given in the detectors' common order."""
        counts = drawn[self.order]
        if self.metric == "eer":
            return crossing(counts, self.is_bonafide, (0, 0), total)
        if self.losses is not None:
            weights = np.where(self.is_bonafide, 1 / total[0], 1 / total[1])
            return float((counts * weights * self.losses).sum())
        seen = [
            np.concatenate(([0], np.cumsum(counts * mask)))[self.points] / size
            for mask, size in zip((self.is_bonafide, ~self.is_bonafide), total, strict=True)
        ]
        drawn_once = Replicates(np.empty(0), seen[0][None], 1 - seen[1][None], self.points, self.units, 0.0)
        compute = METRICS[self.metric].drawn
        return float(compute(drawn_once, self.basis)[0]) if compute else np.nan


def compare(
    first: Floats,
    second: Floats,
    is_bonafide: NDArray[np.bool_],
    *,
    speakers: NDArray[np.int64] | None = None,
    n_replicates: int = 1000,
    seed: int = 0,
    figure: Figure | None = None,
) -> Comparison:
    """Compare two detectors' scores of the same trials; all arrays have shape (n_trials,).

    ``speakers`` numbers each trial's speaker; without, or with too few of them, trials are drawn within each class.
    ``figure`` says what is compared, the EER by default.
    """
    chosen = figure or Figure()
    speakers = drawable(speakers, is_bonafide)
    detectors = [_Sorted(scores, is_bonafide, chosen) for scores in (first, second)]
    rng = np.random.default_rng(seed)
    n_units = is_bonafide.size if speakers is None else int(speakers.max()) + 1
    differences = []
    for _ in range(n_replicates):
        drawn = _draw_trials(rng, is_bonafide) if speakers is None else _draw_units(rng, n_units)[speakers]
        n_bonafide = int(drawn[is_bonafide].sum())
        total = (n_bonafide, int(drawn.sum()) - n_bonafide)
        if all(total):
            values = [detector.value(drawn, total) for detector in detectors]
            differences.append(values[1] - values[0])
    everyone = np.ones(is_bonafide.size, dtype=np.int64)
    total = (int(is_bonafide.sum()), int((~is_bonafide).sum()))
    found = [detector.value(everyone, total) for detector in detectors]
    variance = float(np.var(differences, ddof=1)) if len(differences) > 1 else 0.0
    losses = [detector.losses_at_least_cost() for detector in detectors]
    why_none = _why_none(min(total), differences, variance)
    interval, p_value = None, None
    if not why_none:
        if losses[0] is not None and losses[1] is not None:
            # Draws repeat trials, and a minimum over repeated trials varies less than one over new ones.
            variance = max(variance, variance_of_means(losses[1] - losses[0], is_bonafide, speakers))
        units = units_of(is_bonafide, speakers)
        interval, p_value = difference_test(found[1] - found[0], variance, units, len(differences))
    return Comparison(
        metric=chosen.metric,
        first=found[0],
        second=found[1],
        interval=interval,
        p_value=p_value,
        why_none=why_none,
        n_bonafide=total[0],
        n_spoof=total[1],
    )


def _why_none(n_of_rarer_class: int, differences: Sequence[float], variance: float) -> str:
    """Why a difference has no interval, in words; empty where it has one."""
    if n_of_rarer_class < MIN_TRIALS:
        return f"under {MIN_TRIALS} trials of a class"
    if variance > NO_DIFFERENCE**2:
        return ""
    is_same = all(abs(difference) < NO_DIFFERENCE for difference in differences)
    return "no draw tells the two apart" if is_same else "each draw finds the same difference"


def _draw_units(rng: np.random.Generator, n_units: int) -> Counts:
    return np.bincount(rng.integers(n_units, size=n_units), minlength=n_units)


def _draw_trials(rng: np.random.Generator, is_bonafide: NDArray[np.bool_]) -> Counts:
    drawn = np.empty(is_bonafide.size, dtype=np.int64)
    for mask in (is_bonafide, ~is_bonafide):
        drawn[mask] = _draw_units(rng, int(mask.sum()))
    return drawn
