"""The figures of an evaluation, a row of ``METRICS`` each: how it is computed, shown and documented."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dfeval.metrics.bootstrap import Replicates
from dfeval.metrics.cllr import cllr, min_cllr
from dfeval.metrics.convex_hull import Hull
from dfeval.metrics.dcf import DcfCosts, act_dcf, min_dcf
from dfeval.metrics.eer import ErrorRates, Floats, OperatingPoint
from dfeval.metrics.tdcf import AsvRates, TdcfCosts, min_tdcf_2019, min_tdcf_2021

Value = OperatingPoint | float


@dataclass(frozen=True)
class Basis:
    """What figures are computed from; ``asv`` is None where the speaker verifier's rates are not known."""

    rates: ErrorRates
    hull: Hull
    costs: DcfCosts
    asv: AsvRates | None
    tdcf_costs: TdcfCosts = field(default_factory=TdcfCosts)

    @property
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
        drawn: its bootstrap replicates, shape (n_replicates,); None for a figure without an interval.
    """

    title: str
    is_rate: bool
    meaning: str
    definition: str
    source: str
    compute: Callable[[Basis], Value | None]
    drawn: Callable[[Replicates], Floats] | None = None


_TDCF_OPTIONS = "with `--asv-scores FILE` or `--asv-rates P_FA P_MISS P_FA_SPOOF`"

METRICS: Mapping[str, Metric] = {
    "eer": Metric(
        "EER",
        True,
        "error rate where as many bona fide are rejected as spoof accepted (ASVspoof)",
        "mean of both error rates where they are closest, stable sort, bona fide first among ties",
        "the ASVspoof packages",
        lambda basis: basis.rates.eer,
        drawn=lambda replicates: replicates.eers,
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
        drawn=lambda replicates: replicates.aucs,
    ),
    "min_dcf": Metric(
        "min DCF",
        False,
        "detection cost at the best threshold; 1 = of no use",
        "normalised, at p(spoof) 0.05, miss 1, false alarm 10 unless `--p-spoof --c-miss --c-fa` say otherwise",
        "ASVspoof 5 plan",
        lambda basis: min_dcf(basis.rates, basis.costs),
    ),
    "act_dcf": Metric(
        "actual DCF",
        False,
        "detection cost when the score is taken for a log-likelihood ratio",
        "the same at the Bayes threshold, -0.642",
        "ASVspoof 5 plan",
        lambda basis: act_dcf(basis.rates, basis.costs),
    ),
    "cllr": Metric(
        "Cllr",
        False,
        "cost of the score taken for a log-likelihood ratio, in bits; 1 = knows nothing",
        "",
        "Brümmer & du Preez 2006",
        lambda basis: basis.cllr,
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
        lambda basis: min_tdcf_2019(basis.rates, basis.asv, basis.tdcf_costs) if basis.asv else None,
    ),
    "min_tdcf_2021": Metric(
        "min t-DCF 2021",
        False,
        "tandem cost, ASVspoof 2021's form",
        f"{_TDCF_OPTIONS}; a 2021 file needs `--asv-key trial_metadata.txt`, too",
        "Kinnunen et al. 2020",
        lambda basis: min_tdcf_2021(basis.rates, basis.asv, basis.tdcf_costs) if basis.asv else None,
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
