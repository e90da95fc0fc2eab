"""A threshold, or a calibration, set on one data set and judged on another: what whoever deploys a detector lives with.

The EER is found with the labels of the very set that it describes. A deployed detector has a threshold from elsewhere,
so its error rates here are what counts, beside the EER that the best threshold would give.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfcontract.calibration import Calibration
from dfeval.calibrate import Target, check_suits, fit, note_on_detector
from dfeval.errors import CalibrationError
from dfeval.evaluation import Settings, evaluate
from dfeval.figures import Basis, intervals_of
from dfeval.groups import split
from dfeval.metrics.bootstrap import drawable
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import act_dcf
from dfeval.metrics.eer import error_rates
from dfeval.metrics.intervals import MIN_TRIALS, Interval, Units, rate_interval, units_of, variance_of_means
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
        detector: whose scores it was set on; empty where nobody says.
        checkpoint_sha256: of its weights; None where nobody says.
    """

    threshold: float
    rule: str
    data: str = ""
    eer: float | None = None
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
    detector: str = ""
    checkpoint_sha256: str | None = None


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
    detector = trials.detector if "model" in trials.source.run else ""
    checkpoint = trials.source.checkpoint_sha256
    return Source(threshold, rule, data, rates.eer.value, calibration, tuple(notes), detector, checkpoint)


def source_of_calibration(calibration: Calibration) -> Source:
    """A calibration's own threshold."""
    threshold = calibration.threshold
    return Source(
        threshold.score,
        threshold.rule,
        str(calibration.fitted_on["protocol"]),
        calibration=calibration,
        detector=calibration.detector,
        checkpoint_sha256=calibration.checkpoint_sha256,
    )


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
    caution = note_on_detector(source.detector, source.checkpoint_sha256, trials.source)
    evaluation = evaluate(trials, dataclasses.replace(chosen, by=(), threshold=source.threshold, asv=None))
    is_bonafide, scores = trials.is_bonafide, trials.scores
    speakers = None if trials.speakers is None else drawable(trials.speakers, is_bonafide)
    has_intervals = bool(chosen.n_replicates) and min(is_bonafide.sum(), (~is_bonafide).sum()) >= MIN_TRIALS
    is_wrong = (scores >= source.threshold) != is_bonafide
    figures = _error_rates(is_wrong, is_bonafide) | {"eer": evaluation.rates.eer.value}
    intervals = _intervals_of_rates(figures, is_wrong, is_bonafide, speakers) if has_intervals else {}
    if "eer" in evaluation.intervals:
        intervals["eer"] = evaluation.intervals["eer"]
    if source.calibration is not None:
        llrs = source.calibration.llr(scores)
        rates = error_rates(llrs[is_bonafide], llrs[~is_bonafide])
        basis = Basis(rates, convex_hull(rates), chosen.costs, None)
        of_llrs = {"act_dcf": act_dcf(rates, chosen.costs).value, "cllr": basis.cllr}
        figures |= of_llrs
        if has_intervals:
            in_order = None if speakers is None else speakers[np.lexsort((~is_bonafide, llrs))]
            intervals |= intervals_of(of_llrs, basis, None, in_order)
    return Transfer(
        name=name or trials.protocol.description,
        n_bonafide=int(is_bonafide.sum()),
        n_spoof=int((~is_bonafide).sum()),
        figures={key: figures[key] for key in TITLES if key in figures},
        intervals=intervals,
        own_threshold=evaluation.rates.decision_at_eer,
        notes=(*filter(None, [caution]), *evaluation.notes),
    )


def transfer_by(source: Source, trials: Trials, column: str, settings: Settings | None = None) -> Iterator[Transfer]:
    """The same for each value of a protocol's column, a value without trials of a class against all of that class."""
    for group in split(trials, column):
        rows = dataclasses.replace(trials, table=trials.table.iloc[group.rows].reset_index(drop=True))
        against = f" (against {group.against})" if group.borrowed else ""
        yield transfer(source, rows, settings, f"{column} {group.name}{against}")


def _error_rates(is_wrong: NDArray[np.bool_], is_bonafide: NDArray[np.bool_]) -> dict[str, float]:
    frr, far = float(is_wrong[is_bonafide].mean()), float(is_wrong[~is_bonafide].mean())
    return {"frr": frr, "far": far, "hter": (frr + far) / 2, "balanced_accuracy": 1 - (frr + far) / 2}


def _intervals_of_rates(
    figures: Mapping[str, float],
    is_wrong: NDArray[np.bool_],
    is_bonafide: NDArray[np.bool_],
    speakers: NDArray[np.int64] | None,
) -> dict[str, Interval]:
    units = units_of(is_bonafide, speakers)
    halved = is_wrong / 2
    losses = {
        "frr": is_wrong * is_bonafide,
        "far": is_wrong * ~is_bonafide,
        "hter": halved,
        "balanced_accuracy": halved,
    }
    of_class = {"frr": is_bonafide, "far": ~is_bonafide}
    intervals = {}
    for name, loss in losses.items():
        variance = variance_of_means(loss.astype(np.float64), is_bonafide, speakers)
        intervals[name] = rate_interval(figures[name], variance, _units_of_class(units, of_class.get(name), speakers))
    return intervals


def _units_of_class(units: Units, mask: NDArray[np.bool_] | None, speakers: NDArray[np.int64] | None) -> Units:
    """Of a rate of one class, those that have trials of it."""
    if mask is None:
        return units
    n_units = int(mask.sum()) if speakers is None else int(np.unique(speakers[mask]).size)
    return Units(units.unit, n_units, n_units, n_units - 1)
