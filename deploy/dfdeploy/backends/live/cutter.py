"""A stream's samples → its windows, whatever the chunks: those that `dfclient score --mode sliding` cuts offline."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfcontract import windows
from dfcontract.tensors import Samples
from dfdeploy.backends.live.errors import bad_stream


@dataclass(frozen=True)
class Window:
    """One window of one stream.

    Attributes:
        index: 0, 1, 2 … within the stream.
        start, end: sample numbers within the recording, of its audio: a stream shorter than a window ends before the
            window does.
        samples: (window_samples,), a view of the stretch that completed it.
    """

    index: int
    start: int
    end: int
    samples: Samples


@dataclass(frozen=True)
class Stretch:
    """A piece of a recording that completes windows; they are cut when their turn comes.

    Attributes:
        samples: (n,).
        origin: sample number of ``samples[0]`` within the recording.
        starts: sample number of each window.
        first_index: number of the first window.
        window_samples: length of each.
        pre_emphasis, least_samples: the detector's, see `windows.cut`.
    """

    samples: Samples
    origin: int
    starts: range
    first_index: int
    window_samples: int
    pre_emphasis: float
    least_samples: int | None

    def __len__(self) -> int:
        """How many windows it completes."""
        return len(self.starts)

    def __iter__(self) -> Iterator[Window]:
        """The windows in order."""
        end = self.origin + len(self.samples)
        for index, start in enumerate(self.starts, self.first_index):
            samples = windows.cut(
                self.samples, start - self.origin, self.window_samples, self.pre_emphasis, self.least_samples
            )
            yield Window(index, start, min(start + self.window_samples, end), samples)


class Cutter:
    """Holds the last window's length of a stream.

    A resumed stream begins a hop before the first window that it answers: the last window is aligned to the end, and
    may begin before the next full one would.
    """

    def __init__(
        self,
        window_samples: int,
        hop_samples: int,
        first_window: int = 0,
        pre_emphasis: float = 0.0,
        least_samples: int | None = None,
    ) -> None:
        self.window_samples, self.hop_samples = window_samples, hop_samples
        self.pre_emphasis, self.least_samples = pre_emphasis, least_samples
        self.next_window = first_window
        self.origin = max(first_window - 1, 0) * hop_samples
        self.samples: Samples = np.empty(0, np.float32)  # the recording from sample number `origin` on

    @property
    def end(self) -> int:
        """Samples of the recording so far."""
        return self.origin + len(self.samples)

    def push(self, samples: Samples) -> Stretch:
        """The full windows that (n,) more samples complete."""
        stretch, origin, first = np.concatenate([self.samples, samples]), self.origin, self.next_window
        end = origin + len(stretch)
        count = windows.full_window_count(end, self.window_samples, self.hop_samples)
        self.next_window = max(count, first)
        # Copied, so that a long chunk is let go once its windows are answered.
        self.samples = stretch[-self.window_samples :].copy()
        self.origin = end - len(self.samples)
        starts = range(first * self.hop_samples, self.next_window * self.hop_samples, self.hop_samples)
        return self._stretch(stretch, origin, starts, first)

    def finish(self) -> Stretch:
        """The last window, aligned to the end; none when the full windows reach it, or without any audio.

        Raises:
            StreamError: the stream was resumed at a window that it does not have.
        """
        if self.next_window and self.end < (self.next_window - 1) * self.hop_samples + self.window_samples:
            raise bad_stream(f"a stream resumed at window {self.next_window} ends before it, after {self.end} samples")
        start = windows.tail_start(self.end, self.window_samples, self.hop_samples) if self.end else None
        starts = range(0) if start is None else range(start, start + 1)
        return self._stretch(self.samples, self.origin, starts, self.next_window)

    def _stretch(self, samples: Samples, origin: int, starts: range, first: int) -> Stretch:
        return Stretch(samples, origin, starts, first, self.window_samples, self.pre_emphasis, self.least_samples)
