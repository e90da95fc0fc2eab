"""Several servers as one: real gRPC servers, some of them away, stopping, full, back again or at another address."""

import socket
from collections import Counter

import grpc
import numpy as np
import pytest

from dfclient import Detector, RetryPolicy, Server, replicas
from dfclient.__main__ import main
from dfclient.errors import InputError, ModelChanged, ModelNotFound, ServerUnavailable
from dfclient.replicas import Replicas, addresses_of
from dfclient.retry import NO_RETRIES
from dfclient.transport import Transport

S = grpc.StatusCode
AWAY = (S.UNAVAILABLE, "Socket closed")
FULL = (S.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size")
UNKNOWN = (S.NOT_FOUND, "Request for unknown model: 'toy' is not found")
STOPPING = (S.UNAVAILABLE, "Server is stopping, scheduler for model has stopped accepting new inference requests")
PATIENT = RetryPolicy(wait_s=20.0, first_pause_s=0.01, max_pause_s=0.05)
WINDOWS = np.linspace(-0.5, 0.5, 60, dtype=np.float32)[:, np.newaxis].repeat(16000, axis=1)


def url_of(servers):
    return ",".join(server.url for server in servers)


def on_infer(fault):
    return lambda number, name, request: fault if name == "ModelInfer" else None


def assert_right(detector):
    _, scores = detector.infer(WINDOWS, concurrency=4)
    np.testing.assert_allclose(scores, WINDOWS[:, 0], atol=1e-6)


def test_calls_go_in_turn(faulty_server):
    servers = [faulty_server() for _ in range(3)]
    with Detector(url_of(servers), "toy", retry=NO_RETRIES) as detector:
        assert_right(detector)
    counts = [server.triton.calls["ModelInfer"] for server in servers]
    assert sum(counts) == len(WINDOWS)
    assert min(counts) >= len(WINDOWS) // 3 - 4


@pytest.mark.parametrize("fault", [AWAY, FULL, UNKNOWN, STOPPING])
def test_what_one_does_not_take_goes_to_the_next_at_once(faulty_server, fault):
    """Without any retry policy: it is the same attempt."""
    servers = [faulty_server(on_infer(fault)), faulty_server(), faulty_server()]
    with Detector(url_of(servers), "toy", retry=NO_RETRIES) as detector:
        assert_right(detector)
    asked = servers[0].triton.calls["ModelInfer"]
    assert 1 <= asked <= 10  # and then it rests


def test_one_that_dies_and_comes_back_works_again(faulty_server, monkeypatch):
    monkeypatch.setattr(replicas, "LONGEST_REST_S", 0.05)
    monkeypatch.setattr(replicas, "FIRST_REST_S", 0.01)
    first, second = faulty_server(), faulty_server()
    with Detector(url_of([first, second]), "toy", retry=PATIENT) as detector:
        assert_right(detector)
        first.stop()
        assert_right(detector)
        again = faulty_server(port=first.port)
        for _ in range(200):
            assert_right(detector)
            if again.triton.calls["ModelInfer"]:
                break
        assert again.triton.calls["ModelInfer"]


def test_where_none_answers_the_last_error_is_told_and_waited_out(faulty_server):
    servers = [faulty_server(on_infer(AWAY)), faulty_server(on_infer(AWAY))]
    with Detector(url_of(servers), "toy", retry=NO_RETRIES) as detector, pytest.raises(ServerUnavailable) as caught:
        detector.score(WINDOWS[0], 16000)
    assert any(server.url in str(caught.value) for server in servers)
    servers = [
        faulty_server(lambda number, name, request: AWAY if name == "ModelInfer" and number <= 3 else None)
        for _ in range(2)
    ]
    with Detector(url_of(servers), "toy", retry=PATIENT) as detector:
        assert_right(detector)


def test_a_model_that_none_has_is_not_found(faulty_server):
    def unknown(number, name, request):
        return UNKNOWN if name == "ModelMetadata" else None

    servers = [faulty_server(unknown) for _ in range(2)]
    for server in servers:
        server.triton.states = [("other", "1", "READY", "")]
    with pytest.raises(ModelNotFound, match="it serves: other"):
        Detector(url_of(servers), "toy", retry=PATIENT)


def test_one_that_serves_another_checkpoint_ends_the_run(faulty_server):
    servers = [faulty_server(), faulty_server()]
    for identity, server in enumerate(servers, 1):
        server.triton.identity = server.triton.answers_as = identity
    with Detector(url_of(servers), "toy", retry=NO_RETRIES) as detector, pytest.raises(ModelChanged, match="or one of"):
        detector.infer(WINDOWS)


def test_a_name_is_looked_up_again_when_a_server_fails(faulty_server, monkeypatch):
    first, second = faulty_server(), faulty_server()
    named = [first.url]
    asked = Counter()

    def addresses():
        asked["names"] += 1
        return list(named)

    monkeypatch.setattr(replicas, "LOOKUP_EVERY_S", 0.0)
    calls = Replicas("dns:///triton:8001", addresses, Transport)
    with Detector(model="toy", retry=PATIENT, transport=calls) as detector:
        assert_right(detector)
        assert asked["names"] == 1
        named[:] = [second.url]
        first.stop()
        assert_right(detector)
    calls.close()
    assert second.triton.calls["ModelInfer"] == len(WINDOWS)


def test_a_name_without_an_address_is_told(monkeypatch):
    with pytest.raises(ServerUnavailable, match="stands for no address"):
        Server("dns:///no-such-host.invalid:8001")
    found = [
        (2, 1, 6, "", ("10.0.0.2", 8001)),
        (10, 1, 6, "", ("fd00::1", 8001, 0, 0)),
        (2, 1, 6, "", ("10.0.0.1", 8001)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert addresses_of("dns:///triton:8001") == ["10.0.0.1:8001", "10.0.0.2:8001", "[fd00::1]:8001"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("a:8001,", "commas between"),
        ("a:8001,a:8001", "different addresses"),
        ("a:8001,b", "found 'b'"),
        ("dns:///a", "expected dns:///HOST:PORT"),
        ("dns://a:8001", "HOST:PORT"),
        ("dns:///a..b:8001", "expected a host's name, in parts of 1 to 63 characters, found 'a..b'"),
        (f"dns:///{'a' * 64}.b:8001", "expected a host's name"),
        ("dns:///\udcff:8001", "expected a host's name"),
        ("\udcff:8001", "HOST:PORT"),
        ("a:8001,\udcff:8001", "HOST:PORT"),
    ],
)
def test_addresses_that_can_be_none(url, words):
    with pytest.raises(InputError, match=words):
        Server(url)


def test_health_names_each_server(faulty_server, capsys):
    first, second = faulty_server(), faulty_server()
    assert main(["health", "--url", url_of([first, second])]) == 0
    out = capsys.readouterr().out
    assert first.url in out and second.url in out
    second.stop()
    assert main(["health", "--url", url_of([first, second])]) == 1
    captured = capsys.readouterr()
    assert first.url in captured.out
    assert f"no Triton server answers at {second.url}" in captured.err
