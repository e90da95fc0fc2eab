"""An answer of another graph than the card's is never written down under the card's name."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tiny_repository
from dfclient import Clip, Detector, ModelChanged, score_set
from dfcontract import score_file
from dfdeploy.embedded import Server
from dfexport.card import identity

W = 16000


def test_an_answer_of_the_cards_graph_is_a_score(memory_triton):
    memory_triton.identity = -(2**63)
    with Detector(model="toy", transport=memory_triton) as detector:
        assert detector.card.identity == -(2**63)
        result = detector.score(np.full(W, 0.25, np.float32), W)
    assert result.score == 0.25
    assert result.as_dict()["identity"] == str(-(2**63))


@pytest.mark.parametrize(("card", "answer"), [(7, 8), (7, 0), (0, 7)])
def test_another_graph_ends_it_and_is_not_tried_again(memory_triton, card, answer):
    """0 stands for a graph or card from before there were identities."""
    memory_triton.identity = card
    detector = Detector(model="toy", transport=memory_triton)
    memory_triton.identity = answer
    words = f"expected answers with identity {card or 'none'}, found {answer or 'none'}"
    with pytest.raises(ModelChanged, match=words):
        detector.score(np.zeros(W, np.float32), W)
    with pytest.raises(ModelChanged, match=words):
        detector.infer(np.zeros((1, W), np.float32))
    assert memory_triton.n_inferred == 2


def test_a_set_keeps_the_rows_that_it_has(memory_triton, recording, tmp_path):
    """Even where one recording's windows come from both models."""
    clips = [Clip(str(recording(f"{number}.wav", 4.0, seed=number)), str(number)) for number in range(4)]
    memory_triton.identity = 7
    detector = Detector(model="toy", transport=memory_triton)
    memory_triton.exchange_after = (10, 8)  # in the midst of the third recording
    with pytest.raises(ModelChanged):
        score_set(detector, clips, tmp_path / "s.csv", windowing=detector.windowing("sliding"), concurrency=1)
    rows = score_file.read(tmp_path / "s.csv")
    assert [row["utt_id"] for row in rows] == ["0", "1"]
    assert {row["identity"] for row in rows} == {"7"}
    assert not (tmp_path / "s.errors.csv").exists()


OTHER_SHA256 = "cd" * 32
OTHER_IDENTITY = identity(tiny_repository.SPEC, OTHER_SHA256, "onnx", "fp32", reduce_range=False)


def exchanged(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model name, version and window, from another checkpoint."""
    monkeypatch.setitem(tiny_repository.DIGESTS, "tiny", OTHER_SHA256)
    monkeypatch.setitem(tiny_repository.IDENTITIES, "tiny", OTHER_IDENTITY)
    shutil.rmtree(models)
    tiny_repository.write(models)


def test_a_server_that_comes_back_with_another_checkpoint_gives_no_row_and_no_window(tmp_path, speechlike, monkeypatch):
    """A real one, restarted in the midst of a set and of a live stream."""
    models = tiny_repository.write(tmp_path / "models")
    server = Server(models)
    server.start()
    try:
        with Detector(server.grpc_url, "tiny") as detector, detector.stream(hop_s=0.1) as live:
            assert detector.card.identity == tiny_repository.IDENTITIES["tiny"] != 0
            results = detector.score_many(((speechlike(W, W, seed), W) for seed in range(400)), concurrency=2)
            before = [next(results) for _ in range(20)]
            live.send(speechlike(2 * W, W))
            assert len(list(live)) == 11
            server.stop()
            exchanged(models, monkeypatch)
            server.start()
            with pytest.raises(ModelChanged, match=f"found {OTHER_IDENTITY}"):
                before.extend(results)
            live.send(speechlike(W, W))
            with pytest.raises(ModelChanged, match=f"found {OTHER_IDENTITY}"):
                list(live)
            assert len(live.windows) == 11
        with Detector(server.grpc_url, "tiny") as detector:
            assert detector.card.checkpoint_sha256 == OTHER_SHA256
            assert detector.score(speechlike(W, W), W).as_dict()["identity"] == str(OTHER_IDENTITY)
    finally:
        server.stop()
    assert len(before) < 100
