"""How far a run is: a bar on a terminal, a plain line now and then anywhere else."""

import sys
import time
from typing import Any

PLAIN_LINE_EVERY_S = 10.0


class Progress:
    """Counts clips and seconds of audio on stderr, with rate, real-time factor and time left.

    Args:
        n_clips: to be scored.
        results_on_stdout: each result is printed there, so a terminal that shows them needs no bar besides.
    """

    def __init__(self, n_clips: int, *, results_on_stdout: bool = False) -> None:
        self.n_clips = n_clips
        self.n_done = 0
        self.audio_s = 0.0
        self._started = self._last_line = time.monotonic()
        self._results_seen = results_on_stdout and sys.stdout.isatty()
        self._bar: Any = _bar() if sys.stderr.isatty() and not self._results_seen else None
        self._task: Any = None

    @property
    def elapsed_s(self) -> float:
        """Wall time since the run began."""
        return time.monotonic() - self._started

    @property
    def clips_per_s(self) -> float:
        """Clips done a second, failed ones included."""
        return self.n_done / max(self.elapsed_s, 1e-9)

    @property
    def real_time_factor(self) -> float:
        """Seconds of audio scored a second of wall time."""
        return self.audio_s / max(self.elapsed_s, 1e-9)

    def start(self) -> None:
        """Show the bar, where there is one."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("scoring", total=self.n_clips, speed="")

    def stop(self) -> None:
        """Leave the bar as it is; may be called twice."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, audio_s: float) -> None:
        """One more clip done, with so much audio (0 for one that failed)."""
        self.n_done += 1
        self.n_clips = max(self.n_clips, self.n_done)  # a recording may give a row for each of its channels
        self.audio_s += audio_s
        speed = f"{self.clips_per_s:.1f} clips/s, {self.real_time_factor:.0f}x real time"
        if self._bar is not None:
            self._bar.update(self._task, advance=1, total=self.n_clips, speed=speed)
        elif not self._results_seen and time.monotonic() - self._last_line >= PLAIN_LINE_EVERY_S:
            self._last_line = time.monotonic()
            left_s = (self.n_clips - self.n_done) / self.clips_per_s
            print(f"{self.n_done} of {self.n_clips} clips, {speed}, {left_s:.0f} s left", file=sys.stderr, flush=True)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        redirect_stdout=False,  # rich would send to stderr what belongs in the user's pipe
    )
