"""Keep a server up until somebody asks it to stop."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError, ServerFailed

WATCH_INTERVAL_S = 0.5
# A server that fails again and again needs a person, not another start.
MAX_RESTARTS = 5
RESTART_WINDOW_S = 600.0
FIRST_PAUSE_S = 1.0


def serve_until_stopped(server: Server, console: Console) -> None:
    """Start, announce, watch, restart; returns after SIGINT or SIGTERM, with everything gone.

    Raises:
        DeployError: it never became ready, or failed too often.
    """
    with _stop_on_signals() as stop:
        restarts: list[float] = []
        while not stop.is_set():
            try:
                with console.status(f"loading {', '.join(server.models)}"):
                    server.start(cancelled=stop)
            except DeployError as error:
                if not restarts:  # it has never been up: there is nothing to bring back
                    raise
                failure = str(error)
            else:
                failure = _run(server, stop, console)
            if failure:
                _pause_before_restart(failure, restarts, stop, console)


def _run(server: Server, stop: threading.Event, console: Console) -> str:
    """Announce and watch a started server, then stop it; the reason if it failed."""
    failure = ""
    try:
        _announce(server, console)
        if failure := _watch(server, stop):
            failure += f" (its log: {server.log})"
        else:
            console.print("stopping: answering what is in flight")
    finally:
        server.stop(keep_log=bool(failure))
    return failure


def _watch(server: Server, stop: threading.Event) -> str:
    """Wait; the reason when the server fails, empty when it is to stop."""
    while not stop.wait(WATCH_INTERVAL_S):
        if failure := server.failure():
            return failure
    return ""


def _pause_before_restart(failure: str, restarts: list[float], stop: threading.Event, console: Console) -> None:
    now = time.monotonic()
    restarts[:] = [moment for moment in restarts if now - moment < RESTART_WINDOW_S]
    if len(restarts) >= MAX_RESTARTS:
        raise ServerFailed(
            f"{failure}; gave up after {MAX_RESTARTS} restarts in {RESTART_WINDOW_S / 60:.0f} minutes. "
            "Look at memory (dmesg) and at the model"
        )
    pause_s = FIRST_PAUSE_S * 2 ** len(restarts)
    restarts.append(now)
    console.print(f"[bold red]{failure}[/]; restarting in {pause_s:.0f} s")
    stop.wait(pause_s)


def _announce(server: Server, console: Console) -> None:
    console.print(f"[bold green]ready[/] and self-checked: {', '.join(server.models)}  (profile {server.profile})")
    console.print(f"  gRPC     {server.grpc_url}")
    console.print(f"  HTTP     {server.http_url}")
    console.print(f"  metrics  {server.metrics_url}")
    console.print(f"  log      {server.log}")
    port = "" if server.grpc_url.endswith(":8001") else f" --url {server.grpc_url}"
    console.print(f"Try: dfclient score examples --model {server.models[0]}{port}      Stop: Ctrl-C")


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
