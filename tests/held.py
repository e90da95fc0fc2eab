"""Backends that are stopped for a moment, so that requests overlap however fast a model is."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from dfdeploy.embedded import Server


@contextmanager
def backends_held(server: Server) -> Iterator[None]:
    """Inside, its models answer nothing; keep it under a second, after which Triton takes a backend for dead."""
    for pid in server.backend_pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in server.backend_pids:
            os.kill(pid, signal.SIGCONT)
