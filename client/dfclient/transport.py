"""Triton over gRPC: the one module that imports tritonclient and gRPC, and where their errors become ours.

Each method makes one attempt, and may be called from many threads. `retry.py` repeats what can succeed later.
"""

import itertools
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from dfclient.calls import (
    DEFAULT_TIMEOUT_S,
    ModelInfo,
    ModelState,
    Outputs,
    StreamRequest,
    WindowAnswer,
    numbers_of,
)
from dfclient.credentials import Credentials
from dfclient.errors import (
    AccessDenied,
    ContractError,
    InputError,
    ModelNotFound,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)
from dfcontract.errors import ErrorCode, split_code
from dfcontract.live import AUDIO
from dfcontract.tensors import BEGIN_BY, IDENTITY, LOGITS, OUTPUTS, SCORE, TIMEOUT, WAVEFORM, Samples

CHANNEL_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.enable_http_proxy", 0),  # http_proxy is for the web; it would catch even loopback
    ("grpc.use_local_subchannel_pool", 1),  # else a new transport inherits the pause after another one's failure
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's own reconnect pause grows to two minutes: longer than our patience
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# Of a deadline, what a request may spend in the server's queue: it is refused there, and not answered for nobody, nor
# cancelled by its deadline, which can end a server of release 24.10.
QUEUE_SHARE = 0.8
# A call that is cancelled can end a server of release 24.10; closing waits so long for those in flight.
CLOSE_WAIT_S = 5.0
LAST_PORT = 65_535

Answer = TypeVar("Answer")


class Cause(NamedTuple):
    """What an answer of the server means to us: the error's class, and its text for the user."""

    kind: type[ServerError]
    text: str


OVERLOADED = Cause(
    ServerBusy,
    "{url}: the server is overloaded ({details}): try later, with a lower concurrency, or with more instances",
)
LOADING = Cause(ServerUnavailable, "{url}: model {model!r} is being loaded or unloaded ({details})")
STREAM_FORGOTTEN = Cause(ServerUnavailable, "{url}: the server has forgotten the stream ({details})")
NOT_FOUND = Cause(ModelNotFound, "{url}: no model {model!r} ({details})")
REFUSED = Cause(RequestRefused, "the server refused the request: {details}")
# A request's own name, the same in the client's errors, in the proxy's log and in the backend's.
ID_HEADER = "x-request-id"
DENIED = Cause(
    AccessDenied,
    "{url}: access denied ({details}): the server, or the proxy before it, wants a key (DFSERVE_API_KEY in the "
    "environment) or a client's certificate (--cert, --key)",
)
NOT_TRUSTED = Cause(
    AccessDenied,
    "{url}: the server's certificate is not trusted ({details}): name who vouches for it (--ca FILE), and check that "
    "the address is the one that it is made out to",
)
CONNECTION_LOST = Cause(ServerUnavailable, "{url}: the connection was lost ({details})")

# Errors of our own backends come with a code. DETECTOR_FAILED is not here: the detector's own error follows it.
CODES = {
    ErrorCode.BAD_WAVEFORM: REFUSED,
    ErrorCode.TOO_LATE: OVERLOADED,
    ErrorCode.BAD_STREAM: REFUSED,
    ErrorCode.NO_SUCH_STREAM: STREAM_FORGOTTEN,
    ErrorCode.TOO_MANY_STREAMS: Cause(ServerBusy, "{url}: {details}"),
    ErrorCode.TOO_FAR_AHEAD: REFUSED,
    ErrorCode.DETECTOR_BUSY: OVERLOADED,
    ErrorCode.SERVER_STOPPING: LOADING,
}

# Triton's own words, as release 24.10 says them (tests/client/test_triton_words.py causes them); the first that fits
# counts. They come before the status, which is often the same for different things, and which streams lack.
TRITON_WORDS = {
    "Stub process": Cause(
        ServerUnavailable,
        "{url}: the process that runs model {model!r} has died: `dfdeploy serve` restarts it, others need a restart",
    ),
    "maximum queue size": OVERLOADED,
    "timeout expired": OVERLOADED,  # in the server's queue
    # Never the fault of a request of one row: somebody else's malformed one was in the same batch.
    "max allowed is": Cause(
        ServerBusy, "{url}: another client's malformed request has spoilt the batch of this one ({details})"
    ),
    "must specify the START flag": STREAM_FORGOTTEN,
    # A server that starts or stops says these of models that it serves.
    "not at ready state": LOADING,
    "has no available versions": LOADING,
    "Server not ready": LOADING,
    "Server exiting": LOADING,
    "Server is stopping": LOADING,
    "unknown model": NOT_FOUND,
    # gRPC's own: TLS that does not come about.
    "CERTIFICATE_VERIFY_FAILED": NOT_TRUSTED,
    "Hostname Verification Check failed": NOT_TRUSTED,
    "CERTIFICATE_REQUIRED": DENIED,
    "BAD_CERTIFICATE": DENIED,
    "UNKNOWN_CA": DENIED,
    # A proxy's answers in HTTP: a limit of the client's rate, or of a request's size.
    "http2 header with status: 429": OVERLOADED,
    "http2 header with status: 413": REFUSED,
    # gRPC's own, of a connection that broke.
    "RST_STREAM": CONNECTION_LOST,
    "Stream removed": CONNECTION_LOST,
}
STATUSES = {
    "NOT_FOUND": NOT_FOUND,
    "UNAVAILABLE": Cause(
        ServerUnavailable,
        "no Triton server answers at {url} ({details}): start one with `dfdeploy serve`, "
        "or give another's gRPC address (HOST:PORT, usually port 8001)",
    ),
    "DEADLINE_EXCEEDED": Cause(
        ServerSlow,
        "{url}: no answer within {timeout_s:g} s: the server is slow or overloaded: allow more time (--timeout), "
        "or a lower concurrency",
    ),
    "CANCELLED": CONNECTION_LOST,
    "INVALID_ARGUMENT": REFUSED,
    "UNAUTHENTICATED": DENIED,
    "PERMISSION_DENIED": DENIED,
    "INTERNAL": Cause(RequestRefused, "the server failed on the request: {details}"),
}
OTHER = Cause(ServerError, "{url}: the server answered an error: {details}")


class Transport:
    """One channel to one Triton server; keeps the protocol `calls.TritonCalls`.

    Args:
        url: HOST:PORT of its gRPC endpoint.
        timeout_s: deadline of each call but `stream`.
        credentials: TLS and keys; none unless given.

    Raises:
        InputError: an address, a deadline or credentials that can be none.
    """

    def __init__(
        self, url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, credentials: Credentials | None = None
    ) -> None:
        address = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):(\d{1,5})", url)
        if not address or not 0 < int(address[2]) <= LAST_PORT or not url.isprintable():
            raise InputError(f"expected the server's gRPC address as HOST:PORT such as 127.0.0.1:8001, found {url!r}")
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise InputError(f"expected a timeout in seconds, above 0 and finite, found {timeout_s}")
        self.url = url
        self.timeout_s = timeout_s
        credentials = credentials or Credentials()
        self._channel = credentials.channel(url, CHANNEL_OPTIONS)
        self._metadata = credentials.metadata
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._ids = map(f"{secrets.token_hex(6)}-{{}}".format, itertools.count(1))  # next() of it is atomic
        self._in_flight = 0
        self._is_closed = False
        self._changed = threading.Condition()  # guards the two above

    def close(self) -> None:
        """Take no more calls, let those in flight end (for a while), close the channel."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: self._in_flight == 0, CLOSE_WAIT_S)
        self._channel.close()

    def is_live(self) -> bool:
        """Whether the server's process answers."""
        return bool(self._call("", self._stub.ServerLive, pb.ServerLiveRequest()).live)

    def is_ready(self) -> bool:
        """Whether the server says that all its models are ready."""
        return bool(self._call("", self._stub.ServerReady, pb.ServerReadyRequest()).ready)

    def is_model_ready(self, model: str, version: str = "") -> bool:
        """Whether one model is ready."""
        request = pb.ModelReadyRequest(name=model, version=version)
        return bool(self._call(model, self._stub.ModelReady, request).ready)

    def model_states(self) -> list[ModelState]:
        """The server's repository index."""
        index = self._call("", self._stub.RepositoryIndex, pb.RepositoryIndexRequest())
        return [ModelState(entry.name, entry.version, entry.state, entry.reason) for entry in index.models]

    def model_info(self, model: str, version: str = "") -> ModelInfo:
        """A model's configuration; without a version, of the newest one that is served.

        Raises:
            InputError: a name that no model can have.
        """
        if not model.isprintable():  # bytes of a command line that are no text, for one, which no message can carry
            raise InputError(f"expected a model's name, found {model!r}")
        metadata = pb.ModelMetadataRequest(name=model, version=version)
        versions = self._call(model, self._stub.ModelMetadata, metadata).versions
        version = version or max(versions, key=int, default="")
        request = pb.ModelConfigRequest(name=model, version=version)
        parameters = self._call(model, self._stub.ModelConfig, request).config.parameters
        return ModelInfo(model, version, {key: value.string_value for key, value in parameters.items()})

    def infer(self, model: str, version: str, window: Samples) -> WindowAnswer:
        """Answer to one window (window_samples,).

        Raises:
            ContractError: the answer is no detector's.
        """
        request = pb.ModelInferRequest(model_name=model, model_version=version, id=next(self._ids))
        request.inputs.add(name=WAVEFORM, datatype="FP32", shape=[1, len(window)])
        request.raw_input_contents.append(window.astype("<f4").tobytes())
        may_wait_us = round(QUEUE_SHARE * self.timeout_s * 1e6)
        request.parameters[TIMEOUT].int64_param = may_wait_us
        request.parameters[BEGIN_BY].int64_param = time.time_ns() // 1000 + may_wait_us
        numbers = numbers_of(model, _outputs_of(model, self._call(model, self._stub.ModelInfer, request)), OUTPUTS)
        return WindowAnswer(numbers[LOGITS].astype("f4"), float(numbers[SCORE][0]), int(numbers[IDENTITY][0]))

    def stream(self, model: str, requests: Iterator[StreamRequest]) -> "GrpcStream":
        """Begin a call of a live model; a thread of gRPC's takes the requests."""
        request_id = next(self._ids)  # of all that a stream sends
        try:
            messages = (_stream_request(model, request_id, request) for request in requests)
            call = self._stub.ModelStreamInfer(messages, metadata=(*self._metadata, (ID_HEADER, request_id)))
        except ValueError as error:
            raise self._unusable(error) from None
        return GrpcStream(call, model, lambda status, details: self.error(status, details, model, request_id))

    def error(self, status: str, message: str, model: str, request_id: str = "") -> ServerError:
        """Our error for what the server said: by our own code, else by Triton's words, else by gRPC's status."""
        code, words = split_code(message)
        if code is ErrorCode.DETECTOR_FAILED:  # why is what follows: a code of the detector's, or Triton's words
            code, words = split_code(words)
        details = " ".join(words.split())
        by_words = next((cause for text, cause in TRITON_WORDS.items() if text in details), None)
        cause = (CODES.get(code) if code else None) or by_words or STATUSES.get(status, OTHER)
        text = cause.text.format(url=self.url, model=model, timeout_s=self.timeout_s, details=_short(details) or status)
        # Whoever asks the server's operator about it needs its name; the others are tried again, under another one.
        named = f" [request {request_id}]" if request_id and cause.kind in (RequestRefused, ServerSlow) else ""
        return cause.kind(text + named)

    def _call(self, model: str, method: Callable[..., Answer], request: Any) -> Answer:
        with self._changed:
            if self._is_closed:
                raise ServerError("the connection was closed")
            self._in_flight += 1
        request_id = getattr(request, "id", "")
        metadata = (*self._metadata, (ID_HEADER, request_id)) if request_id else self._metadata
        try:
            return method(request, timeout=self.timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise self._mapped(error, model, request_id) from None
        except ValueError as error:  # gRPC's "Cannot invoke RPC on closed channel!"
            raise self._unusable(error) from None
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _mapped(self, error: Any, model: str, request_id: str) -> ServerError:
        if self._is_closed:
            return ServerError("the connection was closed")
        return self.error(error.code().name, error.details() or "", model, request_id)

    def _unusable(self, error: ValueError) -> ServerError:
        return ServerError("the connection was closed" if self._is_closed else f"{self.url}: {error}")


class GrpcStream:
    """A live stream's call: answers and errors as they come, until the server has ended it."""

    def __init__(self, call: Any, model: str, error_of: Callable[[str, str], ServerError]) -> None:
        self._call, self._model, self._error_of = call, model, error_of

    def __iter__(self) -> Iterator[Outputs | ServerError]:
        """Each answer's outputs; an error ends the stream, not the call, unless it is the last."""
        try:
            for response in self._call:
                if response.error_message:
                    yield self._error_of("INVALID_ARGUMENT", response.error_message)
                else:
                    yield self._outputs_or_error(response.infer_response)
        except grpc.RpcError as error:
            status: Any = error
            yield self._error_of(status.code().name, status.details() or "")

    def cancel(self) -> None:
        """End the call at once."""
        self._call.cancel()

    def _outputs_or_error(self, response: Any) -> Outputs | ServerError:
        try:
            return _outputs_of(self._model, response)
        except ContractError as error:
            return error


def _outputs_of(model: str, response: Any) -> Outputs:
    """An answer's tensors by name; ContractError where one came without its content."""
    names, contents = [output.name for output in response.outputs], response.raw_output_contents
    if len(names) != len(contents):
        raise ContractError(
            f"model {model!r}: expected the contents of {len(names)} tensors, found {len(contents)}: the answer was "
            "damaged; see the server's log"
        )
    return dict(zip(names, contents, strict=True))


def _stream_request(model: str, request_id: str, message: StreamRequest) -> Any:
    request = pb.ModelInferRequest(model_name=model, id=request_id)
    for key, value in message.parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(request.parameters[key], kind, value)
    request.inputs.add(name=AUDIO, datatype="UINT8", shape=[len(message.audio)])
    request.raw_input_contents.append(message.audio)
    return request


def _short(details: str) -> str:
    """gRPC's cause without its list of addresses and sub-errors."""
    if "http1.x" in details:
        return "it speaks HTTP, not gRPC"
    if "WRONG_VERSION_NUMBER" in details:
        return "it speaks no TLS, which --tls, --ca, --cert or --server-name asked for"
    if "Socket closed" in details:
        return "the connection was closed: the server has gone, or wants TLS, --tls, or a client's --cert and --key"
    causes = ("Connection refused", "Connection reset", "Name or service not known")
    return next((cause for cause in causes if cause in details), details[:300])
