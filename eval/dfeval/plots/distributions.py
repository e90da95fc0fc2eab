"""Where the scores lie: by class, and by class and group."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfeval.evaluation import Evaluation, GroupFigures
from dfeval.metrics.eer import Floats
from dfeval.plots.style import BONAFIDE, INK, SPOOF, axes, legend, styled

KDE_SAMPLE = 5000  # scores that a density is estimated from; more change nothing that an eye could see
MIN_KDE = 5
N_GRID = 400
N_GRID_OF_GROUP = 120  # a row is an inch high at most
MAX_ROWS = 24
MAX_RUG = 100


@styled
def draw_scores(evaluation: Evaluation) -> Figure:
    """Histogram and density of both classes, with the decision threshold."""
    figure, ax = axes()
    trials = evaluation.trials
    low, high = _range(trials.scores)
    bins = np.linspace(low, high, min(60, max(12, int(len(trials.scores) ** 0.5 * 2))) + 1)
    for values, name, colour, dash in (
        (trials.spoof, "spoof", SPOOF, (0, (5, 2))),
        (trials.bonafide, "bona fide", BONAFIDE, "-"),
    ):
        ax.hist(values, bins=bins.tolist(), density=True, color=colour, alpha=0.28, linewidth=0)
        grid, density = _density(values, low, high)
        ax.plot(grid, density, color=colour, linestyle=dash, label=f"{name} (n = {values.size:,})")
    _mark_threshold(ax, evaluation)
    ax.set(xlabel="score  (higher = more bona fide)", ylabel="density", xlim=(low, high))
    ax.margins(y=0.12)
    legend(figure, 3)
    return figure


@styled
def draw_scores_by_group(evaluation: Evaluation, column: str) -> tuple[Figure, str]:
    """A row for each value of a column, the hardest on top, and what was left out, in words."""
    rows = sorted((g for g in evaluation.groups if g.group.column == column), key=lambda g: -g.eer)
    shown = rows[:MAX_ROWS]
    figure, ax = axes((6.4, 1.5 + 0.42 * len(shown)))
    low, high = _range(evaluation.trials.scores)
    for y, figures in enumerate(reversed(shown)):
        _draw_row(ax, evaluation, figures, y, (low, high))
    _mark_threshold(ax, evaluation)
    ax.set_yticks(range(len(shown)), [_row_label(figures) for figures in reversed(shown)])
    ax.set(xlabel="score  (higher = more bona fide)", xlim=(low, high), ylim=(-0.35, len(shown)))
    for name, colour in (("bona fide", BONAFIDE), ("spoof", SPOOF)):
        ax.plot([], [], color=colour, linewidth=6, alpha=0.6, label=name)
    legend(figure, 3)
    left_out = len(rows) - len(shown)
    return figure, f"; {left_out} groups of lower EER are not drawn" if left_out else ""


def _draw_row(ax: Axes, evaluation: Evaluation, figures: GroupFigures, y: int, limits: tuple[float, float]) -> None:
    group, trials = figures.group, evaluation.trials
    scores, is_bonafide = trials.scores[group.rows], trials.is_bonafide[group.rows]
    for count, mask, colour, side in (
        (group.n_bonafide, is_bonafide, BONAFIDE, 1),
        (group.n_spoof, ~is_bonafide, SPOOF, 0),
    ):
        if not count:
            continue
        values = scores[mask]
        grid, density = _density(values, *limits, N_GRID_OF_GROUP)
        if density.max() > 0:
            ax.fill_between(grid, y, y + 0.82 * density / density.max(), color=colour, alpha=0.38, linewidth=0)
        if values.size <= MAX_RUG:
            level = y - 0.1 - 0.12 * side * bool(group.n_spoof)
            # One line with gaps: a mark for each trial would be most of the file.
            ticks = np.tile((level - 0.05, level + 0.05, np.nan), values.size)
            ax.plot(np.repeat(values, 3), ticks, color=colour, linewidth=1.2, alpha=0.9)


def _row_label(figures: GroupFigures) -> str:
    count = figures.group.n_bonafide + figures.group.n_spoof
    return f"{shorten(figures.group.name)}  ({count:,})"


def shorten(name: str, longest: int = 34) -> str:
    """A group's name short enough to stand beside a picture: without its middle, since many differ at their end."""
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}…{name[-end:]}"


def _mark_threshold(ax: Axes, evaluation: Evaluation) -> None:
    threshold = evaluation.confusion.threshold
    ax.axvline(threshold, color=INK, linestyle=(0, (2, 2)), linewidth=1.5, label=f"threshold {threshold:.4g}")


def _density(values: Floats, low: float, high: float, n_points: int = N_GRID) -> tuple[Floats, Floats]:
    """A Gaussian kernel density on a grid; zero where there is none to speak of (few scores, or all the same)."""
    from scipy.stats import gaussian_kde

    grid = np.linspace(low, high, n_points)
    if values.size < MIN_KDE or np.ptp(values) == 0:
        return grid, np.zeros(n_points)
    if values.size > KDE_SAMPLE:
        values = np.random.default_rng(0).choice(values, KDE_SAMPLE, replace=False)
    return grid, np.asarray(gaussian_kde(values)(grid))


def _range(scores: Floats) -> tuple[float, float]:
    """The span that holds all but the outermost 0.1 % of scores at each end, with a margin."""
    low, high = np.quantile(scores, (0.001, 0.999)) if scores.size > 2000 else (scores.min(), scores.max())
    margin = 0.1 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
