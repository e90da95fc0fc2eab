"""Rates by group for all detectors side by side, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dfeval.evaluation import Evaluation
from dfeval.plots.distributions import MAX_ROWS, shorten
from dfeval.plots.style import BONAFIDE, INK, SPOOF, axes, colour_of, legend, marker_of, styled


@styled
def draw_rates(evaluations: Sequence[Evaluation], column: str) -> tuple[Figure, str]:
    """EER of each group with its interval, the hardest on top, and what was left out, in words.

    Hollow marks are groups too small to say much.
    """
    by_detector = [{g.group.name: g for g in e.groups if g.group.column == column} for e in evaluations]
    names = {name for figures in by_detector for name in figures}
    mean = {name: np.mean([figures[name].eer for figures in by_detector if name in figures]) for name in names}
    ranked = sorted(names, key=lambda name: (-mean[name], name))
    shown = ranked[:MAX_ROWS][::-1]
    spread = min(0.085 * len(evaluations), 0.36) if len(evaluations) > 1 else 0.0
    offsets = np.linspace(spread, -spread, len(evaluations))
    figure, ax = axes((6.4, 1.5 + (0.32 + 0.1 * len(evaluations)) * len(shown)))
    for index, (evaluation, figures) in enumerate(zip(evaluations, by_detector, strict=True)):
        colour, marker = colour_of(index), marker_of(index)
        for row, name in enumerate(shown):
            if name not in figures:
                continue
            group, y = figures[name], row + offsets[index]
            if group.interval:
                bounds = [100 * group.interval.low, 100 * group.interval.high]
                ax.plot(bounds, [y, y], color=colour, linewidth=2, alpha=0.55)
            face = "none" if group.group.is_small else colour
            ax.plot(100 * group.eer, y, marker, color=colour, markerfacecolor=face, markersize=7, markeredgewidth=1.8)
        label = f"{evaluation.trials.detector} (pooled {evaluation.rates.eer.value:.1%})"
        ax.plot([], [], marker, color=colour, label=label)
        ax.axvline(100 * evaluation.rates.eer.value, color=colour, linewidth=1.2, linestyle=(0, (2, 2)), alpha=0.8)
    ax.set_yticks(range(len(shown)), [shorten(name) for name in shown])
    ax.set(xlabel="EER (%)", ylim=(-0.6, len(shown) - 0.4))
    high = min(1.03 * ax.get_xlim()[1], 102.0)
    ax.set_xlim(-0.02 * high, high)
    legend(figure, 2 if len(evaluations) > 1 else 1)
    left_out = len(ranked) - len(shown)
    return figure, f"; {left_out} groups of lower EER are not drawn" if left_out else ""


@styled
def draw_confusion(evaluation: Evaluation) -> Figure:
    """What was decided about each class: counts and shares of the class; right decisions blue, wrong ones orange."""
    table = evaluation.confusion
    counts = np.array([[table.bonafide_accepted, table.bonafide_rejected], [table.spoof_accepted, table.spoof_caught]])
    shares = counts / counts.sum(axis=1, keepdims=True)
    figure, ax = axes((6.4, 4.0))
    for row in range(2):
        for column in range(2):
            colour = BONAFIDE if row == column else SPOOF
            ax.fill_between(
                [column, column + 1], row, row + 1, color=colour, alpha=0.08 + 0.5 * shares[row, column], linewidth=0
            )
            x, y = column + 0.5, row + 0.5
            ax.text(x, y - 0.12, f"{counts[row, column]:,}", ha="center", va="center", fontsize=20, color=INK)
            ax.text(x, y + 0.2, f"{shares[row, column]:.1%}", ha="center", va="center", fontsize=13, color=INK)
    ax.set_xticks([0.5, 1.5], ["called bona fide", "called spoof"])
    ax.set_yticks([0.5, 1.5], ["bona fide", "spoof"])
    ax.set(xlim=(0, 2), ylim=(2, 0))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure
