"""Cutting a waveform into a detector's windows, and pooling their scores. Pure NumPy, no imports from the package.

The client cuts recordings with it, a live backend at the server cuts streams: the same samples, the same windows.

- `protocol`: one window, what papers report. A longer clip is cut to its first window, a shorter one tile-repeated.
- `sliding`: full windows every hop from sample 0, and a last one aligned to the end when the hops don't reach it;
  a clip shorter than a window is one tile-repeated window. Scores are pooled by mean, min or a percentile.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MODES = ("protocol", "sliding")

Samples = npt.NDArray[np.float32]


def full_window_count(n_samples: int, window_samples: int, hop_samples: int) -> int:
    """How many full windows lie every `hop_samples` within the first `n_samples`."""
    return 0 if n_samples < window_samples else (n_samples - window_samples) // hop_samples + 1


def tail_start(n_samples: int, window_samples: int, hop_samples: int) -> int | None:
    """Where the last window starts once the end is known, or None when the full windows already reach it.

    A clip shorter than a window gives 0: its one window is tile-repeated (`cut` does that).
    """
    count = full_window_count(n_samples, window_samples, hop_samples)
    if count == 0:
        return 0
    reached_samples = (count - 1) * hop_samples + window_samples
    return None if reached_samples == n_samples else n_samples - window_samples


def window_starts(mode: str, n_samples: int, window_samples: int, hop_samples: int) -> list[int]:
    """First sample of each window of a clip of `n_samples`, in order.

    Raises:
        ValueError: an empty clip, an unknown mode, or a hop outside 1 … window_samples.
    """
    if n_samples < 1:
        raise ValueError("expected at least 1 sample, found 0")
    if mode not in MODES:
        raise ValueError(f"expected mode {' or '.join(MODES)}, found {mode!r}")
    if not 1 <= hop_samples <= window_samples:
        raise ValueError(f"expected a hop of 1 to {window_samples} samples (the window), found {hop_samples}")
    if mode == "protocol":
        return [0]
    starts = [i * hop_samples for i in range(full_window_count(n_samples, window_samples, hop_samples))]
    tail = tail_start(n_samples, window_samples, hop_samples)
    return starts if tail is None else [*starts, tail]


def cut(waveform: Samples, start: int, window_samples: int) -> Samples:
    """The window (window_samples,) that starts at `start`; a view, or a tile-repeated copy of a shorter clip.

    Tile-repeating is the ASVspoof baselines' padding: the clip repeated until it fills the window, then cut.
    """
    if len(waveform) < window_samples:
        return np.resize(waveform, window_samples)
    return waveform[start : start + window_samples]


def check_pool(pool: str) -> str:
    """`pool` itself when it is `mean`, `min` or a percentile `p0` … `p100`; ValueError otherwise."""
    if pool in ("mean", "min"):
        return pool
    match = re.fullmatch(r"p(\d{1,3}(?:\.\d+)?)", pool)
    if match is None or float(match[1]) > 100:
        raise ValueError(f"expected pool mean, min or a percentile such as p10 (p0 to p100), found {pool!r}")
    return pool


def pool_scores(scores: Sequence[float] | npt.NDArray[np.floating[Any]], pool: str) -> float:
    """One score from the windows' scores. A percentile is interpolated linearly between its neighbours.

    `min` and low percentiles answer "does any part sound spoofed?", since a lower score sounds less bona fide.
    """
    values = np.asarray(scores, dtype=np.float64)
    if check_pool(pool) == "mean":
        return float(values.mean())
    if pool == "min":
        return float(values.min())
    return float(np.percentile(values, float(pool[1:])))
