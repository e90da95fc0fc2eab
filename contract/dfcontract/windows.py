"""Cutting a recording into a detector's windows, and pooling their scores: one implementation, offline and live.

- `protocol`: one window, what papers report. A longer clip is cut to its first window, a shorter one tile-repeated.
- `sliding`: full windows every hop from sample 0, and a last one aligned to the end when the hops don't reach it;
  a clip shorter than a window is one tile-repeated window. Scores are pooled by mean, min or a percentile.

Some detectors score a clip of any length as it is (`ClipLengths`). Their protocol mode sends the whole clip; one that
is too long for that is cut as in sliding mode, into windows of the greatest length, and their mean is its score. A clip
shorter than a window of sliding mode is sent at its own length, too.
"""

import heapq
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dfcontract.errors import WindowError
from dfcontract.tensors import Samples
from dfcontract.text import number

PROTOCOL, SLIDING = "protocol", "sliding"
MODES = (PROTOCOL, SLIDING)
DEFAULT_POOL = "mean"


class ClipLengths(NamedTuple):
    """What a detector scores that takes a clip as it is, in samples: its network's least, and the most that is sent."""

    least: int
    most: int


class Cutting(NamedTuple):
    """How recordings were cut, as score files, calibrations and fusions state it; "" where that is not known.

    Attributes:
        words: mode, pooling and hop, as `in_words` puts them.
        window_samples: the most that was scored at once, in digits: a window's length, or the longest whole clip's.
    """

    words: str
    window_samples: str = ""

    def suits(self, other: "Cutting") -> bool:
        """Whether scores of recordings cut in both ways can be held against each other, as far as both say."""
        return all(own == theirs for own, theirs in zip(self, other, strict=True) if own and theirs)

    def __str__(self) -> str:
        """For errors and people: `protocol, at most 64600 samples at once`."""
        longest = f"at most {self.window_samples} samples at once" if self.window_samples else ""
        return ", ".join(filter(None, (self.words, longest)))


@dataclass(frozen=True)
class Windowing:
    """How recordings are cut and their windows' scores pooled, checked against a detector's window.

    Attributes:
        mode: `protocol` or `sliding`.
        window_samples: length of a window; of a detector that scores whole clips, the longest that protocol mode sends.
        hop_samples: from window to window; of no meaning in protocol mode of a detector with one fixed window.
        pool: `mean`, `min` or a percentile such as `p10`.
        sample_rate_hz: the detector's.
        clip: of a detector that scores whole clips; None for one with a fixed window.
    """

    mode: str
    window_samples: int
    hop_samples: int
    pool: str
    sample_rate_hz: int
    clip: ClipLengths | None = None

    @classmethod
    def checked(
        cls,
        window_samples: int,
        sample_rate_hz: int,
        mode: str = PROTOCOL,
        hop_s: float | None = None,
        pool: str | None = None,
        *,
        clip: ClipLengths | None = None,
    ) -> Self:
        """Defaults: one window in protocol mode; in sliding mode a hop of one window, pooled by the mean.

        Raises:
            WindowError: an unknown mode or pool, a hop outside one sample to one window, or a hop or pool in protocol
                mode, which has one window.
        """
        check_choices(mode, hop_s, pool)
        if clip is not None and mode == PROTOCOL:
            window_samples = clip.most
        hop_samples = window_samples if hop_s is None else samples_of(hop_s, sample_rate_hz)
        try:
            check_hop(hop_samples, window_samples)
        except WindowError as error:
            raise WindowError(f"{error}; the window is {window_samples / sample_rate_hz:g} s") from None
        return cls(mode, window_samples, hop_samples, pool or DEFAULT_POOL, sample_rate_hz, clip)

    @property
    def hop_s(self) -> float | None:
        """Seconds from window to window; None in protocol mode, which has one window."""
        return self.hop_samples / self.sample_rate_hz if self.mode == SLIDING else None

    @property
    def pool_stated(self) -> str:
        """The pooling as results name it: "" in protocol mode, which has nothing to pool."""
        return self.pool if self.mode == SLIDING else ""

    @property
    def cutting(self) -> Cutting:
        """The same as calibrations state it: `sliding, mean, hop 1 s` and `64600`."""
        words = in_words(self.mode, self.pool_stated, "" if self.hop_s is None else number(self.hop_s))
        return Cutting(words, str(self.window_samples))

    def starts(self, n_samples: int) -> list[int]:
        """First sample of each window of a clip of `n_samples`, in order; WindowError for an empty clip."""
        mode = SLIDING if self.clip is not None else self.mode
        return window_starts(mode, n_samples, self.window_samples, self.hop_samples)

    def cut(self, waveform: Samples, start: int, pre_emphasis: float = 0.0) -> Samples:
        """What is sent of the window that starts at `start`; see the function `cut`."""
        return cut(waveform, start, self.window_samples, pre_emphasis, self.clip.least if self.clip else None)

    def notes(self, n_samples: int) -> tuple[str, ...]:
        """What a reader of the score of `n_samples` should know of how they were cut, beyond the mode."""
        if self.clip is None:
            return ()
        if n_samples < self.clip.least:
            return (f"short: repeated to the {self.clip.least} samples that the detector needs",)
        if self.mode == PROTOCOL and n_samples > self.clip.most:
            count, window_s = len(self.starts(n_samples)), self.clip.most / self.sample_rate_hz
            return (f"long: the mean of {count} windows of {window_s:g} s, where its authors score the whole clip",)
        return ()


def check_choices(mode: str, hop_s: float | None, pool: str | None) -> None:
    """What can be known to be wrong before the detector's window is; WindowError for it.

    Args:
        mode: `protocol` or `sliding`.
        hop_s: seconds from window to window, or None.
        pool: see `check_pool`, or None.
    """
    if mode not in MODES:
        raise WindowError(f"expected mode {' or '.join(MODES)}, found {mode!r}")
    if mode == PROTOCOL and (hop_s is not None or pool is not None):
        raise WindowError("hop and pool belong to sliding mode; protocol mode scores one window a clip")
    if hop_s is not None and not 0 < hop_s < math.inf:
        raise WindowError(f"expected a hop in seconds, above 0 and at most the detector's window, found {hop_s:g}")
    if pool is not None:
        check_pool(pool)


def in_words(mode: str, pool: str, hop_s: str) -> str:
    """How recordings were cut, from the text of a score file's columns; "" where none of them says anything."""
    return ", ".join(word for word in (mode, pool, f"hop {hop_s} s" if hop_s else "") if word)


def samples_of(seconds: float, rate_hz: int) -> int:
    """Seconds as the nearest whole number of samples; WindowError for NaN, infinity, or more than a float can count."""
    samples = seconds * rate_hz
    if not math.isfinite(samples):
        raise WindowError(f"expected a number of seconds, found {seconds}")
    return round(samples)


def check_hop(hop_samples: int, window_samples: int) -> int:
    """The hop itself; WindowError unless it is 1 … `window_samples`."""
    if not 1 <= hop_samples <= window_samples:
        raise WindowError(f"expected a hop of 1 to {window_samples} samples (the window), found {hop_samples}")
    return hop_samples


def full_window_count(n_samples: int, window_samples: int, hop_samples: int) -> int:
    """How many full windows lie every `hop_samples` within the first `n_samples`."""
    return 0 if n_samples < window_samples else (n_samples - window_samples) // hop_samples + 1


def tail_start(n_samples: int, window_samples: int, hop_samples: int) -> int | None:
    """Where the last window starts once the end is known, or None when the full windows already reach it.

    A clip shorter than a window gives 0: `cut` knows what becomes of it.
    """
    count = full_window_count(n_samples, window_samples, hop_samples)
    if count == 0:
        return 0
    reached_samples = (count - 1) * hop_samples + window_samples
    return None if reached_samples == n_samples else n_samples - window_samples


def window_starts(mode: str, n_samples: int, window_samples: int, hop_samples: int) -> list[int]:
    """First sample of each window of a clip of `n_samples`, in order.

    Raises:
        WindowError: an empty clip, an unknown mode, or a hop outside 1 … window_samples.
    """
    if n_samples < 1:
        raise WindowError("expected at least 1 sample, found 0")
    if mode not in MODES:
        raise WindowError(f"expected mode {' or '.join(MODES)}, found {mode!r}")
    check_hop(hop_samples, window_samples)
    if mode == PROTOCOL:
        return [0]
    starts = [i * hop_samples for i in range(full_window_count(n_samples, window_samples, hop_samples))]
    tail = tail_start(n_samples, window_samples, hop_samples)
    return starts if tail is None else [*starts, tail]


def cut(
    waveform: Samples,
    start: int,
    window_samples: int,
    pre_emphasis: float = 0.0,
    least_samples: int | None = None,
) -> Samples:
    """The window (window_samples,) that starts at `start`; a view, or a tile-repeated copy of a shorter clip.

    Tile-repeating is the ASVspoof baselines' padding: the clip repeated until it fills the window, then cut.

    Args:
        waveform: the recording.
        start: its sample that the window begins with.
        window_samples: the window's length.
        pre_emphasis: the card's: such a detector's graph answers y[t] = x[t] - pre_emphasis · x[t-1] of a window, while
            its authors pre-emphasise the clip and then repeat it. The copies are made so that both give the same.
        least_samples: how short a clip may stay as it is; the window's length unless given.
    """
    if len(waveform) >= window_samples:
        return waveform[start : start + window_samples]
    least_samples = window_samples if least_samples is None else least_samples
    if len(waveform) >= least_samples:
        return waveform
    repeated = np.resize(waveform, least_samples)
    return repeated if pre_emphasis == 0 else _joined(repeated, waveform, pre_emphasis)


def _joined(repeated: Samples, clip: Samples, pre_emphasis: float) -> Samples:
    """Add to each copy what fades away in it and takes the sample before it out of its own first one.

    The window w has to keep w[t] - c w[t-1] = y[t], the repeated pre-emphasised clip. Where a copy begins, y[t] is the
    clip's first sample alone, so c w[t-1] is added there, c times that to the next sample, and so on.
    """
    n_samples, last = len(clip), float(clip[-1])
    fading = pre_emphasis ** np.arange(1, n_samples + 1, dtype=np.float64)
    before = [0.0, last]  # how much of itself a copy's first sample has to add: c times it
    while len(before) * n_samples < len(repeated):
        before.append(last + fading[-1] * before[-1])
    added: npt.NDArray[np.float64] = np.outer(before, fading).ravel()[: len(repeated)]
    joined: Samples = (repeated + added).astype(np.float32)
    return joined


def check_pool(pool: str) -> str:
    """`pool` itself when it is `mean`, `min` or a percentile `p0` … `p100`; WindowError otherwise."""
    if pool not in ("mean", "min"):
        match = re.fullmatch(r"p(\d{1,3}(?:\.\d+)?)", pool)
        if match is None or float(match[1]) > 100:
            raise WindowError(f"expected pool mean, min or a percentile such as p10 (p0 to p100), found {pool!r}")
    return pool


def pool_scores(scores: Iterable[float], pool: str) -> float:
    """One score from the windows' scores, at least one; see `Pooler`."""
    pooler = Pooler(pool)
    for score in scores:
        pooler.add(float(score))
    return pooler.value


class Pooler:
    """One score from windows' scores that come one by one; another score costs a sum, or O(log n) for a percentile.

    The mean is a compensated sum (Neumaier 1974). A percentile is interpolated linearly between its neighbours, as
    NumPy's default is; the scores below it and those above it are two heaps. `min` and low percentiles answer "does any
    part sound spoofed?", since a lower score sounds less bona fide.
    """

    def __init__(self, pool: str) -> None:
        self.pool = check_pool(pool)
        self.n_scores = 0
        self._sum = self._lost = 0.0  # and what rounding took from it
        self._minimum = math.inf
        self._fraction = float(pool[1:]) / 100 if pool.startswith("p") else 0.0
        self._below: list[float] = []  # negated, so that the largest is first: the scores up to the percentile's place
        self._above: list[float] = []

    def add(self, score: float) -> None:
        """One more window's score."""
        self.n_scores += 1
        if self.pool == "mean":
            self._add_to_sum(score)
        elif self.pool == "min":
            self._minimum = min(self._minimum, score)
        else:
            self._add_to_heaps(score)

    @property
    def value(self) -> float:
        """The pooled score; WindowError before the first window."""
        if self.n_scores == 0:
            raise WindowError("expected the scores of at least one window, found none")
        if self.pool == "mean":
            return (self._sum + self._lost) / self.n_scores
        if self.pool == "min":
            return self._minimum
        below = -self._below[0]
        place = self._fraction * (self.n_scores - 1)
        share = place - math.floor(place)
        return below + share * (self._above[0] - below) if share and self._above else below

    def _add_to_sum(self, score: float) -> None:
        total = self._sum + score
        if abs(self._sum) >= abs(score):
            self._lost += (self._sum - total) + score
        else:
            self._lost += (score - total) + self._sum
        self._sum = total

    def _add_to_heaps(self, score: float) -> None:
        heapq.heappush(self._above, -heapq.heappushpop(self._below, -score))
        wanted = math.floor(self._fraction * (self.n_scores - 1)) + 1
        while len(self._below) < wanted:
            heapq.heappush(self._below, -heapq.heappop(self._above))
