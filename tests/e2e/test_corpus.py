"""301 real clips through export, server, client and evaluation equal what the original code answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dfclient import Detector, Score
from dfclient.__main__ import main as dfclient
from dfcontract import windows
from dfdeploy.embedded import Server
from dfeval.__main__ import main as dfeval

COLUMNS = {"aasist": "AASIST", "aasist_l": "AASIST-L"}


@pytest.fixture(scope="module")
def golden(corpus: Path) -> dict[str, dict[str, str]]:
    with (corpus.parent / "golden/aasist_corpus_logits.csv").open() as file:
        return {row["utt_id"]: row for row in csv.DictReader(file)}


def logits_of(golden: dict[str, dict[str, str]], model: str, utt_ids: list[str]) -> np.ndarray:
    """(clips, 2): spoof, bona fide."""
    columns = [f"{COLUMNS[model]}_logit_{label}" for label in ("spoof", "bonafide")]
    return np.array([[float(golden[utt_id][column]) for column in columns] for utt_id in utt_ids])


@pytest.mark.parametrize("model", COLUMNS)
def test_both_logits_of_every_tenth_clip(
    aasist_server: Server, corpus: Path, golden: dict[str, dict[str, str]], model: str
) -> None:
    """Eight requests in flight, so that the server forms batches as they come. The walk below has all clips' scores."""
    paths = sorted((corpus / "flac").rglob("*.flac"))[::10]
    with Detector(aasist_server.grpc_url, model) as detector:
        scores = list(detector.score_many(paths, concurrency=8))
    answered = np.array([score.windows[0].logits for score in scores if isinstance(score, Score)])
    np.testing.assert_allclose(answered, logits_of(golden, model, [path.stem for path in paths]), atol=1e-4)
    np.testing.assert_array_equal([score.score for score in scores if isinstance(score, Score)], answered[:, 1])


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_a_clip_does_not_depend_on_its_batch(aasist_server: Server, corpus: Path, batch: int) -> None:
    import tritonclient.grpc as triton

    paths = sorted((corpus / "flac").rglob("*.flac"))[:: 301 // batch][:batch]
    cut = [windows.cut(soundfile.read(path, dtype="float32")[0], 0, 64_600) for path in paths]

    def logits(rows: list[np.ndarray]) -> np.ndarray:
        tensor = triton.InferInput("WAVEFORM", [len(rows), 64_600], "FP32")
        tensor.set_data_from_numpy(np.stack(rows))
        return client.infer("aasist", [tensor]).as_numpy("LOGITS")

    with triton.InferenceServerClient(aasist_server.grpc_url) as client:
        alone = np.concatenate([logits([row]) for row in cut])
        np.testing.assert_allclose(logits(cut), alone, atol=1e-5)
        np.testing.assert_allclose(logits(cut[::-1]), alone[::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "eer"), [("aasist", 0.3456), pytest.param("aasist_l", 0.3553, marks=pytest.mark.slow)]
)
def test_the_walk_from_folder_to_eer(
    aasist_server: Server,
    corpus: Path,
    golden: dict[str, dict[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    eer: float,
) -> None:
    out = tmp_path / "scores.csv"
    score = ["score", str(corpus / "flac"), "--model", model, "--url", aasist_server.grpc_url, "--out", str(out)]
    assert dfclient(score) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 301
    bonafide = logits_of(golden, model, [row["utt_id"] for row in rows])[:, 1]
    np.testing.assert_allclose([float(row["score"]) for row in rows], bonafide, atol=1e-4)
    assert {row["weights"] for row in rows} == {"pretrained"}
    assert len({row["checkpoint_sha256"] for row in rows}) == 1
    capsys.readouterr()

    evaluate = ["metrics", str(out), "--protocol", str(corpus / "protocol.csv"), "--protocol-format", "csv"]
    assert dfeval(evaluate) == 0
    assert f"{eer:.2%}" in capsys.readouterr().out
    assert dfeval([*evaluate, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["pooled"]["eer"] == pytest.approx(eer, abs=5e-5)
    assert (figures["n_bonafide"], figures["n_spoof"], figures["matching"]["n_matched"]) == (130, 171, 301)
