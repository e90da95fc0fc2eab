"""`Server` against a real Triton: its models, its health, its detectors; and faults that it must not hide."""

import re

import grpc
import pytest

from dfclient import Detector, Health, InputError, ModelHealth, ModelNotFound, RetryPolicy, Server, ServerUnavailable
from dfclient.cli import report
from dfclient.errors import ServerError


@pytest.fixture(scope="module")
def server(tiny_server):
    with Server(tiny_server.grpc_url) as connected:
        yield connected


def test_models_are_cards_without_their_live_siblings(server):
    cards = server.models()
    assert [card.model for card in cards] == ["tiny", "tiny_trained"]
    assert [card.weights for card in cards] == ["random", "custom"]
    assert {card.version for card in cards} == {"1"}


def test_health_says_how_each_model_is(server):
    health = server.health()
    assert health.is_good
    assert [model.name for model in health.models] == ["tiny", "tiny_live", "tiny_trained", "tiny_trained_live"]
    assert all(model.is_ready for model in health.models)


def test_detectors_share_the_connection_and_leave_it_open(server, recording):
    path = recording("a.wav")
    with server.detector("tiny_trained") as detector:
        first = detector.score(path).score
    with server.detector("tiny_trained", version="1") as again:
        assert again.score(path).score == first
    with pytest.raises(ModelNotFound, match="it serves: tiny, tiny_trained"):
        server.detector("nope")
    assert server.models()


def test_a_detector_is_closed_with_its_server(tiny_server, recording):
    with Server(tiny_server.grpc_url) as server:
        detector = server.detector("tiny")
    with pytest.raises(ServerError, match="closed"):
        detector.score(recording("a.wav"))


def test_a_model_that_is_not_ready_is_bad_health(faulty_server):
    fake = faulty_server(
        lambda number, name, request: (
            (grpc.StatusCode.NOT_FOUND, "unknown model") if name == "ModelReady" and request.name == "broken" else None
        )
    )
    fake.triton.states = [("toy", "10", "READY", ""), ("broken", "1", "UNAVAILABLE", "no such file")]
    with Server(fake.url) as server:
        health = server.health()
        assert not health.is_good
        assert not health.is_ready
        assert [(model.name, model.is_ready, model.reason) for model in health.models] == [
            ("broken", False, "no such file"),
            ("toy", True, ""),
        ]
        assert [card.model for card in server.models()] == ["toy"]


def test_models_that_cant_be_used_say_why(memory_triton):
    card = {"sample_rate_hz": "16000", "window_samples": "16000", "weights": "custom"}
    memory_triton.others = {"whisper": {}, "worn": {**card, "calibration": "{"}}
    server = Server(transport=memory_triton)
    assert [card.model for card in server.models()] == ["toy"]
    assert server.unusable().keys() == {"whisper", "worn"}
    assert "it is no detector" in server.unusable()["whisper"]
    assert "the calibration in its card" in server.unusable()["worn"]


def test_another_transport_takes_the_place_of_grpc(memory_triton, speechlike):
    server = Server(transport=memory_triton)
    assert [card.model for card in server.models()] == ["toy"]
    assert server.detector("toy").score(speechlike(16000, 16000), 16000).score == pytest.approx(0, abs=0.01)
    assert Detector("nobody:1", "toy", transport=memory_triton).card.model == "toy"
    server.close()
    assert not memory_triton.is_closed


def test_nothing_is_asked_before_it_is_needed():
    with Server("127.0.0.1:1", retry=RetryPolicy(wait_s=0)) as server, pytest.raises(ServerUnavailable):
        server.health()
    with pytest.raises(InputError, match="HOST:PORT"):
        Server("nonsense")


def model(name, *, is_ready=True, reason=""):
    return ModelHealth(name, "1", is_ready, reason)


@pytest.mark.parametrize(
    ("health", "lines"),
    [
        (
            Health(True, True, (model("a"),)),
            ["all are ready; whether their answers are right, `dfdeploy check` proves"],
        ),
        (Health(True, True, ()), ["it holds no model: build one"]),
        (
            Health(True, False, (model("a"),)),
            ["it starts, stops, or has lost", "models that are ready answer meanwhile"],
        ),
        (
            Health(True, False, (model("a", is_ready=False, reason="no file"), model("b"))),
            [r"a version 1: it can't be loaded: build it again \(dfexport build a\)", "models that are ready"],
        ),
        (
            Health(True, False, (model("a_live", is_ready=False, reason="no file"),)),
            [r"a_live version 1: .*dfexport build a\).*; until then a takes no live streams"],
        ),
        (Health(True, False, (model("a", is_ready=False, reason="unloaded"),)), ["a version 1: it is being loaded or"]),
    ],
)
def test_what_is_the_matter_is_said_with_what_to_do(health, lines):
    found = report.advice(health)
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert re.match(expected, line), line
