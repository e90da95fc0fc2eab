"""Breaking figures down: per attack, codec, TTS system, language, or any column of the protocol."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfeval.errors import EvalError
from dfeval.formats import NOT_APPLICABLE
from dfeval.trials import Trials

EMPTY = "(empty)"
SMALL = 30  # trials of a class below which a rate says little: one trial moves it by more than 3 %


@dataclass(frozen=True)
class Group:
    """The trials to compare for one value of a column.

    Attributes:
        column, name: the column and its value.
        rows: of the trials' table, borrowed ones included.
        n_bonafide, n_spoof: trials that have the value.
        borrowed: the class that no trial with the value has, in words, so that all trials of that class are taken: an
            attack, which has no bona fide trials, is set against all of them (ASVspoof's convention). None where both
            classes are there.
    """

    column: str
    name: str
    rows: NDArray[np.int64]
    n_bonafide: int
    n_spoof: int
    borrowed: str | None

    @property
    def against(self) -> str:
        """What the group is compared with, in words."""
        return f"all {self.borrowed}" if self.borrowed else "its own"

    @property
    def is_small(self) -> bool:
        """True when a class of its own has so few trials that the figures say little."""
        return any(0 < count < SMALL for count in (self.n_bonafide, self.n_spoof))


def split(trials: Trials, column: str) -> Iterator[Group]:
    """One group for each value of the column, in order of the values.

    Raises:
        EvalError: the protocol has no such column.
    """
    if column not in trials.table.columns:
        known = [name for name in trials.table.columns if name not in ("utt_id", "score", "label")]
        raise EvalError(f"the protocol has no column {column!r}; it has {', '.join(known) or 'none but the label'}")
    is_bonafide = trials.is_bonafide
    everyone = {True: np.flatnonzero(is_bonafide), False: np.flatnonzero(~is_bonafide)}
    values = trials.table.groupby(column, observed=True).indices
    for name in sorted(values, key=str):
        own = np.asarray(values[name], dtype=np.int64)
        n_bonafide = int(is_bonafide[own].sum())
        n_spoof = len(own) - n_bonafide
        if not n_spoof and str(name).lower() in NOT_APPLICABLE:
            continue  # no attack, no TTS system: the bona fide trials, which all groups are set against
        if n_bonafide and n_spoof:
            yield Group(column, str(name) or EMPTY, own, n_bonafide, n_spoof, None)
            continue
        lacks_bonafide = n_bonafide == 0
        rows = np.sort(np.concatenate((own, everyone[lacks_bonafide])))
        yield Group(column, str(name) or EMPTY, rows, n_bonafide, n_spoof, "bona fide" if lacks_bonafide else "spoof")
