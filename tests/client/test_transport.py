"""Faults, caused by real gRPC servers that answer as Triton does when it is away, busy, slow or broken."""

import socket
import threading
import time

import grpc
import numpy as np
import pytest

from dfclient import Detector, Failed, transport
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

QUEUE_FULL = (grpc.StatusCode.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size")
QUEUE_TIMEOUT = (grpc.StatusCode.UNAVAILABLE, "Request timeout expired")
AWAY = (grpc.StatusCode.UNAVAILABLE, "Socket closed")
STUB_DIED = (
    grpc.StatusCode.INTERNAL,
    "Failed to process the request(s), message: Stub process 'toy_0_0' is not healthy.",
)
STOPPING = (grpc.StatusCode.UNAVAILABLE, "Request for unknown model: 'toy' version 10 is not at ready state")
BAD_REQUEST = (grpc.StatusCode.INVALID_ARGUMENT, "WAVEFORM holds NaN")
WINDOW = np.full(16000, 0.25, np.float32)

RETRIED = [
    (QUEUE_FULL, ServerBusy),
    (QUEUE_TIMEOUT, ServerBusy),
    (AWAY, ServerUnavailable),
    (STUB_DIED, ServerUnavailable),
    (STOPPING, ServerUnavailable),
]

pytestmark = pytest.mark.usefixtures("impatient")


def on_infer(fault, until=10**9):
    """A fault for the first `until` inferences."""
    return lambda number, name, request: fault if name == "ModelInfer" and number <= until else None


@pytest.mark.parametrize(("fault", "kind"), RETRIED)
def test_a_passing_fault_is_waited_out(faulty_server, fault, kind):
    server = faulty_server(on_infer(fault, until=3))
    with Detector(server.url, "toy") as detector:
        assert detector.score(WINDOW, 16000).score == pytest.approx(0.25)
    assert server.triton.calls["ModelInfer"] == 4


@pytest.mark.parametrize(("fault", "kind"), RETRIED)
def test_a_lasting_fault_ends_in_one_clear_line(faulty_server, fault, kind):
    server = faulty_server(on_infer(fault))
    with Detector(server.url, "toy") as detector, pytest.raises(kind) as caught:
        detector.score(WINDOW, 16000)
    assert server.triton.calls["ModelInfer"] == transport.ATTEMPTS[kind]
    assert f"(tried {transport.ATTEMPTS[kind]} times)" in str(caught.value)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_deadline_is_set_and_slow_answers_are_tried_twice(faulty_server):
    enough = threading.Event()
    server = faulty_server(lambda number, name, request: enough.wait(20) and None if name == "ModelInfer" else None)
    with (
        Detector(server.url, "toy", timeout_s=0.3) as detector,
        pytest.raises(ServerSlow, match=r"no answer within 0\.3 s"),
    ):
        detector.score(WINDOW, 16000)
    enough.set()
    assert server.triton.calls["ModelInfer"] == 2


def test_a_refusal_is_never_repeated_and_stays_its_clips_own(faulty_server):
    loud = np.full(16000, 0.5, np.float32)

    def refuse_loud(number, name, request):
        bad = name == "ModelInfer" and np.frombuffer(request.raw_input_contents[0], np.float32)[0] == 0.5
        return BAD_REQUEST if bad else None

    server = faulty_server(refuse_loud)
    clips = [(WINDOW, 16000), (loud, 16000), (WINDOW, 16000)]
    with Detector(server.url, "toy") as detector:
        first, second, third = detector.score_many(clips)
        assert isinstance(second, Failed)
        assert isinstance(second.error, RequestRefused)
        assert "WAVEFORM holds NaN" in str(second.error)
        assert first.score == third.score == pytest.approx(0.25)
        with pytest.raises(RequestRefused):
            detector.score(loud, 16000)
    assert server.triton.calls["ModelInfer"] == 4


def test_results_before_the_server_died_are_kept(faulty_server):
    server = faulty_server(lambda number, name, request: AWAY if name == "ModelInfer" and number > 5 else None)
    found = []
    with Detector(server.url, "toy") as detector, pytest.raises(ServerUnavailable):
        for result in detector.score_many([(WINDOW, 16000)] * 20, concurrency=1):
            found.append(result)
    assert len(found) == 5


def test_a_server_that_comes_back_is_found_again(faulty_server, monkeypatch):
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0.25)
    monkeypatch.setattr(transport, "MAX_DELAY_S", 1.0)
    server = faulty_server()
    with Detector(server.url, "toy") as detector:
        detector.score(WINDOW, 16000)
        server.stop()
        threading.Timer(0.7, lambda: faulty_server(port=server.port)).start()
        assert detector.score(WINDOW, 16000).score == pytest.approx(0.25)


def test_requests_in_flight_are_bounded_and_used(faulty_server):
    server = faulty_server(lambda number, name, request: time.sleep(0.01))
    long = np.full(16000 * 40, 0.25, np.float32)
    with Detector(server.url, "toy") as detector:
        server.triton.most_in_flight = 0
        assert len(detector.score(long, 16000, mode="sliding", concurrency=5).windows) == 40
    assert server.triton.most_in_flight == 5


def test_backoff_grows_is_capped_and_jittered(faulty_server, monkeypatch):
    waits = []
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 1.0)
    monkeypatch.setattr(transport, "MAX_DELAY_S", 4.0)
    server = faulty_server(on_infer(QUEUE_FULL))
    with Detector(server.url, "toy") as detector:
        monkeypatch.setattr(detector._transport._closed, "wait", waits.append)
        with pytest.raises(ServerBusy):
            detector.score(WINDOW, 16000)
    for wait, full in zip(waits, [1, 2, 4, 4, 4, 4, 4], strict=True):
        assert full / 2 <= wait <= full
    assert len(set(waits)) == len(waits)


def test_nobody_listens():
    with socket.socket() as probe:  # bound and not listening: nobody else can take the port
        probe.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ServerUnavailable, match=r"no Triton server answers at .*dfdeploy serve"):
            Detector(url, "toy")


def test_the_newest_version_by_number_is_pinned(faulty_server):
    asked = []
    server = faulty_server(lambda number, name, request: asked.append(getattr(request, "model_version", None)))
    with Detector(server.url, "toy") as detector:
        detector.score(WINDOW, 16000)
        assert detector.card.version == "10"
    assert asked[-1] == "10"


def test_an_unknown_model_lists_what_there_is(faulty_server):
    gone = (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'x' is not found")
    server = faulty_server(lambda number, name, request: gone if name == "ModelMetadata" else None)
    with pytest.raises(ModelNotFound, match=r"no model 'x' .*it serves: toy"):
        Detector(server.url, "x")


def test_a_server_that_hides_its_index_still_says_not_found(faulty_server):
    answers = {
        "ModelMetadata": (grpc.StatusCode.NOT_FOUND, "unknown model"),
        "RepositoryIndex": (grpc.StatusCode.PERMISSION_DENIED, "restricted"),
    }
    server = faulty_server(lambda number, name, request: answers.get(name))
    with pytest.raises(ModelNotFound, match="keeps its list"):
        Detector(server.url, "x")


def test_empty_tensors_are_a_broken_server_not_a_score(faulty_server):
    """What this Triton answers when its Python has numpy 2."""
    server = faulty_server()
    server.triton.ModelInfer = lambda request: transport.triton.service_pb2.ModelInferResponse(model_name="toy")
    with Detector(server.url, "toy") as detector, pytest.raises(ContractError, match=r"expected LOGITS \(1, 2\)"):
        detector.score(WINDOW, 16000)


def test_an_unforeseen_status_is_named_and_not_repeated(faulty_server):
    server = faulty_server(on_infer((grpc.StatusCode.DATA_LOSS, "the disk is gone")))
    with Detector(server.url, "toy") as detector, pytest.raises(ServerError, match="the disk is gone"):
        detector.score(WINDOW, 16000)
    assert server.triton.calls["ModelInfer"] == 1


def test_closing_ends_waits_and_calls(faulty_server, monkeypatch):
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 60.0)
    monkeypatch.setattr(transport, "MAX_DELAY_S", 60.0)
    server = faulty_server(on_infer(QUEUE_FULL))
    detector = Detector(server.url, "toy")
    threading.Timer(0.3, detector.close).start()
    with pytest.raises(ServerError):
        detector.score(WINDOW, 16000)
    with pytest.raises(ServerError, match="closed"):
        detector.score(WINDOW, 16000)


@pytest.mark.parametrize("url", ["localhost", "http://localhost:8001", "localhost:", "localhost:port", "a b:1", ""])
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match="HOST:PORT"):
        Detector(url, "toy")
