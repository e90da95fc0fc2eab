"""A threshold, or a calibration, set on one data set and judged on another: what whoever deploys a detector lives with.

The EER is found with the labels of the very set that it describes. A deployed detector has a threshold from elsewhere,
so its error rates here are what counts, beside the EER that the best threshold would give.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfcontract.calibration import Calibration
from dfeval.calibrate import Target, check_suits, fit
from dfeval.errors import CalibrationError
from dfeval.evaluation import Settings, evaluate
from dfeval.groups import split
from dfeval.metrics.bootstrap import drawable
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.eer import Floats
from dfeval.metrics.intervals import (
    MIN_TRIALS,
    Interval,
    Units,
    cost_interval,
    rate_interval,
    units_of,
    variance_of_means,
)
from dfeval.trials import Trials

EER_RULE = "equal error rate"


@dataclass(frozen=True)
class Source:
    """Where a threshold comes from.

    Attributes:
        threshold: a score at or above it is called bona fide.
        rule: how it was set, in words.
        data: what it was set on, in words; empty where nobody says.
        eer: the EER there; None where nobody says.
        calibration: from scores to log-likelihood ratios, fitted there; None where there is none.
        notes: why there is none, say.
    """

    threshold: float
    rule: str
    data: str = ""
    eer: float | None = None
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """Figures of a source's threshold on other trials (keys of `TITLES`), and their intervals."""

    name: str
    n_bonafide: int
    n_spoof: int
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]
    own_threshold: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return dataclasses.asdict(self)


TITLES: Mapping[str, str] = {
    "frr": "bona fide rejected",
    "far": "spoof accepted",
    "hter": "HTER",
    "balanced_accuracy": "balanced accuracy",
    "eer": "EER at its own threshold",
    "act_dcf": "actual DCF",
    "cllr": "Cllr",
}
RATES = ("frr", "far", "hter", "balanced_accuracy", "eer")


def source_of_trials(trials: Trials, target: Target | None = None) -> Source:
    """A threshold set on labelled trials, and a calibration fitted on them.

    Args:
        trials: of the data set that the threshold comes from.
        target: which rate it is for; without, it is the one of the equal error rate.

    Raises:
        CalibrationError: random weights.
        OneClassError: a class is absent.
    """
    rates = evaluate(trials, Settings(by=(), n_replicates=0)).rates
    calibration, notes = None, []
    try:
        calibration = fit(trials, target=target)
    except CalibrationError as error:
        if trials.source.is_random:
            raise
        notes.append(f"no calibration, hence no Cllr and no actual DCF: {error}")
    if target is None:
        threshold, rule = rates.decision_at_eer, EER_RULE
    else:
        calibration = calibration or fit(trials, "isotonic", target)
        threshold, rule = calibration.threshold.score, calibration.threshold.rule
    data = f"{trials.source.name} on {trials.protocol.description}"
    return Source(threshold, rule, data, rates.eer.value, calibration, tuple(notes))


def source_of_calibration(calibration: Calibration) -> Source:
    """A calibration's own threshold."""
    threshold = calibration.threshold
    return Source(threshold.score, threshold.rule, str(calibration.fitted_on["protocol"]), None, calibration)


def transfer(source: Source, trials: Trials, settings: Settings | None = None, name: str = "") -> Transfer:
    """What a source's threshold does on other trials.

    Args:
        source: of the threshold.
        trials: of another data set, scored by the same detector.
        settings: costs and bootstrap.
        name: of the trials; without, their protocol's.

    Raises:
        CalibrationError: the calibration is not for this detector or these windows.
        OneClassError: a class is absent.
    """
    chosen = settings or Settings()
    if source.calibration is not None:
        check_suits(source.calibration, trials.source)
    evaluation = evaluate(trials, dataclasses.replace(chosen, by=(), threshold=source.threshold, asv=None))
    is_bonafide, scores = trials.is_bonafide, trials.scores
    speakers = None if trials.speakers is None else drawable(trials.speakers, is_bonafide)
    figures, intervals = _error_rates(scores, is_bonafide, speakers, source.threshold)
    figures["eer"] = evaluation.rates.eer.value
    if "eer" in evaluation.intervals:
        intervals["eer"] = evaluation.intervals["eer"]
    if source.calibration is not None:
        llrs = source.calibration.llr(scores)
        for key, losses in _losses(llrs, is_bonafide, chosen.costs).items():
            figures[key] = float(losses[is_bonafide].mean() + losses[~is_bonafide].mean())
            variance = variance_of_means(losses, is_bonafide, speakers)
            intervals[key] = cost_interval(figures[key], variance, units_of(is_bonafide, speakers))
    enough = chosen.n_replicates and min(is_bonafide.sum(), (~is_bonafide).sum()) >= MIN_TRIALS
    return Transfer(
        name=name or trials.protocol.description,
        n_bonafide=int(is_bonafide.sum()),
        n_spoof=int((~is_bonafide).sum()),
        figures={key: figures[key] for key in TITLES if key in figures},
        intervals={key: interval for key, interval in intervals.items() if interval is not None} if enough else {},
        own_threshold=evaluation.rates.decision_at_eer,
        notes=tuple(evaluation.notes),
    )


def transfer_by(source: Source, trials: Trials, column: str, settings: Settings | None = None) -> Iterator[Transfer]:
    """The same for each value of a protocol's column, a value without trials of a class against all of that class."""
    for group in split(trials, column):
        rows = dataclasses.replace(trials, table=trials.table.iloc[group.rows].reset_index(drop=True))
        against = f" (against {group.against})" if group.borrowed else ""
        yield transfer(source, rows, settings, f"{column} {group.name}{against}")


def _error_rates(
    scores: Floats, is_bonafide: NDArray[np.bool_], speakers: NDArray[np.int64] | None, threshold: float
) -> tuple[dict[str, float], dict[str, Interval | None]]:
    is_wrong = (scores >= threshold) != is_bonafide
    rejected, accepted = is_wrong & is_bonafide, is_wrong & ~is_bonafide
    frr, far = float(rejected.sum() / is_bonafide.sum()), float(accepted.sum() / (~is_bonafide).sum())
    units = units_of(is_bonafide, speakers)
    figures = {"frr": frr, "far": far, "hter": (frr + far) / 2, "balanced_accuracy": 1 - (frr + far) / 2}
    losses = {"frr": rejected, "far": accepted, "hter": is_wrong / 2, "balanced_accuracy": is_wrong / 2}
    of_class = {"frr": is_bonafide, "far": ~is_bonafide}
    intervals = {}
    for name, value in figures.items():
        variance = variance_of_means(losses[name].astype(np.float64), is_bonafide, speakers)
        intervals[name] = rate_interval(value, variance, _units_of_class(units, of_class.get(name), speakers))
    return figures, intervals


def _units_of_class(units: Units, mask: NDArray[np.bool_] | None, speakers: NDArray[np.int64] | None) -> Units:
    """Of a rate of one class, those that have trials of it."""
    if mask is None:
        return units
    n_units = int(mask.sum()) if speakers is None else int(np.unique(speakers[mask]).size)
    return Units(units.unit, n_units, n_units)


def _losses(llrs: Floats, is_bonafide: NDArray[np.bool_], costs: DcfCosts) -> dict[str, Floats]:
    is_wrong = (llrs >= costs.bayes_threshold) != is_bonafide
    weights = np.where(is_bonafide, costs.weight_frr, costs.weight_far) / costs.normaliser
    surprise = np.logaddexp(0, np.where(is_bonafide, -llrs, llrs))
    return {"act_dcf": np.asarray(is_wrong * weights), "cllr": np.asarray(surprise / (2 * math.log(2)))}
