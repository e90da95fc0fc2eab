"""The figures of an evaluation, a row of ``METRICS`` each: how it is computed, shown and documented."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dfeval.metrics.bootstrap import Replicates, minimum_costs
from dfeval.metrics.cllr import cllr, cllr_losses, min_cllr
from dfeval.metrics.convex_hull import Hull
from dfeval.metrics.dcf import DcfCosts, act_dcf, act_dcf_losses, min_dcf
from dfeval.metrics.eer import ErrorRates, Floats, OperatingPoint
from dfeval.metrics.intervals import (
    LEVEL,
    MAX_SEPARATED,
    MIN_CONFUSIONS,
    MIN_TRIALS,
    Interval,
    Units,
    clopper_pearson,
    jeffreys,
    loss_interval,
    share_interval,
    skewness_of_means,
    units_of,
    variance_of_means,
    weighed_rates,
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
        losses: what each trial adds to it, in the order of the error rates, where it is the sum of both classes' means.
        weights: of both error rates, where it is a cost.
        step: the least by which it differs from 0 or 1 without being it, where it lies between them.
        max_perfect: share of draws of 1 beyond which there is no interval.
    """

    title: str
    is_rate: bool
    meaning: str
    definition: str
    source: str
    compute: Callable[[Basis], Value | None]
    drawn: Callable[[Replicates, Basis], Floats] | None = None
    losses: Callable[[Basis], Floats] | None = None
    weights: Callable[[Basis], TdcfWeights | None] | None = None
    step: Callable[[ErrorRates], float] | None = None
    max_perfect: float = 1.0


def _dcf_weights(basis: Basis) -> TdcfWeights:
    return TdcfWeights(0.0, basis.costs.weight_frr, basis.costs.weight_far)


def _tdcf_weights_2019(basis: Basis) -> TdcfWeights | None:
    return weights_2019(basis.asv, basis.tdcf_costs) if basis.asv else None


def _tdcf_weights_2021(basis: Basis) -> TdcfWeights | None:
    return weights_2021(basis.asv, basis.tdcf_costs) if basis.asv else None


def _least_costs(weights_of: Callable[[Basis], TdcfWeights | None]) -> Callable[[Replicates, Basis], Floats]:
    """Replicates of a least cost, a verifier's rates being taken as given; none without them."""

    def drawn(replicates: Replicates, basis: Basis) -> Floats:
        weights = weights_of(basis)
        if weights is None:
            return np.empty(0)
        return minimum_costs(replicates, weights.frr, weights.far, weights.constant) / weights.normaliser

    return drawn


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
        step=lambda rates: 1 / (2 * min(rates.n_bonafide, rates.n_spoof)),
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
        step=lambda rates: 1 / (rates.n_bonafide * rates.n_spoof),
        max_perfect=MAX_SEPARATED,
    ),
    "min_dcf": Metric(
        "min DCF",
        False,
        "detection cost at the best threshold; 1 = of no use",
        "normalised, at p(spoof) 0.05, miss 1, false alarm 10 unless `--p-spoof --c-miss --c-fa` say otherwise",
        "ASVspoof 5 plan",
        lambda basis: min_dcf(basis.rates, basis.costs),
        drawn=_least_costs(_dcf_weights),
        weights=_dcf_weights,
    ),
    "act_dcf": Metric(
        "actual DCF",
        False,
        "detection cost when the score is taken for a log-likelihood ratio",
        "the same at the Bayes threshold, -0.642",
        "ASVspoof 5 plan",
        lambda basis: act_dcf(basis.rates, basis.costs),
        losses=lambda basis: act_dcf_losses(basis.rates, basis.costs),
        weights=_dcf_weights,
    ),
    "cllr": Metric(
        "Cllr",
        False,
        "cost of the score taken for a log-likelihood ratio, in bits; 1 = knows nothing",
        "",
        "Brümmer & du Preez 2006",
        lambda basis: basis.cllr,
        losses=lambda basis: cllr_losses(basis.rates),
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
        drawn=_least_costs(_tdcf_weights_2019),
        weights=_tdcf_weights_2019,
    ),
    "min_tdcf_2021": Metric(
        "min t-DCF 2021",
        False,
        "tandem cost, ASVspoof 2021's form",
        f"{_TDCF_OPTIONS}; a 2021 file needs `--asv-key trial_metadata.txt`, too",
        "Kinnunen et al. 2020",
        lambda basis: min_tdcf(basis.rates, weights_2021(basis.asv, basis.tdcf_costs)) if basis.asv else None,
        drawn=_least_costs(_tdcf_weights_2021),
        weights=_tdcf_weights_2021,
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
    figures: Mapping[str, float], basis: Basis, replicates: Replicates | None, speakers: NDArray[np.int64] | None
) -> dict[str, Interval]:
    """Intervals of the figures that have one; of none where a class has too few trials for any kind of interval.

    Args:
        figures: as `figures_of` gives them.
        basis: what they were computed from.
        replicates: of the basis' error rates; None: only figures whose intervals need none.
        speakers: those that the replicates drew, in the order of the error rates; None where trials were drawn.
    """
    if min(basis.rates.n_bonafide, basis.rates.n_spoof) < MIN_TRIALS:
        return {}
    found: dict[str, Interval | None] = {}
    for name, value in figures.items():
        metric = METRICS[name]
        if metric.drawn and replicates is None:
            continue
        if metric.weights:
            found[name] = _interval_of_cost(metric, basis, replicates, speakers)
        elif metric.drawn and replicates:
            drawn = metric.drawn(replicates, basis)
            found[name] = _interval_of_share(metric, value, basis.rates, drawn, replicates.units)
        elif metric.losses:
            found[name] = _interval_of_loss(metric.losses(basis), value, basis.rates, speakers)
    return {name: interval for name, interval in found.items() if interval is not None}


def _interval_of_share(metric: Metric, value: float, rates: ErrorRates, drawn: Floats, units: Units) -> Interval | None:
    """Interval of a figure between 0 and 1, where not too many draws are perfect."""
    step = metric.step(rates) if metric.step else 0.0
    if not drawn.size or np.mean(drawn > 1 - step / 2) > metric.max_perfect:
        return None
    return share_interval(value, drawn, step, units)


def _interval_of_cost(
    metric: Metric, basis: Basis, replicates: Replicates | None, speakers: NDArray[np.int64] | None
) -> Interval | None:
    """Interval of the actual cost, or of the least one over all thresholds (which has draws)."""
    weights, rates = metric.weights(basis) if metric.weights else None, basis.rates
    if weights is None:
        return None
    scale = (weights.frr / weights.normaliser, weights.far / weights.normaliser)
    units, alone = units_of(rates.is_bonafide, speakers), weights.constant / weights.normaliser
    if metric.drawn is None or replicates is None:
        ranks = np.arange(rates.scores.size)
        is_wrong = (ranks >= np.searchsorted(rates.scores, basis.costs.bayes_threshold)) != rates.is_bonafide
        low, high = weighed_rates(scale, is_wrong, rates.is_bonafide, speakers, jeffreys)
        return Interval(alone + low, alone + high, LEVEL, 0, units.unit, units.n_units)
    is_wrong = wrong_at_least_cost(weights, rates)
    low, high = weighed_rates(scale, is_wrong, rates.is_bonafide, speakers, clopper_pearson)
    # A minimum over thresholds follows its trials' chances, so it is too small; by how much, the draws say roughly.
    # The upper end goes up by that, no further than a detector of no use, the lower end by half of it.
    drawn, grid = metric.drawn(replicates, basis), replicates.points
    if not drawn.size:
        return None
    found = replace(replicates, frr=rates.frr[grid][None], far=rates.far[grid][None])
    bias = float(drawn.mean() - metric.drawn(found, basis)[0])
    value = min_tdcf(rates, weights).value
    low, high = min(alone + low - bias / 2, value), max(min(alone + high - bias, 1.0), value)
    return Interval(low, high, LEVEL, drawn.size, units.unit, units.n_units)


def wrong_at_least_cost(weights: TdcfWeights, rates: ErrorRates) -> NDArray[np.bool_]:
    """Whether each trial, in the order of the rates, is decided wrongly at the threshold of the least cost."""
    best = np.argmin(weights.frr * rates.frr + weights.far * rates.far)
    return np.asarray((np.arange(rates.scores.size) >= best) != rates.is_bonafide)


def _interval_of_loss(
    losses: Floats, value: float, rates: ErrorRates, speakers: NDArray[np.int64] | None
) -> Interval | None:
    """Interval of a mean loss, where both classes were confused often enough."""
    if rates.eer.value * min(rates.n_bonafide, rates.n_spoof) < MIN_CONFUSIONS:
        return None
    variance = variance_of_means(losses, rates.is_bonafide, speakers)
    skewness = skewness_of_means(losses, rates.is_bonafide, speakers, variance) if variance > 0 else 0.0
    return loss_interval(value, variance, skewness, units_of(rates.is_bonafide, speakers))
