"""The score along a recording: each window's score over the time it covers."""

import numpy as np
from matplotlib.figure import Figure

from dfeval.plots.style import BONAFIDE, INK, SPOOF, axes, legend, styled
from dfeval.scores import RANDOM_WEIGHTS
from dfeval.window_scores import WindowScores


@styled
def draw_timeline(recording: WindowScores, threshold: float | None = None) -> Figure:
    """Windows of a sliding score, at their middles, the pooled score and, where given, the threshold.

    Windows below the threshold are marked as spoof.
    """
    figure, ax = axes((8.0, 4.0))
    middles = recording.starts_s + recording.window_s / 2
    for start, score in zip(recording.starts_s, recording.scores, strict=True):
        ax.plot([start, start + recording.window_s], [score, score], color=INK, linewidth=5, alpha=0.1)
    ax.plot(middles, recording.scores, color=INK, linewidth=1.3, alpha=0.75)
    is_spoof = np.zeros(len(middles), dtype=bool) if threshold is None else recording.scores < threshold
    name = "window" if threshold is None else "window: bona fide"
    ax.plot(middles[~is_spoof], recording.scores[~is_spoof], "o", color=BONAFIDE, markersize=6, label=name)
    if is_spoof.any():
        ax.plot(middles[is_spoof], recording.scores[is_spoof], "s", color=SPOOF, markersize=6, label="window: spoof")
    ax.axhline(recording.pooled, color=INK, linewidth=1.2, label=f"pooled {recording.pooled:.2f}")
    if threshold is not None:
        ax.axhline(threshold, color=INK, linestyle=(0, (2, 2)), linewidth=1.4, label=f"threshold {threshold:.2f}")
    ax.set(xlabel="time (s)", ylabel="score (higher = more bona fide)", xlim=(0, recording.duration_s))
    ax.margins(y=0.1)
    if recording.is_random:
        ax.set_title(f"{RANDOM_WEIGHTS}: no score means anything", color=SPOOF)
    legend(figure, 4)
    return figure
