"""A calibration's whole way: fitted on scores, built into the card, reported beside each raw score."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dfclient.__main__ import main as dfclient
from dfdeploy.embedded import Server
from dfeval.__main__ import main as dfeval
from dfexport.__main__ import main as dfexport
from dfexport.build import seeded
from dfexport.download import sha256_of
from dfexport.registry import find

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Somebody's own AASIST-L."""
    torch.save(dict(seeded(find("aasist_l")).state), tmp_path / "own.pth")
    return tmp_path / "own.pth"


@pytest.fixture
def calibration(tmp_path: Path, checkpoint: Path) -> Path:
    """Fitted on made-up scores that say which checkpoint they are of."""
    random = np.random.default_rng(3)
    values = np.concatenate([random.normal(1, 1, 60), random.normal(-1, 1, 80)])
    provenance = f"own,custom,{sha256_of(checkpoint)}"
    rows = [f"u{index},{value},{provenance}" for index, value in enumerate(values)]
    (tmp_path / "dev.csv").write_text("\n".join(["utt_id,score,model,weights,checkpoint_sha256", *rows]))
    labels = [f"u{index},{'bonafide' if index < 60 else 'spoof'}" for index in range(140)]
    (tmp_path / "protocol.csv").write_text("\n".join(["utt_id,label", *labels]))
    out = tmp_path / "calibration.json"
    fit = [
        "calibrate",
        "fit",
        str(tmp_path / "dev.csv"),
        "--protocol",
        str(tmp_path / "protocol.csv"),
        "--out",
        str(out),
    ]
    assert dfeval(fit) == 0
    return out


def test_a_fitted_calibration_reaches_the_score_row(tmp_path: Path, checkpoint: Path, calibration: Path) -> None:
    repository = tmp_path / "models"
    build = ["build", "aasist_l", "--as", "own", "--checkpoint", str(checkpoint), "--repository", str(repository)]
    assert dfexport([*build, "--calibration", str(calibration)]) == 0
    out = tmp_path / "scores.csv"
    with Server(repository) as server:
        score = ["score", str(EXAMPLES), "--model", "own", "--url", server.grpc_url, "--out", str(out)]
        assert dfclient(score) == 0
    fitted = json.loads(calibration.read_text())
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        raw = float(row["score"])
        llr = fitted["parameters"]["slope"] * raw + fitted["parameters"]["intercept"]
        assert float(row["llr"]) == pytest.approx(llr, rel=1e-6)
        assert row["verdict"] == ("bona_fide" if raw >= fitted["threshold"]["score"] else "spoof")
        assert row["calibration_sha256"] == fitted["digest"]
