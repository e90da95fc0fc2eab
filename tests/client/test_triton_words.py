"""Triton's own words, caused on a real server: what `transport.TRITON_WORDS` takes them for."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

import tiny_repository
from dfclient import Detector, ModelNotFound, RequestRefused, ServerBusy, ServerUnavailable
from dfclient.errors import ServerError
from dfclient.retry import NO_RETRIES
from dfclient.transport import TRITON_WORDS, Transport
from dfdeploy.embedded import Server

W = tiny_repository.WINDOW_SAMPLES
WINDOW = np.full(W, 0.25, np.float32)


@pytest.fixture
def transport(tiny_server):
    made = Transport(tiny_server.grpc_url)
    yield made
    made.close()


def raw_request(model: str, *, shape: list[int], content: bytes, name: str = "WAVEFORM", **parameters):
    datatype = "UINT8" if name == "AUDIO" else "FP32"
    request = service_pb2.ModelInferRequest(model_name=model)
    for key, value in parameters.items():
        setattr(request.parameters[key], "string_param" if isinstance(value, str) else "bool_param", value)
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(content)
    return request


def test_an_unknown_model_or_version(transport):
    for model, version in (("nope", ""), ("tiny", "7")):
        with pytest.raises(ModelNotFound, match=f"no model '{model}'"):
            transport.infer(model, version, WINDOW)
        with pytest.raises(ModelNotFound):
            transport.model_info(model, version)


def test_a_request_that_is_refused(transport):
    for window in (WINDOW[:5], np.full(W, np.nan, np.float32)):
        with pytest.raises(RequestRefused):
            transport.infer("tiny", "", window)
    with pytest.raises(ServerError):
        transport.infer("tiny_live", "", WINDOW)


def test_a_stream_that_did_not_begin(tiny_server, transport):
    with grpc.insecure_channel(tiny_server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = raw_request("tiny_live", shape=[4], content=bytes(4), name="AUDIO", sequence_id="x")
        (response,) = stub.ModelStreamInfer(iter([request]))
    error = transport.error("INVALID_ARGUMENT", response.error_message, "tiny_live")
    assert isinstance(error, ServerUnavailable), response.error_message
    assert "has forgotten the stream" in str(error)


def test_anothers_malformed_request_costs_nobody_else_a_row(tiny_server):
    """It fails the whole batch that it is in, well-formed requests too; those are sent again."""
    enough = threading.Event()

    def misbehave() -> None:
        with grpc.insecure_channel(tiny_server.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not enough.is_set():
                for shape in ([0, W], [1 << 32, W]):
                    with pytest.raises(grpc.RpcError):
                        stub.ModelInfer(raw_request("tiny", shape=shape, content=WINDOW.tobytes()))
                    enough.wait(0.02)  # a busy machine would let no batch of the others' through

    windows = np.stack([np.full(W, value, np.float32) for value in np.linspace(-1, 1, 100)])
    with Detector(tiny_server.grpc_url, "tiny") as detector:
        _, expected = detector.infer(windows)
    hostile = threading.Thread(target=misbehave)
    hostile.start()
    spoilt = 0
    try:
        with Detector(tiny_server.grpc_url, "tiny") as detector:
            _, scores = detector.infer(windows, concurrency=8)
        unretried = Transport(tiny_server.grpc_url)
        while not spoilt:  # pytest's limit ends it
            with ThreadPoolExecutor(8) as pool:
                for future in [pool.submit(unretried.infer, "tiny", "", window) for window in windows]:
                    if (error := future.exception()) is not None:
                        assert isinstance(error, ServerBusy), error
                        assert "another client's malformed request" in str(error)
                        spoilt += 1
        unretried.close()
    finally:
        enough.set()
        hostile.join()
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_full_queue(tmp_path):
    models = tiny_repository.write(tmp_path / "models")
    for path in models.glob("tiny/configs/*.pbtxt"):
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        policy = config.dynamic_batching.default_queue_policy
        policy.max_queue_size = 1
        config.dynamic_batching.max_queue_delay_microseconds = 200_000
        path.write_text(text_format.MessageToString(config))
    with Server(models) as server:
        transport = Transport(server.grpc_url)
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(transport.infer, "tiny", "", WINDOW) for _ in range(8)]
            errors = [error for error in (future.exception() for future in futures) if error is not None]
        transport.close()
        assert errors
        assert {type(error) for error in errors} == {ServerBusy}
        assert "Exceeds maximum queue size" in str(errors[0])


def test_a_server_that_stops_says_nothing_that_ends_a_run(tmp_path):
    """Every answer until the connection is refused is one that is tried again; unary and live."""
    models = tiny_repository.write(tmp_path / "models")
    seen: set[tuple[type, str]] = set()
    stopped = threading.Event()

    def ask(question) -> None:
        while not stopped.is_set():
            try:
                question()
            except ServerError as error:
                seen.add((type(error), str(error)))

    with Server(models) as server:
        transport = Transport(server.grpc_url)

        def stream() -> None:
            request = raw_request(
                "tiny_live", shape=[4], content=bytes(4), name="AUDIO",
                sequence_id=str(time.monotonic_ns()), sequence_start=True, sequence_end=True,
            )  # fmt: skip
            for response in stub.ModelStreamInfer(iter([request])):
                if response.error_message:
                    raise transport.error("INVALID_ARGUMENT", response.error_message, "tiny_live")

        with grpc.insecure_channel(server.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            def stream_or_error() -> None:
                try:
                    stream()
                except grpc.RpcError as error:
                    raise transport.error(error.code().name, error.details(), "tiny_live") from None

            questions = [lambda: transport.infer("tiny", "1", WINDOW)] * 6
            questions += [lambda: transport.model_info("tiny"), transport.model_states, stream_or_error]
            threads = [threading.Thread(target=ask, args=(question,)) for question in questions]
            for thread in threads:
                thread.start()
            time.sleep(0.3)
            server.stop()
            stopped.set()
            for thread in threads:
                thread.join()
        transport.close()
    kinds = {kind for kind, _ in seen}
    assert kinds == {ServerUnavailable}, seen
    said = {words for words in TRITON_WORDS if any(words in text for _, text in seen)}
    assert said & {"has no available versions", "Server is stopping", "Server not ready"}


@pytest.mark.parametrize("way", ["stop", "kill -9"])
def test_a_restart_costs_no_row(tmp_path, way):
    def restart() -> None:
        if way == "kill -9":
            os.kill(server.pid, signal.SIGKILL)
        server.stop()
        server.start()

    models = tiny_repository.write(tmp_path / "models")
    server = Server(models)
    server.start()
    try:
        with Detector(server.grpc_url, "tiny") as detector:
            restarting = threading.Thread(target=restart)
            results = []
            for number, result in enumerate(detector.score_many((WINDOW, W) for _ in range(3000))):
                if number == 500:
                    restarting.start()
                results.append(result)
            restarting.join()
        assert {type(result).__name__ for result in results} == {"Score"}
        assert len({result.score for result in results}) == 1
    finally:
        server.stop()


def test_the_words_are_those_of_one_table():
    source = (Path(__file__).resolve().parents[2] / "client/dfclient").rglob("*.py")
    for path in source:
        if path.name != "transport.py":
            text = path.read_text()
            assert not [words for words in TRITON_WORDS if words in text and words != "unknown model"], path


@pytest.mark.parametrize("retry", [NO_RETRIES])
def test_a_detector_of_a_model_that_is_none(tiny_server, retry):
    with pytest.raises(ServerError, match="no detector itself: name 'tiny'"):
        Detector(tiny_server.grpc_url, "tiny_live", retry=retry)
