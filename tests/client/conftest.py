"""Recordings made by rule, and gRPC servers that fail on purpose."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import soundfile
from tritonclient.grpc import service_pb2 as pb

from dfclient.calls import ModelInfo, ModelState, WindowAnswer
from dfcontract.card import ModelCard


def _speechlike(n_samples: int, rate_hz: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / rate_hz
    tones = sum(
        rng.uniform(0.02, 0.1) * np.sin(2 * np.pi * rng.uniform(100, 3000) * time_s + rng.uniform(0, 6))
        for _ in range(6)
    )
    return (tones * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)


@pytest.fixture(scope="session")
def speechlike():
    """speechlike(n_samples, rate_hz, seed=1) → (n_samples,) float32 of tones below 3 kHz."""
    return _speechlike


@pytest.fixture
def recording(tmp_path):
    """recording(name, seconds=1.0, rate_hz=16000, channels=1, seed=1) → path of a file of that name in tmp_path."""

    def make(name: str, seconds: float = 1.0, rate_hz: int = 16000, channels: int = 1, seed: int = 1):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = [_speechlike(round(seconds * rate_hz), rate_hz, seed + c) for c in range(channels)]
        soundfile.write(path, np.stack(samples, 1), rate_hz)
        return path

    return make


@pytest.fixture
def card():
    """card(**changes) → a ModelCard of a made-up detector with 16,000-sample windows."""

    def make(**changes: str) -> ModelCard:
        parameters = {
            "sample_rate_hz": "16000",
            "window_samples": "16000",
            "weights": "custom",
            "checkpoint_sha256": "ab" * 32,
            "threshold": "0.25",
            "threshold_source": "a made-up set",
        }
        return ModelCard.from_parameters("toy", "1", {**parameters, **changes})

    return make


class FaultyTriton(grpc.GenericRpcHandler):
    """Answers as Triton does, except for what `fault(number, name, request)` makes it do to the n-th ModelInfer.

    It may return (status, details) to abort with, or None to answer. Logits are minus and plus the window's mean.
    """

    def __init__(self, fault) -> None:
        self.fault = fault
        self.identity = 0  # of its card
        self.answers_as = 0  # identity of its answers
        self.states = [("toy", "10", "READY", "")]
        self.calls: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []  # of each call
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()

    def service(self, details):
        self.headers.append(dict(details.invocation_metadata))
        name = details.method.rsplit("/", 1)[1]
        request_type = getattr(pb, f"{name}Request")
        response_type = getattr(pb, f"{name}Response")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(name, request, context),
            request_deserializer=request_type.FromString,
            response_serializer=response_type.SerializeToString,
        )

    def _answer(self, name, request, context):
        with self._lock:
            self.calls[name] += 1
            number = self.calls[name]
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            fault = self.fault(number, name, request)
            if fault is not None:
                context.abort(*fault)
            return getattr(self, name)(request)
        finally:
            with self._lock:
                self.in_flight -= 1

    def ModelMetadata(self, request):  # noqa: N802
        return pb.ModelMetadataResponse(name=request.name, versions=["1", "10", "9"])

    def ModelConfig(self, request):  # noqa: N802
        answer = pb.ModelConfigResponse()
        values = {"sample_rate_hz": "16000", "window_samples": "16000", "weights": "custom"}
        values |= {"identity": str(self.identity), "checkpoint_sha256": "ab" * 32, "precision": "fp32"}
        for key, value in values.items():
            answer.config.parameters[key].string_value = value
        return answer

    def RepositoryIndex(self, request):  # noqa: N802
        answer = pb.RepositoryIndexResponse()
        for name, version, state, reason in self.states:
            answer.models.add(name=name, version=version, state=state, reason=reason)
        return answer

    def ServerLive(self, request):  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request):  # noqa: N802
        return pb.ServerReadyResponse(ready=all(state == "READY" for _, _, state, _ in self.states))

    def ModelReady(self, request):  # noqa: N802
        return pb.ModelReadyResponse(
            ready=(request.name, "READY") in [(name, state) for name, _, state, _ in self.states]
        )

    def ModelInfer(self, request):  # noqa: N802
        mean = np.frombuffer(request.raw_input_contents[0], np.float32).mean()
        answer = pb.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
        for name, values in (("LOGITS", [-mean, mean]), ("SCORE", [mean])):
            answer.outputs.add(name=name, datatype="FP32", shape=[1, len(values)])
            answer.raw_output_contents.append(np.array(values, np.float32).tobytes())
        if self.answers_as:
            answer.outputs.add(name="IDENTITY", datatype="INT64", shape=[1, 1])
            answer.raw_output_contents.append(np.array([self.answers_as], np.int64).tobytes())
        return answer


@pytest.fixture
def faulty_server():
    """faulty_server(fault, port=0, credentials=None) → a started real gRPC server.

    It has `.url`, `.port`, `.triton` (what it was asked), `.stop()`; with credentials it speaks TLS.
    """
    servers = []

    def start(fault=lambda number, name, request: None, port: int = 0, credentials=None) -> SimpleNamespace:
        triton = FaultyTriton(fault)
        server = grpc.server(
            ThreadPoolExecutor(32), handlers=[triton], options=[("grpc.max_receive_message_length", -1)]
        )
        address = f"127.0.0.1:{port}"
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        servers.append(server)
        return SimpleNamespace(url=f"127.0.0.1:{port}", port=port, triton=triton, stop=lambda: server.stop(0).wait())

    yield start
    for server in servers:
        server.stop(0)


class MemoryTriton:
    """Keeps `dfclient.calls.TritonCalls` without any connection; a window's score is its mean."""

    url, timeout_s = "memory", 60.0

    def __init__(self) -> None:
        self.identity = self.n_inferred = 0
        self.exchange_after: tuple[int, int] | None = None  # after so many windows, that identity
        self.is_closed = False
        self.others: dict[str, dict[str, str]] = {}  # further models: their parameters

    def is_live(self) -> bool:
        return True

    def is_ready(self) -> bool:
        return True

    def is_model_ready(self, model: str, version: str = "") -> bool:
        return True

    def model_states(self) -> list[ModelState]:
        return [ModelState(name, "1", "READY", "") for name in ("toy", *self.others)]

    def model_info(self, model: str, version: str = "") -> ModelInfo:
        if model in self.others:
            return ModelInfo(model, "1", self.others[model])
        parameters = {"sample_rate_hz": "16000", "window_samples": "16000", "weights": "custom"}
        return ModelInfo(model, "1", {**parameters, "identity": str(self.identity)})

    def infer(self, model: str, version: str, window: np.ndarray) -> WindowAnswer:
        self.n_inferred += 1
        if self.exchange_after is not None and self.n_inferred > self.exchange_after[0]:
            self.identity = self.exchange_after[1]
        mean = float(window.mean())
        return WindowAnswer(np.array([-mean, mean], np.float32), mean, self.identity)

    def stream(self, model, requests):
        raise NotImplementedError

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def memory_triton() -> MemoryTriton:
    """A transport that answers in memory."""
    return MemoryTriton()
