"""Keep a server up until somebody asks it to stop."""

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.markup import escape

from dfcontract.text import printable
from dfdeploy.crashes import CrashCounter
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError
from dfdeploy.stop import StopRequest

WATCH_INTERVAL_S = 0.1
# The first few restarts follow at once; a server that fails again and again is tried less and less often, but never
# given up: what ails it (memory, a disk, a repository that is being written) may pass.
PROMPT_RESTARTS = 3
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 60.0
STEADY_S = 10.0  # a server that was up so long was a good one: the next failure is the first again
STRICT_RESTARTS = 3  # restarts that insist on every model: one may just be being replaced


def serve_until_stopped(server: Server, console: Console, crashes: CrashCounter) -> None:
    """Start, announce, watch, restart; returns after SIGINT or SIGTERM, with everything gone.

    Raises:
        DeployError: it never became ready.
    """
    with _stop_on_signals() as stop:
        n_failures, was_up = 0, False
        while not stop.is_set():
            up_since_s = time.monotonic()
            try:
                with console.status(f"loading {escape(', '.join(server.models))}"):
                    server.start(cancelled=stop, may_leave_out=not was_up or n_failures > STRICT_RESTARTS)
            except (DeployError, OSError) as error:
                if not was_up:  # it has never been up: there is nothing to bring back
                    raise
                failure = str(error)
            else:
                was_up, up_since_s = True, time.monotonic()
                failure = _run(server, stop, console, crashes)
            if failure:
                n_failures = 1 if time.monotonic() - up_since_s > STEADY_S else n_failures + 1
                crashes.count(failure)
                pause_s = pause_before_restart_s(n_failures)
                console.print(f"[bold red]{escape(printable(failure))}[/]; restarting in {pause_s:g} s")
                stop.wait(pause_s)


def pause_before_restart_s(n_failures: int) -> float:
    """0, 0, 0, 1, 2, 4 … seconds, a minute at most, after so many failures in a row."""
    n_late = n_failures - PROMPT_RESTARTS
    return min(FIRST_PAUSE_S * 2.0 ** min(n_late - 1, 10), MAX_PAUSE_S) if n_late > 0 else 0.0


def _run(server: Server, stop: StopRequest, console: Console, crashes: CrashCounter) -> str:
    """Announce and watch a started server, then stop it; the reason if it failed."""
    failure = ""
    try:
        _announce(server, console, crashes)
        if failure := _watch(server, stop):
            failure += f" (its log: {server.log})"
        else:
            console.print("stopping: answering what is in flight")
    finally:
        server.stop(keep_log=bool(failure), drain=not failure)
    return failure


def _watch(server: Server, stop: StopRequest) -> str:
    """Wait; the reason when the server fails, empty when it is to stop."""
    while not stop.wait(WATCH_INTERVAL_S):
        if failure := server.failure():
            return failure
    return ""


def _announce(server: Server, console: Console, crashes: CrashCounter) -> None:
    for model, reason in sorted(server.left_out.items()):
        console.print(f"[bold red]left out[/]: {escape(printable(f'{model} {reason}'))}")
    models = escape(", ".join(server.models))
    console.print(f"[bold green]ready[/] and self-checked: {models}  (profile {server.profile})")
    console.print(f"  gRPC     {server.grpc_url}{' over TLS' if server.tls else ''}")
    console.print(f"  HTTP     {server.http_url}")
    console.print(f"  metrics  {server.metrics_url}")
    console.print(f"  crashes  {crashes.url}")
    console.print(f"  log      {escape(str(server.log))}")
    options = [] if server.grpc_url.endswith(":8001") else ["--url", server.grpc_url]
    way = "".join(
        f" {shlex.quote(option)}" for option in [*options, *(server.tls.client_options if server.tls else [])]
    )
    console.print(f"Try: dfclient score examples --model {escape(server.models[0] + way)}      Stop: Ctrl-C")


@contextmanager
def _stop_on_signals() -> Iterator[StopRequest]:
    """What SIGINT and SIGTERM set."""
    with StopRequest() as stop:

        def request_stop(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        previous = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield stop
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
