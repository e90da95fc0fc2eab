"""All figures of one detector on one data set: pooled, with intervals, and by group."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfeval.errors import EvalError, OneClassError
from dfeval.figures import Basis, figures_of, intervals_of
from dfeval.groups import Group, split
from dfeval.metrics.bootstrap import Replicates, bootstrap, drawable
from dfeval.metrics.confusion import Confusion, confusion
from dfeval.metrics.convex_hull import Hull, convex_hull
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.eer import ErrorRates, error_rates
from dfeval.metrics.intervals import MIN_SPEAKERS, MIN_TRIALS, Interval
from dfeval.metrics.tdcf import AsvRates, TdcfCosts
from dfeval.provenance import describe
from dfeval.trials import Trials

MANY_GROUPS = 100  # values of a column beyond which it is an identifier rather than a condition


@dataclass(frozen=True)
class Settings:
    """What can be chosen: costs, columns, the decision threshold (default: the EER's), bootstrap, ASV rates.

    ``threshold_rule`` says in words how a given threshold was set.
    """

    by: Sequence[str] | None = None
    threshold: float | None = None
    threshold_rule: str = "as given"
    costs: DcfCosts = field(default_factory=DcfCosts)
    asv: AsvRates | None = None
    tdcf_costs: TdcfCosts = field(default_factory=TdcfCosts)
    n_replicates: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class GroupFigures:
    """Figures of one group (keys of METRICS, no t-DCF) and both its error rates at the threshold used for all.

    ``interval`` is that of the EER. The t-DCF of a group would need the verifier's rates for that group.
    """

    group: Group
    figures: Mapping[str, float]
    interval: Interval | None
    frr_at_threshold: float
    far_at_threshold: float

    @property
    def eer(self) -> float:
        """The group's equal error rate."""
        return self.figures["eer"]


@dataclass(frozen=True)
class Evaluation:
    """All figures of one detector on one data set; ``intervals`` are those of the pooled figures that have one."""

    trials: Trials
    settings: Settings
    rates: ErrorRates
    hull: Hull
    pooled: Mapping[str, float]
    thresholds: Mapping[str, float]
    confusion: Confusion
    replicates: Replicates | None
    intervals: Mapping[str, Interval]
    groups: Sequence[GroupFigures]
    notes: Sequence[str]

    @property
    def threshold_source(self) -> str:
        """Where the decision threshold comes from, in words."""
        if self.settings.threshold is not None:
            return self.settings.threshold_rule
        return "at this data's own EER, hence optimistic"

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it, and what it was made from; NaN and infinite figures are null."""
        trials, matching = self.trials, self.trials.matching
        figures: dict[str, Any] = _plain(
            {
                "detector": trials.detector,
                "weights": trials.source.weights,
                "checkpoint_sha256": trials.source.checkpoint_sha256,
                "scores": trials.source.name,
                "windows": trials.source.mode,
                "protocol": trials.protocol.description,
                "phase": trials.protocol.phase,
                "matching": dataclasses.asdict(matching),
                "notes": list(self.notes),
                "n_bonafide": self.rates.n_bonafide,
                "n_spoof": self.rates.n_spoof,
                "pooled": dict(self.pooled),
                "thresholds": dict(self.thresholds),
                "intervals": {name: dataclasses.asdict(interval) for name, interval in self.intervals.items()},
                "costs": dataclasses.asdict(self.settings.costs),
                "asv": dataclasses.asdict(self.settings.asv) if self.settings.asv else None,
                "decisions": _decisions(self.confusion) | {"threshold_source": self.threshold_source},
                "groups": [_group_as_dict(figures) for figures in self.groups],
                "provenance": describe(trials, self.settings),
            }
        )
        return figures


def evaluate(trials: Trials, settings: Settings | None = None) -> Evaluation:
    """Compute every figure that the trials allow.

    Raises:
        OneClassError: the scored trials are all bona fide or all spoof.
        EvalError: no trial has a score, an unknown column, or a t-DCF that the given ASV rates leave undefined.
    """
    chosen = settings or Settings()
    rates = _rates(trials)
    hull = convex_hull(rates)
    basis = Basis(rates, hull, chosen.costs, chosen.asv, chosen.tdcf_costs)
    pooled, thresholds = figures_of(basis)
    threshold = rates.decision_at_eer if chosen.threshold is None else chosen.threshold
    speakers = _speakers_in_order(trials)
    replicates = bootstrap(rates, speakers, chosen.n_replicates, chosen.seed) if chosen.n_replicates else None
    columns, notes = _columns(trials, chosen.by)
    return Evaluation(
        trials=trials,
        settings=chosen,
        rates=rates,
        hull=hull,
        pooled=pooled,
        thresholds=thresholds,
        confusion=confusion(rates, threshold),
        replicates=replicates,
        intervals=intervals_of(pooled, basis, replicates, speakers) if replicates else {},
        groups=[_group(trials, group, threshold, chosen) for column in columns for group in split(trials, column)],
        notes=[*trials.notes(), *notes, *_cautions(rates), *_cautions_of_intervals(rates, trials, speakers)],
    )


def columns_of(evaluations: Sequence[Evaluation]) -> list[str]:
    """The columns that figures are broken down by, in order."""
    return list(dict.fromkeys(figures.group.column for evaluation in evaluations for figures in evaluation.groups))


def _rates(trials: Trials) -> ErrorRates:
    bonafide, spoof = trials.bonafide, trials.spoof
    matching, name, protocol = trials.matching, trials.source.name, trials.protocol.description
    if not matching.n_matched:
        found = f"{matching.n_not_finite:,} NaN or infinite" if matching.n_not_finite else "none that matches"
        raise EvalError(
            f"{name}: expected scores of the {matching.n_trials:,} trials of {protocol}, found {found} among "
            f"{matching.n_score_rows:,} rows" + "".join(f"; {note}" for note in trials.notes()[1:])
        )
    if not bonafide.size or not spoof.size:
        where = f"an EER among the {matching.n_matched:,} scored trials of {protocol}"
        raise OneClassError(bonafide.size, spoof.size, where, trials.notes())
    return error_rates(bonafide, spoof)


def _speakers_in_order(trials: Trials, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64] | None:
    """Each trial's speaker in the order of ``ErrorRates.is_bonafide``, or None where speakers can't be drawn."""
    chosen = np.arange(len(trials.table)) if rows is None else rows
    is_bonafide = trials.is_bonafide[chosen]
    known = trials.speakers
    speakers = None if known is None else drawable(known[chosen], is_bonafide)
    return None if speakers is None else speakers[np.lexsort((~is_bonafide, trials.scores[chosen]))]


def _columns(trials: Trials, by: Sequence[str] | None) -> tuple[Sequence[str], list[str]]:
    """The columns to break down by; a column nobody asked for is passed over when it has too many values."""
    if by is not None:
        return by, []
    columns = trials.protocol.groups
    crowded = [name for name in columns if trials.table[name].nunique() > MANY_GROUPS]
    notes = [f"the column {name} has over {MANY_GROUPS} values; break it down with --by {name}" for name in crowded]
    return [name for name in columns if name not in crowded], notes


def _group(trials: Trials, group: Group, threshold: float, settings: Settings) -> GroupFigures:
    is_bonafide, scores = trials.is_bonafide[group.rows], trials.scores[group.rows]
    rates = error_rates(scores[is_bonafide], scores[~is_bonafide])
    basis = Basis(rates, convex_hull(rates), settings.costs, None)
    figures, intervals = figures_of(basis)[0], {}
    if settings.n_replicates:
        speakers = _speakers_in_order(trials, group.rows)
        replicates = bootstrap(rates, speakers, settings.n_replicates, settings.seed)
        intervals = intervals_of({"eer": figures["eer"]}, basis, replicates, speakers)
    frr, far = rates.at(threshold)
    return GroupFigures(
        group=group,
        figures=figures,
        interval=intervals.get("eer"),
        frr_at_threshold=frr if group.n_bonafide else math.nan,
        far_at_threshold=far if group.n_spoof else math.nan,
    )


def _cautions(rates: ErrorRates) -> list[str]:
    cautions = []
    if rates.eer.value > 0.5 and rates.auc < 0.5:  # ties alone can bring the EER there
        cautions.append("the EER is above 50 %: bona fide scores lie below spoof scores; is the polarity right?")
    if not rates.has_threshold_at_eer:
        at, above = rates.at(rates.eer.threshold), rates.at(np.nextafter(rates.eer.threshold, np.inf))
        tied = int((rates.scores == rates.eer.threshold).sum())
        cautions.append(
            f"no threshold reaches the EER of {rates.eer.value:.2%}: {tied:,} trials share the score "
            f"{rates.eer.threshold:.6g}; accepting them gives FRR {at[0]:.2%} and FAR {at[1]:.2%}, rejecting them "
            f"FRR {above[0]:.2%} and FAR {above[1]:.2%}"
        )
    return cautions


def _cautions_of_intervals(rates: ErrorRates, trials: Trials, speakers: NDArray[np.int64] | None) -> list[str]:
    rarer = min(rates.n_bonafide, rates.n_spoof)
    few = f"only {rarer} {'trial' if rarer == 1 else 'trials'} of the rarer class"
    if rarer < MIN_TRIALS:
        return [f"{few}: under {MIN_TRIALS} there is no interval worth its name"]
    cautions = [f"{few}: mind the intervals"] if rarer < 100 else []
    if speakers is None and trials.speakers is not None:
        cautions.append(
            f"a class has under {MIN_SPEAKERS} speakers: intervals draw single trials, and are too narrow where trials "
            "of one speaker resemble each other"
        )
    return cautions


def _decisions(table: Confusion) -> dict[str, Any]:
    ratios = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "f1_bonafide")
    return dataclasses.asdict(table) | {name: getattr(table, name) for name in ratios} | {"positive_class": "spoof"}


def _group_as_dict(figures: GroupFigures) -> dict[str, Any]:
    group = figures.group
    return {
        "column": group.column,
        "name": group.name,
        "n_bonafide": group.n_bonafide,
        "n_spoof": group.n_spoof,
        "against": group.against,
        "is_small": group.is_small,
        **figures.figures,
        "interval": dataclasses.asdict(figures.interval) if figures.interval else None,
        "frr_at_threshold": figures.frr_at_threshold,
        "far_at_threshold": figures.far_at_threshold,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
