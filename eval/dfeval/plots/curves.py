"""Errors over all thresholds: DET, ROC, reliability, Tippett."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, ndtri

from dfeval.evaluation import Evaluation
from dfeval.metrics.eer import ErrorRates, Floats
from dfeval.metrics.intervals import LEVEL
from dfeval.plots.style import BONAFIDE, INK, SPOOF, axes, colour_of, dash_of, legend, marker_of, styled

RATE_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
MAX_POINTS = 1500
N_BINS = 10


@styled
def draw_det(evaluations: Sequence[Evaluation]) -> Figure:
    """Detection error trade-off on probit axes (Martin et al., Eurospeech 1997), with bootstrap bands and EERs."""
    figure, ax = axes((6.4, 5.6))
    low = min(0.4 / max(e.rates.n_bonafide, e.rates.n_spoof) for e in evaluations)
    low, high = max(low, 0.0003), min(0.99, max(0.5, *(e.rates.eer.value + 0.55 for e in evaluations)))
    ax.plot(ndtri([low, high]), ndtri([low, high]), color=INK, linewidth=1, alpha=0.5, linestyle=(0, (1, 2)))
    for index, evaluation in enumerate(evaluations):
        _draw_det_band(ax, evaluation, colour_of(index), (low, high))
        far, frr = _thinned(evaluation.rates)
        label = f"{evaluation.trials.detector}: EER {evaluation.rates.eer.value:.2%}"
        curve = {"color": colour_of(index), "linestyle": dash_of(index)}
        ax.plot(_probit(far, low), _probit(frr, low), label=label, **curve)
        eer = ndtri(np.clip(evaluation.rates.eer.value, low, high))
        ax.plot(eer, eer, marker_of(index), color=colour_of(index), markersize=8, zorder=5)
    ticks = [tick for tick in RATE_TICKS if low <= tick <= high]
    labels = [f"{100 * tick:g}" for tick in ticks]
    ax.set_xticks(ndtri(ticks), labels)
    ax.set_yticks(ndtri(ticks), labels)
    limits = (ndtri(low), ndtri(high))
    ax.set(xlabel="spoof accepted (%)", ylabel="bona fide rejected (%)", xlim=limits, ylim=limits, aspect="equal")
    legend(figure, 2 if len(evaluations) > 1 else 1)
    return figure


@styled
def draw_roc(evaluations: Sequence[Evaluation]) -> Figure:
    """Receiver operating characteristic with the area under it."""
    figure, ax = axes((6.4, 5.6))
    ax.plot([0, 100], [0, 100], color=INK, linewidth=1, alpha=0.5, linestyle=(0, (1, 2)))
    for index, evaluation in enumerate(evaluations):
        far, frr = _thinned(evaluation.rates)
        label = f"{evaluation.trials.detector}: AUC {evaluation.rates.auc:.3f}"
        curve = {"color": colour_of(index), "linestyle": dash_of(index)}
        ax.plot(100 * far, 100 * (1 - frr), label=label, **curve)
    ax.set(xlabel="spoof accepted (%)", ylabel="bona fide accepted (%)", xlim=(-1, 101), ylim=(-1, 101), aspect="equal")
    legend(figure, 2 if len(evaluations) > 1 else 1)
    return figure


@styled
def draw_reliability(evaluation: Evaluation) -> Figure:
    """What happened where the score, taken for a log-likelihood ratio, promised a probability; both priors one half."""
    figure, ax = axes((6.4, 5.2))
    promised, happened, counts = reliability(evaluation.trials.scores, evaluation.trials.is_bonafide)
    ax.plot([0, 1], [0, 1], color=INK, linewidth=1, alpha=0.5, linestyle=(0, (1, 2)), label="calibrated")
    ax.plot(promised, happened, color=BONAFIDE, linewidth=1.5)
    ax.scatter(promised, happened, s=30 + 220 * counts / counts.max(), color=BONAFIDE, label="tenths of the trials")
    ax.set(
        xlabel="probability of bona fide that the score promises",
        ylabel="share that was bona fide",
        xlim=(-0.04, 1.04),
        ylim=(-0.04, 1.04),
    )
    legend(figure, 2)
    return figure


@styled
def draw_tippett(evaluation: Evaluation) -> Figure:
    """Share of each class whose log-likelihood ratio is at least the value below."""
    figure, ax = axes()
    trials = evaluation.trials
    low, high = np.quantile(trials.scores, (0.002, 0.998))
    margin = 0.08 * (high - low) or 1.0
    grid = np.linspace(low - margin, high + margin, 500)
    for values, name, colour, dash in (
        (trials.bonafide, "bona fide", BONAFIDE, "-"),
        (trials.spoof, "spoof", SPOOF, (0, (5, 2))),
    ):
        share = 1 - np.searchsorted(np.sort(values), grid, side="left") / values.size
        ax.plot(grid, 100 * share, color=colour, linestyle=dash, label=name)
    ax.axvline(0, color=INK, linewidth=1, alpha=0.6)
    ax.set(xlabel="score, taken for a log-likelihood ratio (0 = undecided)", ylabel="trials at or above it (%)")
    ax.set(xlim=(grid[0], grid[-1]), ylim=(-2, 102))
    legend(figure, 2)
    return figure


def reliability(scores: Floats, is_bonafide: np.typing.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Promised and observed share of bona fide, and number of trials, in up to ten bins of equal counts.

    Trials are weighted as if both classes were equally frequent, which is what an LLR of 0 means.
    """
    weights = np.where(is_bonafide, 0.5 / is_bonafide.sum(), 0.5 / (~is_bonafide).sum())
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, max(len(edges) - 2, 0))
    total = np.bincount(bins, weights)
    kept = total > 0
    promised = np.bincount(bins, weights * expit(scores))[kept] / total[kept]
    happened = np.bincount(bins, weights * is_bonafide)[kept] / total[kept]
    return promised, happened, np.bincount(bins)[kept].astype(np.float64)


def _draw_det_band(ax: Axes, evaluation: Evaluation, colour: str, limits: tuple[float, float]) -> None:
    replicates = evaluation.replicates
    if replicates is None:
        return
    far = np.linspace(ndtri(limits[0]), ndtri(limits[1]), 120)
    curves = [
        np.interp(far, _probit(row_far, limits[0])[::-1], _probit(row_frr, limits[0])[::-1])
        for row_far, row_frr in zip(replicates.far, replicates.frr, strict=True)
    ]
    low, high = np.quantile(curves, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    ax.fill_between(far, low, high, color=colour, alpha=0.16, linewidth=0)


def _probit(rates: Floats, low: float) -> Floats:
    return np.asarray(ndtri(np.clip(rates, low / 10, 1 - low / 10)))


def _thinned(rates: ErrorRates) -> tuple[Floats, Floats]:
    """(FAR, FRR) at no more points than a picture can show, evenly spread over both error rates' probits."""
    points = rates.distinct
    far, frr = rates.far[points], rates.frr[points]
    if len(points) <= MAX_POINTS:
        return far, frr
    floor = 0.5 / max(rates.n_bonafide, rates.n_spoof)
    way = np.cumsum(np.hypot(np.diff(_probit(far, floor), prepend=0.0), np.diff(_probit(frr, floor), prepend=0.0)))
    chosen = np.unique(np.searchsorted(way, np.linspace(way[0], way[-1], MAX_POINTS)))
    return far[chosen], frr[chosen]
