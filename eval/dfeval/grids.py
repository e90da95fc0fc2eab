"""Tables of one figure: detectors by data sets, attacks by codecs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.data_sets import Table
from dfeval.errors import EvalError
from dfeval.evaluation import Settings
from dfeval.figures import METRICS, Basis, figures_of, intervals_of
from dfeval.formats import NOT_APPLICABLE
from dfeval.metrics.bootstrap import bootstrap, drawable
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.eer import Floats, error_rates
from dfeval.metrics.intervals import Interval
from dfeval.transfer import RATES, TITLES, source_of_trials, transfer
from dfeval.trials import Trials

AVERAGE, POOLED, ALL = "average", "pooled", "all"
MAX_CELLS = 2_000
MORE_IS_BETTER = ("auc", "balanced_accuracy")
TRANSFERRED = ("frr", "far", "hter")


@dataclass(frozen=True)
class Figure:
    """One cell: a figure and its interval, and how many trials are behind it (0 where it is a mean of figures)."""

    value: float
    interval: Interval | None = None
    n_bonafide: int = 0
    n_spoof: int = 0


@dataclass(frozen=True)
class Grid:
    """One figure of many things.

    Attributes:
        title: what the figure is, in words.
        metric: its name in METRICS or in `transfer.TITLES`.
        corner: what the rows are.
        rows, columns: their names.
        cells: by row and column; absent where there is nothing to compute from.
        marks_best: whether the best of each column is set apart.
    """

    title: str
    metric: str
    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[str, str], Figure]
    marks_best: bool = True

    @property
    def is_rate(self) -> bool:
        """Whether the figure is written as a percentage."""
        return METRICS[self.metric].is_rate if self.metric in METRICS else self.metric in RATES

    def is_best(self, row: str, column: str) -> bool:
        """Whether a cell has the best value of its column, among two or more."""
        values = [self.cells[name, column].value for name in self.rows if (name, column) in self.cells]
        if not self.marks_best or len(values) < 2:
            return False
        best = max(values) if self.metric in MORE_IS_BETTER else min(values)
        return self.cells[row, column].value == best


def of_data_sets(names: Sequence[str], table: Table, metric: str, settings: Settings) -> Grid:
    """A figure of each detector on each data set, their average, and the figure of all trials pooled.

    The last two need a detector's scores of every set. Pooled, one threshold serves all sets: a detector whose scores
    mean something else on another set loses there.

    Raises:
        EvalError: a figure that is not known, or that these settings do not allow.
        OneClassError: a set whose scored trials are of one class.
    """
    cells: dict[tuple[str, str], Figure] = {}
    for detector, by_set in table.items():
        for name, trials in by_set.items():
            cells[detector, name] = figure_of(trials.scores, trials.is_bonafide, trials.speakers, metric, settings)
        if len(by_set) == len(names) > 1:
            cells[detector, AVERAGE] = Figure(float(np.mean([cells[detector, name].value for name in names])))
            cells[detector, POOLED] = _pooled(list(by_set.values()), metric, settings)
    columns = [*names, AVERAGE, POOLED] if len(names) > 1 else list(names)
    return Grid(METRICS[metric].title, metric, "detector", list(table), columns, cells)


def of_transfers(names: Sequence[str], table: Table, origin: str, metric: str, settings: Settings) -> Grid:
    """An error rate (a name of TRANSFERRED) of each detector on each set, at its own EER's threshold on one of them."""
    if origin not in names:
        raise EvalError(f"there is no data set {origin!r} to set thresholds on; found {', '.join(names)}")
    cells: dict[tuple[str, str], Figure] = {}
    for detector, by_set in table.items():
        if origin not in by_set:
            continue
        source = source_of_trials(by_set[origin])
        for name, trials in by_set.items():
            found = transfer(source, trials, settings)
            interval = found.intervals.get(metric)
            cells[detector, name] = Figure(found.figures[metric], interval, found.n_bonafide, found.n_spoof)
    title = f"{TITLES[metric]}, threshold set on {origin}"
    return Grid(title, metric, "detector", [d for d in table if origin in table[d]], list(names), cells)


def of_conditions(trials: Trials, rows: str, columns: str, metric: str, settings: Settings) -> Grid:
    """A figure for each pair of values of two of the protocol's columns, such as attack by codec, and their margins.

    A cell without trials of a class, as an attack has no bona fide ones, takes those of its column, else of its row,
    else of all.

    Raises:
        EvalError: no such column, more values than a table can show, a figure that is not known.
    """
    values = {column: _values(trials.table, column) for column in (rows, columns)}
    if len(values[rows]) * len(values[columns]) > MAX_CELLS:
        raise EvalError(
            f"{rows} by {columns}: {len(values[rows])} by {len(values[columns])} values are more than the "
            f"{MAX_CELLS:,} cells that a table shows"
        )
    everything = np.ones(len(trials.table), dtype=bool)
    of = {column: {value: _is(trials.table, column, value) for value in values[column]} for column in values}
    row_masks, column_masks = of[rows] | {ALL: everything}, of[columns] | {ALL: everything}
    cells: dict[tuple[str, str], Figure] = {}
    for row, in_row in row_masks.items():
        for column, in_column in column_masks.items():
            if not (in_row & in_column).any():
                continue
            chosen = _with_both_classes(trials.is_bonafide, in_row & in_column, in_column, in_row, everything)
            speakers = None if trials.speakers is None else trials.speakers[chosen]
            cells[row, column] = figure_of(
                trials.scores[chosen], trials.is_bonafide[chosen], speakers, metric, settings
            )
    title = f"{METRICS[metric].title} of {trials.shown_as}, {rows} by {columns}"
    return Grid(title, metric, rows, list(row_masks), list(column_masks), cells, marks_best=False)


def figure_of(
    scores: Floats,
    is_bonafide: NDArray[np.bool_],
    speakers: NDArray[np.int64] | None,
    metric: str,
    settings: Settings,
) -> Figure:
    """One figure of trials, with its interval."""
    if metric not in METRICS:
        raise EvalError(f"the figure {metric!r} is not known; known are {', '.join(METRICS)}")
    rates = error_rates(scores[is_bonafide], scores[~is_bonafide])
    basis = Basis(rates, convex_hull(rates), settings.costs, settings.asv, settings.tdcf_costs)
    figures = {name: value for name, value in figures_of(basis)[0].items() if name == metric}
    if metric not in figures:
        raise EvalError(f"{metric} needs the speaker verifier's errors: --asv-rates P_FA P_MISS P_FA_SPOOF")
    intervals: dict[str, Interval] = {}
    if settings.n_replicates:
        drawn = drawable(speakers, is_bonafide)
        drawn = None if drawn is None else drawn[np.lexsort((~is_bonafide, scores))]
        replicates = bootstrap(rates, drawn, settings.n_replicates, settings.seed)
        intervals = intervals_of(figures, basis, replicates, drawn)
    return Figure(figures[metric], intervals.get(metric), rates.n_bonafide, rates.n_spoof)


def _pooled(sets: Sequence[Trials], metric: str, settings: Settings) -> Figure:
    scores, is_bonafide = (np.concatenate([getattr(one, name) for one in sets]) for name in ("scores", "is_bonafide"))
    known = [one.speakers for one in sets]
    speakers, first = [], 0
    for own in known:
        if own is None:
            return figure_of(scores, is_bonafide, None, metric, settings)
        speakers.append(own + first)  # a name in two sets is two speakers
        first += int(own.max()) + 1
    return figure_of(scores, is_bonafide, np.concatenate(speakers), metric, settings)


def _values(table: pd.DataFrame, column: str) -> list[str]:
    if column not in table.columns:
        known = [name for name in table.columns if name not in ("utt_id", "score", "label")]
        raise EvalError(f"the protocol has no column {column!r}; it has {', '.join(known) or 'none but the label'}")
    return sorted({str(value) for value in table[column].unique()} - {*NOT_APPLICABLE})


def _is(table: pd.DataFrame, column: str, value: str) -> NDArray[np.bool_]:
    return np.asarray(table[column].astype(str) == value, dtype=bool)


def _with_both_classes(
    is_bonafide: NDArray[np.bool_], own: NDArray[np.bool_], *others: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The own trials, and for a class that has none those of the first of the others that has."""
    chosen = own.copy()
    for of_class in (is_bonafide, ~is_bonafide):
        if not (own & of_class).any():
            chosen |= next((other & of_class for other in others if (other & of_class).any()), own)
    return chosen
