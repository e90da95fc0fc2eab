"""Faults, caused by real gRPC servers that answer as Triton does when it is away, busy, slow or broken."""

import socket
import threading
import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from dfclient import Credentials, Detector, Failed, RetryPolicy
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
from dfclient.retry import NO_RETRIES

S = grpc.StatusCode
QUEUE_FULL = (S.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size")
QUEUE_TIMEOUT = (S.UNAVAILABLE, "Request timeout expired")
SPOILT = (S.INTERNAL, "batch size 16007 for 'toy_0_0', max allowed is 8")
AWAY = (S.UNAVAILABLE, "Socket closed")
STUB_DIED = (S.INTERNAL, "Failed to process the request(s), message: Stub process 'toy_0_0' is not healthy.")
LOADING = (S.UNAVAILABLE, "Request for unknown model: 'toy' version 10 is not at ready state")
UNLOADED = (S.NOT_FOUND, "Request for unknown model: 'toy' has no available versions")
STOPPING = (S.UNAVAILABLE, "Server is stopping, scheduler for model has stopped accepting new inference requests")
CODED_STOPPING = (S.UNAVAILABLE, "DF_SERVER_STOPPING: begin the stream anew when it is back")
BROKEN_OFF = (S.INTERNAL, "Received RST_STREAM with error code 2")
CODED_BUSY = (S.UNAVAILABLE, "tiny: DF_DETECTOR_BUSY: its queue stayed full for 3 s")
BAD_REQUEST = (S.INVALID_ARGUMENT, "WAVEFORM holds NaN")
CODED_BAD_REQUEST = (S.INTERNAL, "DF_BAD_WAVEFORM: expected finite samples, found a maximum queue size of NaNs")
WINDOW = np.full(16000, 0.25, np.float32)

RETRIED = [
    (QUEUE_FULL, ServerBusy),
    (QUEUE_TIMEOUT, ServerBusy),
    (SPOILT, ServerBusy),
    (CODED_BUSY, ServerBusy),
    (AWAY, ServerUnavailable),
    (STUB_DIED, ServerUnavailable),
    (LOADING, ServerUnavailable),
    (UNLOADED, ServerUnavailable),
    (STOPPING, ServerUnavailable),
    (CODED_STOPPING, ServerUnavailable),
    (BROKEN_OFF, ServerUnavailable),
]
PATIENT = RetryPolicy(first_pause_s=0.001, max_pause_s=0.01)
IMPATIENT = RetryPolicy(wait_s=0.05, busy_s=0.05, first_pause_s=0.001, max_pause_s=0.01)


def on_infer(fault, until=10**9):
    """A fault for the first `until` inferences."""
    return lambda number, name, request: fault if name == "ModelInfer" and number <= until else None


@pytest.mark.parametrize(("fault", "kind"), RETRIED)
def test_a_passing_fault_is_waited_out(faulty_server, fault, kind):
    server = faulty_server(on_infer(fault, until=3))
    with Detector(server.url, "toy", retry=PATIENT) as detector:
        assert detector.score(WINDOW, 16000).score == pytest.approx(0.25)
    assert server.triton.calls["ModelInfer"] == 4


@pytest.mark.parametrize(("fault", "kind"), RETRIED)
def test_a_lasting_fault_ends_in_one_clear_line(faulty_server, fault, kind):
    server = faulty_server(on_infer(fault))
    with Detector(server.url, "toy", retry=IMPATIENT) as detector, pytest.raises(kind) as caught:
        detector.score(WINDOW, 16000)
    assert server.triton.calls["ModelInfer"] >= 2
    assert "(tried again for 0 s)" in str(caught.value)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "DF_" not in str(caught.value)


@pytest.mark.parametrize(("fault", "kind"), RETRIED)
def test_without_patience_each_call_is_made_once(faulty_server, fault, kind):
    server = faulty_server(on_infer(fault))
    with Detector(server.url, "toy", retry=NO_RETRIES) as detector, pytest.raises(kind) as caught:
        detector.score(WINDOW, 16000)
    assert server.triton.calls["ModelInfer"] == 1
    assert "tried" not in str(caught.value)


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


def test_a_request_may_not_spend_its_whole_deadline_in_the_queue(faulty_server):
    """Else the server answers for nobody, and the deadline cancels a call that it works for."""
    asked = []
    server = faulty_server(lambda number, name, request: asked.append(request) if name == "ModelInfer" else None)
    before_us = time.time_ns() // 1000
    with Detector(server.url, "toy", timeout_s=5.0) as detector:
        detector.score(WINDOW, 16000)
    (parameters,) = [request.parameters for request in asked]
    assert parameters["timeout"].int64_param == 4_000_000
    assert before_us <= parameters["begin_by_unix_us"].int64_param - 4_000_000 <= time.time_ns() // 1000


@pytest.mark.parametrize("refusal", [BAD_REQUEST, CODED_BAD_REQUEST])
def test_a_refusal_is_never_repeated_and_stays_its_clips_own(faulty_server, refusal):
    loud = np.full(16000, 0.5, np.float32)

    def refuse_loud(number, name, request):
        bad = name == "ModelInfer" and np.frombuffer(request.raw_input_contents[0], np.float32)[0] == 0.5
        return refusal if bad else None

    server = faulty_server(refuse_loud)
    clips = [(WINDOW, 16000), (loud, 16000), (WINDOW, 16000)]
    with Detector(server.url, "toy") as detector:
        first, second, third = detector.score_many(clips)
        assert isinstance(second, Failed)
        assert isinstance(second.error, RequestRefused)
        assert "NaN" in str(second.error)
        assert first.score == third.score == pytest.approx(0.25)
        with pytest.raises(RequestRefused):
            detector.score(loud, 16000)
    assert server.triton.calls["ModelInfer"] == 4


def test_results_before_the_server_died_are_kept(faulty_server):
    server = faulty_server(lambda number, name, request: AWAY if name == "ModelInfer" and number > 5 else None)
    found = []
    with Detector(server.url, "toy", retry=IMPATIENT) as detector, pytest.raises(ServerUnavailable):
        for result in detector.score_many([(WINDOW, 16000)] * 20, concurrency=1):
            found.append(result)
    assert len(found) == 5


def test_a_server_that_comes_back_is_found_again(faulty_server):
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


def test_nobody_listens():
    with socket.socket() as probe:  # bound and not listening: nobody else can take the port
        probe.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ServerUnavailable, match=r"no Triton server answers at .*dfdeploy serve"):
            Detector(url, "toy", retry=IMPATIENT)


def test_a_server_that_is_not_there_yet_is_waited_for(faulty_server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threading.Timer(0.3, lambda: faulty_server(port=port)).start()
    with Detector(f"127.0.0.1:{port}", "toy", retry=RetryPolicy(wait_s=20)) as detector:
        assert detector.score(WINDOW, 16000).score == pytest.approx(0.25)


def test_the_newest_version_by_number_is_pinned(faulty_server):
    asked = []
    server = faulty_server(lambda number, name, request: asked.append(getattr(request, "model_version", None)))
    with Detector(server.url, "toy") as detector:
        detector.score(WINDOW, 16000)
        assert detector.card.version == "10"
    assert asked[-1] == "10"


GONE = (S.NOT_FOUND, "Request for unknown model: 'x' is not found")


def test_an_unknown_model_lists_what_there_is_and_is_asked_for_once(faulty_server):
    server = faulty_server(lambda number, name, request: GONE if name == "ModelMetadata" else None)
    with pytest.raises(ModelNotFound, match=r"no model 'x' .*it serves: toy$"):
        Detector(server.url, "x")
    assert server.triton.calls["ModelMetadata"] == 1


def test_a_version_that_is_not_there_is_no_reason_to_wait(faulty_server):
    server = faulty_server(lambda number, name, request: GONE if name == "ModelMetadata" else None)
    with pytest.raises(ModelNotFound):
        Detector(server.url, "toy", version="11")


def test_a_model_that_cannot_be_loaded_says_why(faulty_server):
    server = faulty_server(lambda number, name, request: GONE if name == "ModelMetadata" else None)
    server.triton.states = [("x", "1", "UNAVAILABLE", "Internal: no such operator")]
    with pytest.raises(ModelNotFound, match="it can't be loaded: Internal: no such operator"):
        Detector(server.url, "x")


@pytest.mark.parametrize("state", [("toy", "10", "LOADING", ""), ("toy", "", "UNAVAILABLE", "unloaded")])
def test_a_model_on_its_way_is_waited_for(faulty_server, state):
    server = faulty_server(lambda number, name, request: UNLOADED if name == "ModelMetadata" and number < 4 else None)
    server.triton.states = [state]
    with Detector(server.url, "toy", retry=PATIENT) as detector:
        assert detector.card.version == "10"


def test_a_server_that_stops_is_not_believed_that_it_has_no_model(faulty_server):
    """It says so of each of its models, and of its index that it is not ready."""
    answers = {
        "ModelMetadata": (S.NOT_FOUND, "Request for unknown model: 'toy' is not found"),
        "RepositoryIndex": (S.UNAVAILABLE, "Server not ready"),
    }
    server = faulty_server(lambda number, name, request: answers.get(name) if number < 4 else None)
    with Detector(server.url, "toy", retry=PATIENT) as detector:
        assert detector.card.version == "10"


def test_a_server_that_hides_its_index_still_says_not_found(faulty_server):
    answers = {"ModelMetadata": GONE, "RepositoryIndex": (S.PERMISSION_DENIED, "restricted")}
    server = faulty_server(lambda number, name, request: answers.get(name))
    with pytest.raises(ModelNotFound, match="keeps its list"):
        Detector(server.url, "x")


@pytest.mark.parametrize("shapes", ["none", "empty", "two windows"])
def test_other_tensors_are_a_broken_server_not_a_score(faulty_server, shapes):
    """Empty ones are what a Python backend answers where its NumPy is not the one it was built for."""
    server = faulty_server()

    def answer(request):
        made = pb.ModelInferResponse(model_name="toy")
        for name in ("LOGITS", "SCORE") if shapes != "none" else ():
            made.outputs.add(name=name, datatype="FP32", shape=[1, 1])
            made.raw_output_contents.append(b"" if shapes == "empty" else bytes(16))
        return made

    server.triton.ModelInfer = answer
    with Detector(server.url, "toy") as detector, pytest.raises(ContractError, match=r"expected LOGITS FP32 \[2\]"):
        detector.score(WINDOW, 16000)


def test_an_unforeseen_status_is_named_and_not_repeated(faulty_server):
    server = faulty_server(on_infer((grpc.StatusCode.DATA_LOSS, "the disk is gone")))
    with Detector(server.url, "toy") as detector, pytest.raises(ServerError, match="the disk is gone"):
        detector.score(WINDOW, 16000)
    assert server.triton.calls["ModelInfer"] == 1


def test_closing_ends_waits_and_calls(faulty_server):
    server = faulty_server(on_infer(QUEUE_FULL))
    detector = Detector(server.url, "toy", retry=RetryPolicy(busy_s=600, first_pause_s=600, max_pause_s=600))
    threading.Timer(0.3, detector.close).start()
    with pytest.raises(ServerError):
        detector.score(WINDOW, 16000)
    with pytest.raises(ServerError, match="closed"):
        detector.score(WINDOW, 16000)


def test_closing_lets_calls_in_flight_end(faulty_server):
    """A cancelled call can end a server of release 24.10."""
    began, go_on = threading.Event(), threading.Event()

    def hold(number, name, request):
        if name == "ModelInfer":
            began.set()
            go_on.wait(10)

    server = faulty_server(hold)
    detector, scores = Detector(server.url, "toy"), []
    scoring = threading.Thread(target=lambda: scores.append(detector.score(WINDOW, 16000).score))
    scoring.start()
    began.wait(10)
    closing = threading.Thread(target=detector.close)
    closing.start()
    go_on.set()
    scoring.join(60)
    closing.join(60)
    assert scores == [pytest.approx(0.25)]


@pytest.mark.parametrize("url", ["localhost", "http://localhost:8001", "localhost:", "localhost:port", "a b:1", ""])
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match="HOST:PORT"):
        Detector(url, "toy")


def test_names_that_are_no_text_are_refused_in_one_line(faulty_server):
    """Bytes of a command line that are no UTF-8 come as surrogates, which no message can carry."""
    with pytest.raises(InputError, match="expected a model's name, found"):
        Detector(faulty_server().url, "\udcff")
    with pytest.raises(InputError, match="certificate is made out to, found"):
        Credentials(tls=True, server_name="\udcff")
