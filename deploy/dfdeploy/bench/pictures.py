"""Charts as SVG inside a page: its text stays text, and its colours are the page's, in light and in dark.

Colours are Okabe & Ito's ("Color Universal Design", 2008), which all common kinds of colour vision tell apart; lines
differ in dash and marker as well.
"""

import io
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

INK = "#1b1f24"
COLOURS = ("#0071b1", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d1f", "#d55e00", "#7f7f80", "#f0e441")
CSS_NAMES = {INK: "ink"} | {colour: f"series-{index}" for index, colour in enumerate(COLOURS)}
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P")
SIZE_INCHES = (5.2, 3.6)
STYLE: dict[Any, Any] = {
    **{"font.size": 11, "axes.titlesize": 11, "legend.fontsize": 10, "legend.frameon": False, "lines.linewidth": 2},
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
    **{"axes.grid": True, "grid.color": INK, "grid.alpha": 0.13, "grid.linewidth": 0.8},
    **{"svg.fonttype": "none", "svg.hashsalt": "dfserve-bench"},
}

Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], *, x: str, y: str, levels: Mapping[str, float] | None = None) -> str:
    """Label → points as lines over a doubling axis; label → height as level lines."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(x, y)
        for index, (label, points) in enumerate(series.items()):
            style = {"linestyle": DASHES[index % len(DASHES)], "marker": MARKERS[index % len(MARKERS)]}
            axes.plot(*zip(*points, strict=True), color=_colour(index), label=label, markersize=5, **style)
        for index, (label, height) in enumerate((levels or {}).items(), start=len(series)):
            axes.axhline(height, color=_colour(index), linestyle=DASHES[1 + index % 3], label=label, linewidth=1.6)
        ticks = sorted({place for points in series.values() for place, _ in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_ylim(bottom=0)
        return _svg(figure)


def stacked(parts: Mapping[str, Sequence[float]], places: Sequence[str], *, x: str, y: str) -> str:
    """Label → a height at each place, on top of one another."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(x, y)
        reached = [0.0] * len(places)
        for index, (label, heights) in enumerate(parts.items()):
            axes.bar(places, heights, bottom=reached, color=_colour(index), label=label, width=0.65)
            reached = [below + height for below, height in zip(reached, heights, strict=True)]
        return _svg(figure)


def grouped(groups: Mapping[str, Sequence[float | None]], places: Sequence[str], *, y: str) -> str:
    """Label → a bar at each place, side by side; None leaves its place empty. Each bar has its figure on it."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes("", y)
        width = 0.8 / max(len(groups), 1)
        for index, (label, heights) in enumerate(groups.items()):
            known = [(place + (index + 0.5) * width - 0.4, height) for place, height in enumerate(heights) if height]
            if known:
                middles, tops = zip(*known, strict=True)
                bars = axes.bar(middles, tops, 0.92 * width, color=_colour(index), label=label)
                axes.bar_label(bars, fmt="%.3g", fontsize=9, color=INK, padding=1)
        axes.set_xticks(range(len(places)), places)
        return _svg(figure)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _svg(figure: Figure) -> str:
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    if labels:
        columns = 1 if max(map(len, labels)) > 18 else min(4, len(labels))
        figure.set_figheight(SIZE_INCHES[1] + 0.2 * -(-len(labels) // columns))
        figure.legend(loc="outside upper center", ncols=columns)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    markup = buffer.getvalue()
    markup = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", markup[markup.index("<svg") :], flags=re.DOTALL)
    for colour, variable in CSS_NAMES.items():
        markup = re.sub(rf"(fill|stroke): {colour}", rf"\1: var(--{variable})", markup, flags=re.IGNORECASE)
    # An id is the page's, where several pictures stand; sizes are the page's, too.
    prefix = f"p{zlib.crc32(markup.encode())}-"
    markup = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", markup)
    for size in ("width", "height"):
        markup = re.sub(rf'(<svg [^>]*?)\s{size}="[^"]*"', r"\1", markup, count=1)
    return markup
