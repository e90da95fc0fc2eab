"""Servers for live streams, and a client of the bare wire protocol: what docs/live-protocol.md says, and no more."""

import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

import tiny_repository
from dfdeploy.embedded import Server

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
BRIEF_IDLE_TIMEOUT_S = 2.0
MAX_STREAMS = 1100


def limit(config_path: Path, *, max_streams: int, idle_timeout_s: float, places: int = 4 * MAX_STREAMS) -> None:
    config = text_format.Parse(config_path.read_text(), model_config_pb2.ModelConfig())
    config.parameters["max_streams"].string_value = str(max_streams)
    config.parameters["idle_timeout_s"].string_value = str(idle_timeout_s)
    config.sequence_batching.oldest.max_candidate_sequences = places
    config.sequence_batching.max_sequence_idle_microseconds = round(2e6 * idle_timeout_s)
    config_path.write_text(text_format.MessageToString(config))


@pytest.fixture(scope="session")
def live_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models; ``tiny_trained`` takes three streams, Triton twelve for it."""
    models = tiny_repository.write(tmp_path_factory.mktemp("live") / "models")
    limit(models / "tiny_live/config.pbtxt", max_streams=MAX_STREAMS, idle_timeout_s=60)
    limit(models / "tiny_trained_live/config.pbtxt", max_streams=3, idle_timeout_s=30, places=12)
    return models


@pytest.fixture(scope="session")
def brief_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that forgets a stream of ``tiny`` after 2 s of silence, for tests that keep silent."""
    models = tiny_repository.write(tmp_path_factory.mktemp("brief") / "models")
    limit(models / "tiny_live/config.pbtxt", max_streams=MAX_STREAMS, idle_timeout_s=BRIEF_IDLE_TIMEOUT_S)
    with Server(models) as server:
        yield server


@pytest.fixture(scope="session")
def live_server(live_models: Path) -> Iterator[Server]:
    with Server(live_models) as server:
        yield server


@dataclass
class BareStream:
    """One stream of the wire protocol, chunk by chunk."""

    call_of: object
    model: str
    sequence_id: str | int
    parameters: dict[str, str | int | bool]
    timeout_s: float | None = None
    requests: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    is_started: bool = False
    n_sent: int = 0

    def __post_init__(self) -> None:
        self.call = self.call_of(iter(self.requests.get, None), timeout=self.timeout_s)

    def send(self, audio: bytes, *, start: bool | None = None, end: bool = False) -> None:
        request = service_pb2.ModelInferRequest(model_name=f"{self.model}_live", id=str(self.n_sent))
        kind = "string_param" if isinstance(self.sequence_id, str) else "int64_param"
        setattr(request.parameters["sequence_id"], kind, self.sequence_id)
        is_start = not self.is_started if start is None else start
        request.parameters["sequence_start"].bool_param = is_start
        request.parameters["sequence_end"].bool_param = end
        for key, value in self.parameters.items() if is_start else ():
            kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
            setattr(request.parameters[key], kind, value)
        request.inputs.add(name="AUDIO", datatype="UINT8", shape=[len(audio)])
        request.raw_input_contents.append(audio)
        self.is_started = True
        self.n_sent += 1
        self.requests.put(request)

    def hang_up(self) -> None:
        self.requests.put(None)

    def answers(self) -> Iterator[dict[str, np.ndarray]]:
        """Each window's outputs; a RuntimeError with the server's words."""
        return (answer for answer, _ in self.answers_and_requests())

    def answers_and_requests(self) -> Iterator[tuple[dict[str, np.ndarray], str]]:
        """The same with the id of the request that is answered: its number."""
        kinds = {"INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}
        for response in self.call:
            if response.error_message:
                raise RuntimeError(response.error_message)
            infer = response.infer_response
            outputs = zip(infer.outputs, infer.raw_output_contents, strict=True)
            yield {output.name: np.frombuffer(raw, kinds[output.datatype]) for output, raw in outputs}, infer.id


@pytest.fixture(scope="session")
def bare(live_server: Server):
    """bare(sequence_id, model="tiny", **parameters) → a BareStream."""
    with bare_streams(live_server) as begin:
        yield begin


@pytest.fixture(scope="session")
def bare_brief(brief_server: Server):
    """The same on the server that forgets soon."""
    with bare_streams(brief_server) as begin:
        yield begin


@contextmanager
def bare_streams(server: Server):
    with grpc.insecure_channel(server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def begin(
            sequence_id: str | int, model: str = "tiny", timeout_s: float | None = None, **parameters: str | int | bool
        ) -> BareStream:
            return BareStream(stub.ModelStreamInfer, model, sequence_id, parameters, timeout_s)

        yield begin


@pytest.fixture(scope="session")
def whole(bare):
    """whole(id, chunks, model="tiny", **parameters) → the answers of a stream that ends with the last chunk."""

    def run(sequence_id: str | int, chunks: Iterable[bytes], model: str = "tiny", **parameters) -> list[dict]:
        stream = bare(sequence_id, model, **parameters)
        for chunk in chunks:
            stream.send(chunk)
        stream.send(b"", end=True)
        stream.hang_up()
        return list(stream.answers())

    return run


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """5.3 s of a person reading, (84,800,) float32 at 16 kHz."""
    import soundfile

    samples, rate_hz = soundfile.read(ROOT / "examples/human.flac", dtype="float32")
    assert rate_hz == 16_000
    return samples
