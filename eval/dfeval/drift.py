"""A threshold set in one condition and kept in the others, and how far their scores move: `report --transfer clean`."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.errors import EvalError
from dfeval.evaluation import Settings, evaluate
from dfeval.formats import BONAFIDE, SPOOF
from dfeval.groups import Group, split
from dfeval.metrics.eer import Floats
from dfeval.transfer import EER_RULE, Source, Transfer, transfer
from dfeval.trials import Trials

PAIR_COLUMN = "original"  # of a protocol of `dfeval degrade`: whose copy a trial is
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Drift:
    """How far the scores of one class moved from the reference condition's: quantiles 5, 50 and 95 % of the change.

    Of ``n_pairs`` recordings that both conditions have; with 0 the conditions have none in common, so that the median
    is the difference of both conditions' medians, and there are no other quantiles.
    """

    n_pairs: int
    low: float | None
    median: float
    high: float | None


@dataclass(frozen=True)
class ConditionFigures:
    """One condition: what the reference's threshold does there, and the drift of each class that it has."""

    transfer: Transfer
    drift: Mapping[str, Drift]


@dataclass(frozen=True)
class ConditionTransfer:
    """A threshold set in the condition ``reference`` of a protocol's ``column``, and what it does in each of them.

    The reference itself is the first of ``conditions``.
    """

    column: str
    reference: str
    source: Source
    conditions: Mapping[str, ConditionFigures]

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        source = {"threshold": self.source.threshold, "rule": self.source.rule, "eer": self.source.eer}
        conditions = {
            name: one.transfer.as_dict() | {"drift": {label: dataclasses.asdict(d) for label, d in one.drift.items()}}
            for name, one in self.conditions.items()
        }
        return {"column": self.column, "reference": self.reference, "source": source, "conditions": conditions}


def source_within(trials: Trials, column: str, reference: str) -> Source:
    """The threshold of the equal error rate among the trials of one condition.

    Raises:
        EvalError: no such column or condition, or one that lacks a class.
    """
    group = _reference(list(split(trials, column)), column, reference)
    rates = evaluate(_part(trials, group), Settings(by=(), n_replicates=0)).rates
    where = f"{column} {reference} of {trials.protocol.description}"
    return Source(rates.decision_at_eer, f"{EER_RULE} of {column} {reference}", where, rates.eer.value)


def transfer_within(
    trials: Trials, column: str, reference: str, source: Source, settings: Settings | None = None
) -> ConditionTransfer:
    """What the threshold of one condition does in each, and how far the scores of each have moved.

    Args:
        trials: of all conditions.
        column: of the protocol.
        reference: its value of the condition that the threshold was set in.
        source: of `source_within`.
        settings: costs and bootstrap.
    """
    groups = list(split(trials, column))
    first = _reference(groups, column, reference)
    ordered = [first, *(group for group in groups if group is not first)]
    figures = {
        group.name: ConditionFigures(
            transfer(source, _part(trials, group), settings, group.name), dict(_drift(trials, first, group))
        )
        for group in ordered
    }
    return ConditionTransfer(column, reference, source, figures)


def _reference(groups: Sequence[Group], column: str, reference: str) -> Group:
    found = next((group for group in groups if group.name == reference), None)
    if found is None:
        names = ", ".join(group.name for group in groups)
        raise EvalError(f"--transfer {reference}: no scored trial has the {column} {reference!r}; there are {names}")
    if found.borrowed:
        raise EvalError(f"--transfer {reference}: to set a threshold there, it needs {found.borrowed} trials too")
    return found


def _part(trials: Trials, group: Group) -> Trials:
    return dataclasses.replace(trials, table=trials.table.iloc[group.rows].reset_index(drop=True))


def _drift(trials: Trials, reference: Group, group: Group) -> Iterator[tuple[str, Drift]]:
    before, after = (trials.table.iloc[_own(trials, one)] for one in (reference, group))
    for label in (BONAFIDE, SPOOF):
        old, new = (table[table["label"] == label] for table in (before, after))
        if len(old) and len(new):
            yield label, _drift_of(old, new)


def _own(trials: Trials, group: Group) -> NDArray[np.int64]:
    """Without the trials that a group has borrowed."""
    if not group.borrowed:
        return group.rows
    is_bonafide = trials.is_bonafide[group.rows]
    return group.rows[~is_bonafide if group.borrowed == "bona fide" else is_bonafide]


def _drift_of(old: pd.DataFrame, new: pd.DataFrame) -> Drift:
    if PAIR_COLUMN in old.columns:
        pairs = _by_original(old).to_frame("old").join(_by_original(new).rename("new"), how="inner")
        if len(pairs):
            moved: Floats = (pairs["new"] - pairs["old"]).to_numpy(dtype=np.float64)
            low, median, high = np.quantile(moved, QUANTILES).tolist()
            return Drift(len(pairs), low, median, high)
    return Drift(0, None, float(new["score"].median() - old["score"].median()), None)


def _by_original(table: pd.DataFrame) -> "pd.Series[Any]":
    return table.drop_duplicates(PAIR_COLUMN).set_index(PAIR_COLUMN)["score"]
