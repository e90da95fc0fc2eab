"""An answer that can't be a detector's is none of the recording's faults: asked for again, and never a score."""

import logging

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from dfclient import Detector
from dfclient.calls import WindowAnswer, check_score
from dfclient.errors import ContractError
from dfclient.transport import GrpcStream

WINDOW = np.full(16000, 0.25, np.float32)
DAMAGES = {
    "another score": lambda answer: answer._replace(score=answer.score + 0.01),
    "no number": lambda answer: answer._replace(score=float("nan")),
    "other logits": lambda answer: answer._replace(logits=np.zeros(2, np.float32)),
}


def damaged(triton, damage, n_times):
    """A server in memory whose first answers are damaged."""
    whole = triton.infer

    def infer(model: str, version: str, window: np.ndarray) -> WindowAnswer:
        answer = whole(model, version, window)
        return damage(answer) if triton.n_inferred <= n_times else answer

    triton.infer = infer
    return triton


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_it_is_asked_for_again(memory_triton, damage, caplog):
    caplog.set_level(logging.WARNING, logger="dfclient")
    with Detector(model="toy", transport=damaged(memory_triton, damage, 2)) as detector:
        assert detector.score(WINDOW, 16000).score == 0.25
    assert memory_triton.n_inferred == 3
    assert caplog.text.count("the answer was damaged; see the server's log; asking again") == 2


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_and_never_becomes_a_score(memory_triton, damage):
    with (
        Detector(model="toy", transport=damaged(memory_triton, damage, 10**9)) as detector,
        pytest.raises(ContractError, match=r"model 'toy': expected the SCORE .* found .*: the answer was damaged"),
    ):
        detector.score(WINDOW, 16000)
    assert memory_triton.n_inferred == 3


def test_what_a_score_follows_from_is_the_cards_word(card):
    logits = np.array([-1.0, 2.0], np.float32)
    check_score(card(score_kind="logit"), logits, 2.0)
    check_score(card(score_kind="log_softmax"), logits, 2.0)
    check_score(card(score_kind="softmax"), logits, float(1 / (1 + np.exp(-3.0))))
    for kind, score in {"logit": 0.95, "log_softmax": 2.001, "softmax": 2.0}.items():
        with pytest.raises(ContractError):
            check_score(card(score_kind=kind), logits, score)


class Forgetful:
    """Of a Triton's first answers the last tensor's content is lost."""

    def __init__(self, triton, n_times: int) -> None:
        self.whole, self.left = triton.ModelInfer, n_times

    def __call__(self, request):
        answer = self.whole(request)
        if self.left > 0:
            self.left -= 1
            del answer.raw_output_contents[-1]
        return answer


@pytest.mark.parametrize(("n_times", "is_scored"), [(2, True), (3, False)])
def test_a_tensor_without_its_content_is_damage_and_no_other_model(faulty_server, n_times, is_scored, caplog):
    """The last is IDENTITY: read as 0, it would end the run as if the model had been exchanged."""
    caplog.set_level(logging.WARNING, logger="dfclient")
    server = faulty_server()
    server.triton.identity = server.triton.answers_as = 7
    server.triton.ModelInfer = Forgetful(server.triton, n_times)
    words = "expected the contents of 3 tensors, found 2: the answer was damaged"
    with Detector(server.url, "toy") as detector:
        if is_scored:
            assert detector.score(WINDOW, 16000).score == 0.25
        else:
            with pytest.raises(ContractError, match=words):
                detector.score(WINDOW, 16000)
    assert caplog.text.count(f"{words}; see the server's log; asking again") == 2


def test_a_live_stream_s_is_an_error_of_the_stream():
    whole = pb.ModelStreamInferResponse()
    for name in ("LOGITS", "IDENTITY"):
        whole.infer_response.outputs.add(name=name)
        whole.infer_response.raw_output_contents.append(name.encode())
    cut = pb.ModelStreamInferResponse.FromString(whole.SerializeToString())
    del cut.infer_response.raw_output_contents[-1]
    first, second = GrpcStream([whole, cut], "toy_live", lambda status, details: ContractError(details))
    assert first == {"LOGITS": b"LOGITS", "IDENTITY": b"IDENTITY"}
    assert isinstance(second, ContractError)
    assert "model 'toy_live': expected the contents of 2 tensors, found 1" in str(second)
