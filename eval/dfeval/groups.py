"""Breaking figures down: per attack, codec, TTS system, language, or any column of the protocol."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.errors import EvalError
from dfeval.formats import NOT_APPLICABLE
from dfeval.trials import Trials

EMPTY = "(empty)"
MAX_NUMBERS = 20  # values of a column of numbers that are groups of their own; beyond, they are binned
MAX_VALUES = 1_000
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


def split(trials: Trials, by: str) -> Iterator[Group]:
    """One group for each value of a column, in order of the values.

    Args:
        trials: the trials.
        by: a column of the protocol. A column of numbers with many values is cut at its quartiles over the protocol, so
            that the groups are the same for each detector; or at edges of one's own, as in ``duration_s:2,4,8``.

    Raises:
        EvalError: the protocol has no such column; edges that can't be used; more values than anybody can read.
    """
    column, edges = _column_and_edges(by, trials.table)
    is_bonafide = trials.is_bonafide
    everyone = {True: np.flatnonzero(is_bonafide), False: np.flatnonzero(~is_bonafide)}
    for name, own in _values(trials, column, edges):
        n_bonafide = int(is_bonafide[own].sum())
        n_spoof = len(own) - n_bonafide
        if not n_spoof and name.lower() in NOT_APPLICABLE:
            continue  # no attack, no TTS system: the bona fide trials, which all groups are set against
        if n_bonafide and n_spoof:
            yield Group(column, name or EMPTY, own, n_bonafide, n_spoof, None)
            continue
        lacks_bonafide = n_bonafide == 0
        rows = np.sort(np.concatenate((own, everyone[lacks_bonafide])))
        yield Group(column, name or EMPTY, rows, n_bonafide, n_spoof, "bona fide" if lacks_bonafide else "spoof")


def _column_and_edges(by: str, table: pd.DataFrame) -> tuple[str, list[float]]:
    column, colon, words = (by, "", "") if by in table.columns else by.rpartition(":")
    if (column or by) not in table.columns:
        known = [name for name in table.columns if name not in ("utt_id", "score", "label")]
        raise EvalError(
            f"the protocol has no column {column or by!r}; it has {', '.join(known) or 'none but the label'}"
        )
    try:
        edges = [float(word) for word in words.split(",")] if colon else []
    except ValueError:
        edges = [math.nan]
    if not all(map(math.isfinite, edges)) or any(low >= high for low, high in pairwise(edges)):
        raise EvalError(f"--by {by}: expected numbers that grow after the colon, as in {column}:2,4,8, found {words!r}")
    return column, edges


def _values(trials: Trials, column: str, edges: list[float]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Each value's name and the rows of the trials that have it."""
    indices = trials.table.groupby(column, observed=True).indices
    places = {str(name): np.asarray(rows, dtype=np.int64) for name, rows in indices.items()}
    numbers = {name: _number(name) for name in places if name.lower() not in NOT_APPLICABLE}
    is_numeric = all(number is not None for number in numbers.values())
    if edges and not is_numeric:
        stray = next(name for name, number in numbers.items() if number is None)
        raise EvalError(f"--by {column}: expected numbers in that column, to cut at {edges}, found {stray!r}")
    if is_numeric and (edges or len(numbers) > MAX_NUMBERS):
        edges = edges or _quartiles(trials.protocol.table[column])
        yield from _binned(places, numbers, edges)
        return
    if len(places) > MAX_VALUES:
        raise EvalError(
            f"--by {column}: it has {len(places):,} values, more than the {MAX_VALUES:,} that are broken down"
        )
    for name in sorted(places, key=lambda name: (numbers.get(name) or 0.0, name) if is_numeric else (0.0, name)):
        yield name, places[name]


def _binned(
    places: dict[str, NDArray[np.int64]], numbers: dict[str, float | None], edges: list[float]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    texts = [format(edge, ".6g") for edge in edges]
    names = [f"below {texts[0]}", *(f"{low} to {high}" for low, high in pairwise(texts)), f"{texts[-1]} and more"]
    members: list[list[NDArray[np.int64]]] = [[] for _ in names]
    for name, number in numbers.items():
        members[bisect_right(edges, number or 0.0)].append(places[name])
    for name, rows in zip(names, members, strict=True):
        if rows:
            yield name, np.sort(np.concatenate(rows))
    for name in places.keys() - numbers.keys():
        yield name, places[name]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _quartiles(column: "pd.Series[Any]") -> list[float]:
    numbers = pd.to_numeric(column.astype(str), errors="coerce").dropna()
    return [float(edge) for edge in np.unique(np.quantile(numbers, (0.25, 0.5, 0.75)))]
