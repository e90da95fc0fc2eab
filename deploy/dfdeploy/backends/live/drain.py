"""How whoever stops the server lets live models end their streams first.

A Triton that stops refuses the windows of its own live models and waits for the END of every sequence, which it does
not take any more. So there is a folder, named by an environment variable: each live model has a file of its name in it,
the stop begins with one file more, and Triton is told once each model has ended its streams and removed its file.
"""

import os
from pathlib import Path

from dfcontract.live import DRAIN_DIR_VARIABLE, STOP_FILE


class Drain:
    """One live model's part of it; without the variable, nobody ever asks."""

    def __init__(self, model: str) -> None:
        folder = os.environ.get(DRAIN_DIR_VARIABLE)
        self._stop = Path(folder) / STOP_FILE if folder else None
        self._own = Path(folder) / model if folder else None
        if self._own is not None:
            self._own.touch()

    @property
    def is_asked(self) -> bool:
        """Whether the server is about to stop."""
        return self._stop is not None and self._stop.exists()

    def finish(self) -> None:
        """No stream is open any more, and none will be."""
        if self._own is not None:
            self._own.unlink(missing_ok=True)
