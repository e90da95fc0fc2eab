"""Which errors are worth another attempt, for how long, with which pauses; and calls that are repeated so."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dfclient.calls import ModelInfo, ModelState, TritonCalls, WindowAnswer
from dfclient.errors import (
    InputError,
    ModelNotFound,
    ServerBusy,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)
from dfcontract.live import detectors_among
from dfcontract.tensors import Samples

Answer = TypeVar("Answer")

log = logging.getLogger("dfclient")


@dataclass(frozen=True)
class RetryPolicy:
    """What is tried again, for how long, and how often.

    Attributes:
        wait_s: for how long a server that is away, starting or stopping is tried again; 0 for not at all.
        busy_s: the same for one that has no room.
        slow_attempts: how often a request is sent whose answer misses its deadline.
        first_pause_s, max_pause_s: pauses between attempts double from the first to the longest. Each is shortened by
            up to a half, at random, so that many clients do not come back together.
    """

    wait_s: float = 60.0
    busy_s: float = 15.0
    slow_attempts: int = 2
    first_pause_s: float = 0.1
    max_pause_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what is no length of time."""
        for name in ("wait_s", "busy_s", "first_pause_s", "max_pause_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}: expected seconds from 0 on, found {value}")
        if self.slow_attempts < 1:
            raise InputError(f"slow_attempts: expected at least 1, found {self.slow_attempts}")

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row (from 1 on), before chance shortens it."""
        return min(self.first_pause_s * 2.0 ** min(failures - 1, 60), self.max_pause_s)

    def final_error(self, error: ServerError, failures: int, elapsed_s: float) -> ServerError | None:
        """The error to end with, or None where another attempt is due.

        Args:
            error: of the last attempt.
            failures: so far, in a row.
            elapsed_s: since the first of them.
        """
        if isinstance(error, ServerSlow):
            times = "once" if failures == 1 else f"{failures} times"
            return ServerSlow(f"{error} (tried {times})") if failures >= self.slow_attempts else None
        patience_s = next(
            (
                limit_s
                for kind, limit_s in ((ServerUnavailable, self.wait_s), (ServerBusy, self.busy_s))
                if isinstance(error, kind)
            ),
            None,
        )
        if patience_s is None:
            return error
        if elapsed_s < patience_s:
            return None
        return type(error)(f"{error} (tried again for {elapsed_s:.0f} s)") if failures > 1 else error


NO_RETRIES = RetryPolicy(wait_s=0.0, busy_s=0.0, slow_attempts=1)


def shortened(pause_s: float) -> float:
    """A pause, up to a half shorter by chance."""
    return pause_s * random.uniform(0.5, 1.0)  # noqa: S311


class Retrying:
    """Calls to a server, repeated while they may still succeed. Safe to use from many threads."""

    def __init__(self, calls: TritonCalls, policy: RetryPolicy) -> None:
        self.calls, self.policy = calls, policy
        self._closed = threading.Event()

    def close(self) -> None:
        """End every pause between attempts; the calls themselves stay open."""
        self._closed.set()

    def model_states(self) -> list[ModelState]:
        """The server's repository index."""
        return self._repeated(self.calls.model_states)

    def model_info(self, model: str, version: str = "") -> ModelInfo:
        """A model's configuration; ModelNotFound lists what the server serves."""
        return self._repeated(lambda: self._known(model, version, lambda: self.calls.model_info(model, version)))

    def infer(self, model: str, version: str, window: Samples) -> WindowAnswer:
        """Answer to one window (window_samples,)."""
        return self._repeated(lambda: self._known(model, version, lambda: self.calls.infer(model, version, window)))

    def confirmed(self, error: ModelNotFound, model: str, version: str) -> ServerError:
        """Is a model really not there? A server that stops or starts says of all its models that it knows none.

        Returns:
            ModelNotFound, with what is served instead, where the server is up and lacks the model; ServerUnavailable
            where the model is on its way, or the server is.
        """
        try:
            states = self.calls.model_states()
        except (ServerUnavailable, ServerBusy, ServerSlow) as away:
            return away
        except ServerError:  # a server may keep its index to administrators
            return ModelNotFound(f"{error}; it serves: (it keeps its list of models to itself)")
        entries = [state for state in states if state.name == model and version in ("", state.version)]
        failed = next((e for e in entries if e.state == "UNAVAILABLE" and e.reason not in ("", "unloaded")), None)
        if failed is not None:
            return ModelNotFound(f"{error}: it can't be loaded: {failed.reason}")
        if entries:
            return ServerUnavailable(f"{self.calls.url}: model {model!r} is being loaded or unloaded")
        served = detectors_among(state.name for state in states if state.state == "READY")
        return ModelNotFound(f"{error}; it serves: {', '.join(served) or 'no model'}")

    def _known(self, model: str, version: str, request: Callable[[], Answer]) -> Answer:
        try:
            return request()
        except ModelNotFound as error:
            raise self.confirmed(error, model, version) from None

    def _repeated(self, request: Callable[[], Answer]) -> Answer:
        failures, since_s = 0, 0.0
        while True:
            try:
                return request()
            except ServerError as error:
                failures += 1
                since_s = time.monotonic() if failures == 1 else since_s
                final = self.policy.final_error(error, failures, time.monotonic() - since_s)
                if final is not None or self._closed.is_set():
                    raise (final or error) from None
                pause_s = shortened(self.policy.pause_s(failures))
                log.info("%s; trying again", error)
                self._closed.wait(pause_s)
