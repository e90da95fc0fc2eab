"""A request to stop that a signal's handler may make at any moment."""

import os
import select
from types import TracebackType
from typing import Self


class StopRequest:
    """Set once, by a handler of signals or anybody else; waited for by whoever is to stop.

    A `threading.Event` can't do it: its lock can't be taken twice, and Python runs a handler within whatever its main
    thread is doing. One that comes while that thread is inside `Event.wait`, or inside the handler of a signal just
    before, would wait for itself without end. A byte in a pipe needs no lock.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the pipe back."""
        os.close(self._reader)
        os.close(self._writer)

    def set(self) -> None:
        """Ask whoever waits to stop; once or often."""
        try:
            os.write(self._writer, b"\0")
        except BlockingIOError:  # so many have asked that the pipe is full
            return

    def is_set(self) -> bool:
        """Whether somebody has asked."""
        return self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """Wait until somebody asks, at most so many seconds; whether somebody has."""
        return bool(self._poll.poll(timeout_s * 1000))
