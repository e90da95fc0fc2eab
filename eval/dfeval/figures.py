"""The figures of an evaluation, a row of ``METRICS`` each: how it is computed, shown and documented."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dfeval.metrics.bootstrap import Replicates, minimum_costs
from dfeval.metrics.cllr import cllr, cllr_losses, min_cllr
from dfeval.metrics.convex_hull import Hull
from dfeval.metrics.dcf import DcfCosts, act_dcf, act_dcf_losses, min_dcf
from dfeval.metrics.eer import ErrorRates, Floats, OperatingPoint
from dfeval.metrics.intervals import (
    MIN_CONFUSIONS,
    MIN_ERRORS,
    MIN_TRIALS,
    Interval,
    cost_interval,
    units_of,
    variance_of_means,
)
from dfeval.metrics.tdcf import AsvRates, TdcfCosts, TdcfWeights, min_tdcf, weights_2019, weights_2021

Value = OperatingPoint | float


@dataclass(frozen=True)
class Basis:
    """What figures are computed from; ``asv`` is None where the speaker verifier's rates are not known."""

    rates: ErrorRates
    hull: Hull
    costs: DcfCosts
    asv: AsvRates | None
    tdcf_costs: TdcfCosts = field(default_factory=TdcfCosts)

    @cached_property
    def cllr(self) -> float:
        """Cllr of the scores as they are."""
        return cllr(self.rates.scores[self.rates.is_bonafide], self.rates.scores[~self.rates.is_bonafide])


@dataclass(frozen=True)
class Metric:
    """How a figure is computed, written and read.

    Attributes:
        title: what it is called.
        is_rate: whether it is written as a percentage.
        meaning: beside the figure in a report.
        definition: how it is computed, for the documentation; empty where the meaning says it all.
        source: who defined it.
        compute: the figure, with its threshold where it has one; None where the basis does not allow it.
        drawn: its bootstrap replicates, shape (n_replicates,), of a figure between 0 and 1 that is no mean; else None.
        losses: what each trial adds to it, in the order of the error rates, where it is the sum of both classes' means:
            its interval then needs no draws. With neither, a figure has no interval.
        is_least: whether it is the least cost over all thresholds, which the trials at hand make look too small.
        least_errors: of each kind that have to be seen at its threshold, or at the EER's where it has none: with fewer
            its interval would hold the true figure too seldom, and there is none.
    """

    title: str
    is_rate: bool
    meaning: str
    definition: str
    source: str
    compute: Callable[[Basis], Value | None]
    drawn: Callable[[Replicates, Basis], Floats] | None = None
    losses: Callable[[Basis], Floats] | None = None
    is_least: bool = False
    least_errors: int = 0


def _tandem_costs(
    replicates: Replicates, basis: Basis, weights_of: Callable[[AsvRates, TdcfCosts], TdcfWeights]
) -> Floats:
    """Replicates of a minimum t-DCF, the verifier's rates taken as given; none without them."""
    if basis.asv is None:
        return np.empty(0)
    weights = weights_of(basis.asv, basis.tdcf_costs)
    return minimum_costs(replicates, weights.frr, weights.far, weights.constant) / weights.normaliser


_TDCF_OPTIONS = "with `--asv-scores FILE` or `--asv-rates P_FA P_MISS P_FA_SPOOF`"

METRICS: Mapping[str, Metric] = {
    "eer": Metric(
        "EER",
        True,
        "error rate where as many bona fide are rejected as spoof accepted (ASVspoof)",
        "mean of both error rates where they are closest, stable sort, bona fide first among ties",
        "the ASVspoof packages",
        lambda basis: basis.rates.eer,
        drawn=lambda replicates, _: replicates.eers,
    ),
    "eer_convex_hull": Metric(
        "EER, convex hull",
        True,
        "the same on the ROC convex hull",
        "where it crosses the diagonal, never above 50 %",
        "Brümmer & de Villiers 2011",
        lambda basis: basis.hull.eer,
    ),
    "auc": Metric(
        "AUC",
        False,
        "how often a bona fide trial outscores a spoof one",
        "a tie counts half",
        "",
        lambda basis: basis.rates.auc,
        drawn=lambda replicates, _: replicates.aucs,
        least_errors=MIN_CONFUSIONS,
    ),
    "min_dcf": Metric(
        "min DCF",
        False,
        "detection cost at the best threshold; 1 = of no use",
        "normalised, at p(spoof) 0.05, miss 1, false alarm 10 unless `--p-spoof --c-miss --c-fa` say otherwise",
        "ASVspoof 5 plan",
        lambda basis: min_dcf(basis.rates, basis.costs),
        drawn=lambda replicates, basis: (
            minimum_costs(replicates, basis.costs.weight_frr, basis.costs.weight_far) / basis.costs.normaliser
        ),
        is_least=True,
        least_errors=MIN_ERRORS,
    ),
    "act_dcf": Metric(
        "actual DCF",
        False,
        "detection cost when the score is taken for a log-likelihood ratio",
        "the same at the Bayes threshold, -0.642",
        "ASVspoof 5 plan",
        lambda basis: act_dcf(basis.rates, basis.costs),
        losses=lambda basis: act_dcf_losses(basis.rates, basis.costs),
        least_errors=MIN_ERRORS,
    ),
    "cllr": Metric(
        "Cllr",
        False,
        "cost of the score taken for a log-likelihood ratio, in bits; 1 = knows nothing",
        "",
        "Brümmer & du Preez 2006",
        lambda basis: basis.cllr,
        losses=lambda basis: cllr_losses(basis.rates),
        least_errors=MIN_CONFUSIONS,
    ),
    "min_cllr": Metric(
        "min Cllr",
        False,
        "the same after the best order-keeping calibration",
        "",
        "Brümmer & du Preez 2006",
        lambda basis: min_cllr(basis.hull),
    ),
    "min_tdcf_2019": Metric(
        "min t-DCF 2019",
        False,
        "tandem cost, ASVspoof 2019's form",
        _TDCF_OPTIONS,
        "Kinnunen et al. 2018",
        lambda basis: min_tdcf(basis.rates, weights_2019(basis.asv, basis.tdcf_costs)) if basis.asv else None,
        drawn=lambda replicates, basis: _tandem_costs(replicates, basis, weights_2019),
        is_least=True,
        least_errors=MIN_ERRORS,
    ),
    "min_tdcf_2021": Metric(
        "min t-DCF 2021",
        False,
        "tandem cost, ASVspoof 2021's form",
        f"{_TDCF_OPTIONS}; a 2021 file needs `--asv-key trial_metadata.txt`, too",
        "Kinnunen et al. 2020",
        lambda basis: min_tdcf(basis.rates, weights_2021(basis.asv, basis.tdcf_costs)) if basis.asv else None,
        drawn=lambda replicates, basis: _tandem_costs(replicates, basis, weights_2021),
        is_least=True,
        least_errors=MIN_ERRORS,
    ),
}


def figures_of(basis: Basis) -> tuple[dict[str, float], dict[str, float]]:
    """Every figure that the basis allows, in the order of METRICS, and the thresholds of those that have one."""
    figures, thresholds = {}, {}
    for name, metric in METRICS.items():
        value = metric.compute(basis)
        if isinstance(value, OperatingPoint):
            figures[name], thresholds[name] = value.value, value.threshold
        elif value is not None:
            figures[name] = value
    return figures, thresholds


def intervals_of(
    figures: Mapping[str, float], basis: Basis, replicates: Replicates, speakers: NDArray[np.int64] | None
) -> dict[str, Interval]:
    """Intervals of the figures that have one; of none where a class has too few trials for any kind of interval.

    Args:
        figures: as `figures_of` gives them.
        basis: what they were computed from.
        replicates: of the basis' error rates.
        speakers: those that the replicates drew, in the order of the error rates; None where trials were drawn.
    """
    rates = basis.rates
    if min(rates.n_bonafide, rates.n_spoof) < MIN_TRIALS:
        return {}
    found: dict[str, Interval | None] = {}
    for name, value in figures.items():
        metric = METRICS[name]
        if metric.least_errors and not _has_enough_errors(metric, basis):
            continue
        if metric.drawn and metric.is_least:
            found[name] = _interval_of_least(metric, value, basis, replicates)
        elif metric.drawn:
            found[name] = replicates.interval(value, metric.drawn(replicates, basis))
        elif metric.losses:
            variance = variance_of_means(metric.losses(basis), rates.is_bonafide, speakers)
            found[name] = cost_interval(value, variance, units_of(rates.is_bonafide, speakers))
    return {name: interval for name, interval in found.items() if interval is not None}


def _interval_of_least(metric: Metric, value: float, basis: Basis, replicates: Replicates) -> Interval | None:
    """Interval of a least cost: around what remains of it when the bias that the draws show is taken off.

    A minimum over thresholds follows its trials' chances, so it is too small, the more so the fewer errors there are
    at its threshold. How much, the draws say roughly: the square of that bias adds to the variance.
    """
    rates, drawn_of = basis.rates, metric.drawn
    if drawn_of is None:
        return None
    drawn, grid = drawn_of(replicates, basis), replicates.points
    on_grid = drawn_of(replace(replicates, frr=rates.frr[grid][None], far=rates.far[grid][None]), basis)[0]
    bias = float(drawn.mean() - on_grid)
    interval = cost_interval(value - bias, float(drawn.var(ddof=1)) + bias**2, replicates.units, drawn.size)
    return interval and replace(interval, low=min(interval.low, value), high=max(interval.high, value))


def _has_enough_errors(metric: Metric, basis: Basis) -> bool:
    """Whether both kinds of errors were seen often enough for an interval of the figure."""
    rates, point = basis.rates, metric.compute(basis)
    if not isinstance(point, OperatingPoint):
        point = rates.eer
    # A least cost's threshold is the last score that is rejected, others the first that is accepted.
    side: Literal["left", "right"] = "right" if metric.is_least else "left"
    n_rejected = int(np.searchsorted(rates.scores, point.threshold, side=side))
    errors = (rates.frr[n_rejected] * rates.n_bonafide, rates.far[n_rejected] * rates.n_spoof)
    return bool(min(errors) > metric.least_errors - 0.5)  # counts, but for rounding
