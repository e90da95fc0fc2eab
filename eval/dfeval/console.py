"""Figures as a terminal shows them."""

import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from dfeval.evaluation import Evaluation, GroupFigures
from dfeval.figures import METRICS
from dfeval.metrics.compare import Comparison
from dfeval.metrics.intervals import Interval
from dfeval.scores import RANDOM_WEIGHTS
from dfeval.transfer import RATES, TITLES, Source, Transfer

NOTHING = "-"
MIN_WIDTH = 80  # of a table: in a narrower window its lines go on below rather than lose digits
HEADER_CHARACTERS = 9  # in a line of a header above stacked figures: no word of one is longer
LEAST_P_VALUE = 0.001  # that is shown: draws know little of tails further out
RANDOM_BANNER = f" {RANDOM_WEIGHTS}  {{}}: the graph is right, its scores mean nothing "


def console() -> Console:
    """Where figures go: as wide as the terminal, and wide enough for a file."""
    # No markup: ids and names come from files, and may hold what looks like it.
    width = max(MIN_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 110
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False, width=width)


def show(evaluation: Evaluation, out: Console) -> None:
    """Print an evaluation."""
    trials, rates = evaluation.trials, evaluation.rates
    if trials.source.is_random:
        out.print(RANDOM_BANNER.format(trials.detector), style="bold white on red")
    mode = f" (windows: {trials.source.mode})" if trials.source.mode else ""
    out.print(f"{trials.detector}{mode} on {trials.protocol.description}", style="bold")
    scored = f"{trials.matching.n_matched:,} of {trials.matching.n_trials:,} trials"
    out.print(f"{scored}: {rates.n_bonafide:,} bona fide, {rates.n_spoof:,} spoof; a higher score is more bona fide")
    for note in evaluation.notes:
        out.print(f"note: {note}", style="yellow")
    out.print()
    out.print(_pooled(evaluation))
    for column in dict.fromkeys(figures.group.column for figures in evaluation.groups):
        out.print()
        out.print(_groups(column, [figures for figures in evaluation.groups if figures.group.column == column]))
    out.print()
    _decisions(evaluation, out)


def show_comparison(comparison: Comparison, first: str, second: str, out: Console) -> None:
    """Print a comparison of two detectors."""
    out.print(f"{comparison.n_bonafide:,} bona fide and {comparison.n_spoof:,} spoof trials that both have scored")
    metric = METRICS[comparison.metric]
    for name, value in ((first, comparison.first), (second, comparison.second)):
        out.print(f"  {metric.title} of {name}: {figure(comparison.metric, value)}")
    out.print(f"  difference: {difference(comparison)}")
    if comparison.interval is not None:
        out.print(f"  paired bootstrap, {drawn(comparison.interval)}")


def show_transfers(detector: str, source: Source, found: Sequence[Transfer], out: Console) -> None:
    """Print what a source's threshold does on data sets: a row of rates, the ends of their intervals below.

    What a set is called takes as many lines as it needs, with its trials counted below it.
    """
    where = f", set on {source.data}" if source.data else ""
    at_home = f", where the EER is {rate(source.eer)}" if source.eer is not None else ""
    out.print(f"{detector} at the threshold {source.threshold:.6g} ({source.rule}){where}{at_home}", style="bold")
    names = [name for name in TITLES if any(name in one.figures for one in found)]
    levels = {interval.level for one in found for interval in one.intervals.values()}
    caption = "below each figure: both ends of its {:.0%} interval".format(*levels) if levels else None
    table = _table("", [textwrap.fill(TITLES[name], HEADER_CHARACTERS) for name in names], caption)
    for one in found:
        cells = [_stacked(one.figures[name], one.intervals.get(name), name in RATES) for name in names]
        table.add_row(f"{one.name}\n{one.n_bonafide:,} bona fide\n{one.n_spoof:,} spoof", *cells)
    out.print(table)
    first = found[0].figures
    out.print(
        f"It rejects {rate(first['frr'])} of the bona fide and accepts {rate(first['far'])} of the spoof trials, where "
        f"the EER is {rate(first['eer'])}, at a threshold of {found[0].own_threshold:.6g}."
    )


def _stacked(value: float, interval: Interval | None, is_rate: bool) -> str:
    """A figure above the ends of its interval, which leaves room for the name of the set beside seven of them."""
    return "\n".join([rate(value) if is_rate else f"{value:.4f}", *bounds(interval, is_rate).split(" to ")])


def rate(value: float) -> str:
    """A rate as a percentage; a dash where there is none."""
    return NOTHING if math.isnan(value) else f"{value:.2%}"


def figure(name: str, value: float) -> str:
    """A metric's value as it is written."""
    return rate(value) if METRICS[name].is_rate else f"{value:.4f}"


def bounds(interval: Interval | None, is_rate: bool = True) -> str:
    """An interval as two numbers; a dash where there is none."""
    if interval is None:
        return NOTHING
    low, high = (f"{100 * v:.2f}" if is_rate else f"{v:.4f}" for v in (interval.low, interval.high))
    return f"{low} to {high}"


def difference(comparison: Comparison) -> str:
    """The second detector's figure less the first one's, with interval and p-value, or why it has none."""
    metric, interval = METRICS[comparison.metric], comparison.interval

    def signed(value: float) -> str:
        return f"{100 * value:+.2f}" if metric.is_rate else f"{value:+.4f}"

    found = signed(comparison.difference) + (" points" if metric.is_rate else "")
    if interval is None or comparison.p_value is None:
        return f"{found}, without interval: {comparison.why_none}"
    p_value = f"p = {comparison.p_value:.3g}" if comparison.p_value >= LEAST_P_VALUE else f"p < {LEAST_P_VALUE}"
    return f"{found}, {interval.level:.0%} interval {signed(interval.low)} to {signed(interval.high)}, {p_value}"


def drawn(interval: Interval) -> str:
    """What the bootstrap drew, in words."""
    return f"{interval.n_replicates:,} draws of {interval.n_units:,} {interval.unit}s"


def _pooled(evaluation: Evaluation) -> Table:
    interval = evaluation.intervals.get("eer")
    level = f"{interval.level:.0%} interval" if interval else "interval"
    table = _table("pooled", ["", level, "at threshold"], caption=f"intervals: {drawn(interval)}" if interval else None)
    for name, value in evaluation.pooled.items():
        threshold = evaluation.thresholds.get(name)
        table.add_row(
            METRICS[name].title,
            figure(name, value),
            bounds(evaluation.intervals.get(name), METRICS[name].is_rate),
            NOTHING if threshold is None else f"{threshold:.4f}",
        )
    return table


def _groups(column: str, rows: Iterable[GroupFigures]) -> Table:
    columns = ["bona fide", "spoof", "against", "EER", "interval", "rejected", "accepted", ""]
    caption = "rejected: of its bona fide, accepted: of its spoof trials, at the one threshold below"
    table = _table(f"by {column}", columns, caption)
    for figures in rows:
        group = figures.group
        table.add_row(
            group.name,
            f"{group.n_bonafide:,}",
            f"{group.n_spoof:,}",
            group.against,
            rate(figures.eer),
            bounds(figures.interval),
            rate(figures.frr_at_threshold),
            rate(figures.far_at_threshold),
            "small" if group.is_small else "",
        )
    return table


def _table(title: str, columns: Iterable[str], caption: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("", overflow="fold")
    for name in columns:
        table.add_column(name, justify="left" if name in ("against", "") else "right")
    return table


def _decisions(evaluation: Evaluation, out: Console) -> None:
    table = evaluation.confusion
    out.print(f"decisions at the threshold {table.threshold:.4f} ({evaluation.threshold_source}); spoof is positive")
    out.print(f"  spoof      caught {table.spoof_caught:,}, accepted {table.spoof_accepted:,}")
    out.print(f"  bona fide  accepted {table.bonafide_accepted:,}, rejected {table.bonafide_rejected:,}")
    names = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    out.print("  " + "  ".join(f"{name.replace('_', ' ')} {getattr(table, name):.4f}" for name in names))
    out.print(f"  f1 with bona fide as the positive class {table.f1_bonafide:.4f}")
