"""The wire: the one module that imports tritonclient and gRPC, and the one place where their errors become ours.

Calls are synchronous and may be made from many threads over one channel. Each has a deadline; those that can succeed
later (server away, busy or slow) are repeated a bounded number of times with exponential backoff and jitter.
"""

import logging
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

from dfclient.errors import (
    ContractError,
    InputError,
    ModelNotFound,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)

ATTEMPTS = {ServerUnavailable: 6, ServerBusy: 8, ServerSlow: 2}  # waiting about 6 s, 16 s, and once more the deadline
FIRST_DELAY_S = 0.25
MAX_DELAY_S = 4.0

CHANNEL_OPTIONS = [
    ("grpc.enable_http_proxy", 0),  # http_proxy is for the web; it would catch even loopback
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's own reconnect pause grows to two minutes: longer than our last attempt
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

# For live streams (live_wire.py): tritonclient's own can't be told from one another, nor ended.
InferRequest: Any = ModelInferRequest
Stub: Any = GRPCInferenceServiceStub

Answer = TypeVar("Answer")

OVERLOADED = "{url}: the server is overloaded ({details}): try later, with a lower concurrency, or with more instances"

# What gRPC's status or Triton's words mean to us; the first that fits wins. A cause with a space is in the words.
CAUSES: tuple[tuple[str, type[ServerError], str], ...] = (
    (
        "Stub process",
        ServerUnavailable,
        "{url}: the process that runs model {model!r} has died: `dfdeploy serve` restarts it, others need a restart",
    ),
    (
        "maximum queue size",
        ServerBusy,
        OVERLOADED,
    ),
    ("as many as this model takes", ServerBusy, "{url}: {details}"),
    ("begin a new one with the START", ServerUnavailable, "{url}: the server has forgotten the stream"),
    ("must specify the START flag", ServerUnavailable, "{url}: the server has forgotten the stream"),
    (
        "timeout expired",
        ServerBusy,
        OVERLOADED,
    ),
    # Said of a model it serves, too, while the server stops or starts.
    ("not at ready state", ServerUnavailable, "{url}: model {model!r} is being loaded or unloaded ({details})"),
    ("unknown model", ModelNotFound, "{url}: no model {model!r} ({details})"),
    ("NOT_FOUND", ModelNotFound, "{url}: no model {model!r} ({details})"),
    (
        "UNAVAILABLE",
        ServerUnavailable,
        "no Triton server answers at {url} ({details}): start one with `dfdeploy serve`, "
        "or give another's gRPC address (HOST:PORT, usually port 8001)",
    ),
    (
        "DEADLINE_EXCEEDED",
        ServerSlow,
        "{url}: no answer within {timeout_s:g} s: the server is slow or overloaded: allow more time (--timeout), "
        "or a lower concurrency",
    ),
    ("INVALID_ARGUMENT", RequestRefused, "the server refused the request: {details}"),
    ("INTERNAL", RequestRefused, "the server failed on the request: {details}"),
)
OTHER_CAUSE = (ServerError, "{url}: the server answered an error: {details}")

log = logging.getLogger("dfclient")


@dataclass(frozen=True)
class ModelInfo:
    """What the server says of one model version."""

    name: str
    version: str
    parameters: Mapping[str, str]
    outputs: frozenset[str]


@dataclass(frozen=True)
class ModelState:
    """A row of the server's repository index."""

    name: str
    version: str
    state: str  # READY, UNAVAILABLE, LOADING, UNLOADING, or "" for a model with no loadable version
    reason: str


class Transport:
    """One channel to one Triton server. `url` is HOST:PORT of its gRPC endpoint."""

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):\d{1,5}", url):
            raise InputError(f"expected the server's gRPC address as HOST:PORT such as 127.0.0.1:8001, found {url!r}")
        if not timeout_s > 0:
            raise InputError(f"expected a timeout above 0 s, found {timeout_s}")
        self.url = url
        self.timeout_s = timeout_s
        self._closed = threading.Event()
        self._client = triton.InferenceServerClient(url, channel_args=CHANNEL_OPTIONS)

    def close(self) -> None:
        """Cancel what is in flight, end every wait between attempts, close the channel."""
        self._closed.set()
        self._client.close()

    def is_live(self) -> bool:
        """Whether the server process answers at all (one attempt)."""
        return bool(self._attempt("", lambda: self._client.is_server_live(client_timeout=self.timeout_s)))

    def is_ready(self) -> bool:
        """Whether the server says that all its models are ready (one attempt)."""
        return bool(self._attempt("", lambda: self._client.is_server_ready(client_timeout=self.timeout_s)))

    def is_model_ready(self, model: str, version: str = "") -> bool:
        """Whether one model is ready; the server as a whole may not be, after a broken update beside it."""
        return bool(
            self._attempt(model, lambda: self._client.is_model_ready(model, version, client_timeout=self.timeout_s))
        )

    def model_states(self) -> list[ModelState]:
        """The server's repository index."""
        index = self._call("", lambda: self._client.get_model_repository_index(client_timeout=self.timeout_s))
        return [ModelState(entry.name, entry.version, entry.state, entry.reason) for entry in index.models]

    def model_info(self, model: str, version: str = "") -> ModelInfo:
        """Configuration of a model; without a version, of the newest one that is served."""
        metadata = self._call(
            model, lambda: self._client.get_model_metadata(model, version, client_timeout=self.timeout_s)
        )
        version = version or max(metadata.versions, key=int, default="")
        config = self._call(
            model, lambda: self._client.get_model_config(model, version, client_timeout=self.timeout_s)
        ).config
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        return ModelInfo(model, version, parameters, frozenset(output.name for output in config.output))

    def infer(self, model: str, version: str, window: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
        """Logits (2,) and score of one window (window_samples,); one request, for the server to batch with others."""
        waveform = triton.InferInput("WAVEFORM", [1, len(window)], "FP32")
        waveform.set_data_from_numpy(window[np.newaxis])
        answer = self._call(
            model,
            lambda: self._client.infer(model, [waveform], model_version=version, client_timeout=self.timeout_s),
        )
        try:
            logits, score = answer.as_numpy("LOGITS"), answer.as_numpy("SCORE")
        except ValueError:  # shapes without data: what a Python backend with numpy 2 answers on Triton 24.10
            raise ContractError(
                f"model {model!r} answers empty tensors: the server's own environment needs numpy < 2"
            ) from None
        shapes = tuple(None if array is None else array.shape for array in (logits, score))
        if shapes != ((1, 2), (1, 1)):
            raise ContractError(
                f"model {model!r}: expected LOGITS (1, 2) and SCORE (1, 1), the server answered {shapes}"
            )
        if not (np.isfinite(logits).all() and np.isfinite(score).all()):
            raise RequestRefused(f"model {model!r} answered NaN or infinity for this audio")
        return logits[0], float(score[0, 0])

    def _call(self, model: str, request: Callable[[], Answer]) -> Answer:
        """`request`, repeated while it may still succeed."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(model, request)
            except (ServerUnavailable, ServerBusy, ServerSlow) as error:
                attempts = ATTEMPTS[type(error)]
                if attempt >= attempts or self._closed.is_set():
                    times = "once" if attempt == 1 else f"{attempt} times"
                    raise type(error)(f"{error} (tried {times})") from None
                delay_s = min(FIRST_DELAY_S * 2 ** (attempt - 1), MAX_DELAY_S) * random.uniform(0.5, 1.0)  # noqa: S311
                log.info("%s; attempt %d of %d in %.1f s", error, attempt + 1, attempts, delay_s)
                self._closed.wait(delay_s)

    def _attempt(self, model: str, request: Callable[[], Answer]) -> Answer:
        try:
            return request()
        except InferenceServerException as error:
            raise self._mapped(error, model) from None
        except ValueError as error:  # gRPC's "Cannot invoke RPC on closed channel!"
            if self._closed.is_set():
                raise ServerError("the connection was closed") from None
            raise ServerError(f"{self.url}: {error}") from None

    def _mapped(self, error: Any, model: str) -> ServerError:
        """Our error for one of tritonclient's, which carries gRPC's status and Triton's words."""
        if self._closed.is_set():
            return ServerError("the connection was closed")
        return self.cause((error.status() or "").removeprefix("StatusCode."), str(error.message()), model)

    def cause(self, status: str, message: str, model: str) -> ServerError:
        """Our error for gRPC's status and Triton's words."""
        details = " ".join(message.split())
        kind, text = next(
            ((kind, text) for cause, kind, text in CAUSES if cause == status or (" " in cause and cause in details)),
            OTHER_CAUSE,
        )
        return kind(text.format(url=self.url, model=model, timeout_s=self.timeout_s, details=_short(details) or status))


def _short(details: str) -> str:
    """gRPC's cause without its list of addresses and sub-errors."""
    if "http1.x" in details:
        return "it speaks HTTP, not gRPC"
    causes = ("Connection refused", "Connection reset", "Name or service not known", "Socket closed")
    return next((cause for cause in causes if cause in details), details[:300])
