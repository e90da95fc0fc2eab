"""A request to stop comes by signals, at any moment and several at once."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from dfdeploy.stop import StopRequest

# What `dfdeploy serve` does while it serves; signals that come between two waits are nobody's.
WAITING = """
import signal, time
from dfdeploy.supervisor import _stop_on_signals

signal.signal(signal.SIGTERM, lambda number, frame: None)
for _ in range(200):
    with _stop_on_signals() as stop:
        print("waiting", flush=True)
        while not stop.wait(0.0001):
            pass
        for _ in range(20):
            stop.wait(0.0001)
print("stopped", flush=True)
"""


def test_signals_that_come_together_never_wait_for_one_another() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True) as waiting:
        dog = threading.Timer(60, waiting.kill)
        dog.start()
        assert waiting.stdout is not None
        for line in waiting.stdout:
            last = line
            for _ in range(5 if line == "waiting\n" else 0):
                waiting.send_signal(signal.SIGTERM)
        dog.cancel()
    assert (waiting.returncode, last) == (0, "stopped\n")


def test_it_is_waited_for_no_longer_than_asked_and_stays_set() -> None:
    with StopRequest() as stop:
        began_s = time.monotonic()
        assert not stop.wait(0.05)
        assert time.monotonic() - began_s >= 0.05
        assert not stop.is_set()
        for _ in range(100_000):  # more than a pipe holds
            stop.set()
        assert stop.wait(60)
        assert stop.is_set()
    with pytest.raises(OSError, match="Bad file descriptor"):
        stop.set()
