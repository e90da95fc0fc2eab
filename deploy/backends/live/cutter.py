"""A stream's samples → its windows, whatever the chunks: those that `dfclient score --mode sliding` cuts offline."""

from dataclasses import dataclass

import numpy as np
import windows
from telephony import BadAudio


@dataclass(frozen=True)
class Window:
    """One window of one stream."""

    index: int
    start: int  # sample numbers within the recording
    end: int  # of its audio: a stream shorter than a window ends before the window does
    samples: np.ndarray  # (window_samples,) float32, a view of the stretch that completed it


@dataclass(frozen=True)
class Stretch:
    """A piece of a recording that completes windows; they are cut when their turn comes."""

    samples: np.ndarray  # (n,) float32
    origin: int  # sample number of samples[0]
    starts: range
    first_index: int
    window_samples: int

    def __len__(self):
        """Windows in it."""
        return len(self.starts)

    def __iter__(self):
        """Each of them."""
        end = self.origin + len(self.samples)
        for index, start in enumerate(self.starts, self.first_index):
            samples = windows.cut(self.samples, start - self.origin, self.window_samples)
            yield Window(index, start, min(start + self.window_samples, end), samples)


class Cutter:
    """Holds the last window's length of a stream. A resumed one begins a hop before the first window that it answers.

    That hop is for the last window, which is aligned to the end and may begin before the next full one would.
    """

    def __init__(self, window_samples, hop_samples, first_window=0):
        self.window_samples, self.hop_samples = window_samples, hop_samples
        self.next_window = first_window
        self.origin = max(first_window - 1, 0) * hop_samples
        self.samples = np.empty(0, np.float32)  # the recording from sample number `origin` on

    @property
    def end(self):
        """Samples of the recording so far."""
        return self.origin + len(self.samples)

    def push(self, samples):
        """The full windows that (n,) more samples complete."""
        stretch, origin, first = np.concatenate([self.samples, samples]), self.origin, self.next_window
        end = origin + len(stretch)
        count = windows.full_window_count(end, self.window_samples, self.hop_samples)
        self.next_window = max(count, first)
        # Copied, so that a long chunk is let go once its windows are answered.
        self.samples = stretch[-self.window_samples :].copy()
        self.origin = end - len(self.samples)
        return self._stretch(stretch, origin, first, self.next_window)

    def finish(self):
        """The last window, aligned to the end; none when the full windows reach it, or without any audio."""
        if self.next_window and self.end < (self.next_window - 1) * self.hop_samples + self.window_samples:
            raise BadAudio(f"a stream resumed at window {self.next_window} ends before it, after {self.end} samples")
        start = windows.tail_start(self.end, self.window_samples, self.hop_samples) if self.end else None
        starts = range(0) if start is None else range(start, start + 1)
        return Stretch(self.samples, self.origin, starts, self.next_window, self.window_samples)

    def _stretch(self, samples, origin, first, stop):
        starts = range(first * self.hop_samples, stop * self.hop_samples, self.hop_samples)
        return Stretch(samples, origin, starts, first, self.window_samples)
