"""A calibration reaches the card only with the weights it was fitted on."""

import json
from pathlib import Path

import pytest

from dfexport.calibration import card_entries
from dfexport.checkpoints import LoadedWeights
from dfexport.errors import ExportError

CONTENT = {
    "schema": "dfserve-calibration-1",
    "kind": "affine",
    "parameters": {"slope": 0.25, "intercept": 0.5},
    "threshold": {"score": -3.5, "llr": -0.64, "rule": "least cost"},
    "detector": "aasist",
    "checkpoint_sha256": "ab" * 32,
    "fitted_on": {"protocol": "CSV, protocol.csv"},
    "digest": "cd" * 32,
}


def weights(sha256: str = "ab" * 32, kind: str = "pretrained") -> LoadedWeights:
    return LoadedWeights({}, kind, sha256, "somewhere")


@pytest.fixture
def calibration(tmp_path: Path):
    def write(**changes: object) -> Path:
        path = tmp_path / "calibration.json"
        path.write_text(json.dumps(CONTENT | changes))
        return path

    return write


def test_the_card_carries_it_whole_and_takes_over_its_threshold(calibration) -> None:
    entries = card_entries(calibration(), weights())
    assert json.loads(entries["calibration"]) == CONTENT
    assert (entries["threshold"], entries["threshold_source"]) == ("-3.5", "CSV, protocol.csv: least cost")


def test_scores_of_other_weights_calibrate_nothing(calibration) -> None:
    with pytest.raises(ExportError, match=r"checkpoint sha256 abab.* weights have cdcd"):
        card_entries(calibration(), weights(sha256="cd" * 32))
    with pytest.raises(ExportError, match="random weights can't be calibrated"):
        card_entries(calibration(), weights(kind="random"))


def test_something_else_is_not_a_calibration(calibration, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[1, 2]")
    for path in (calibration(schema="other"), tmp_path / "other.json"):
        with pytest.raises(ExportError, match="is not a calibration; expected what dfeval calibrate writes"):
            card_entries(path, weights())
    with pytest.raises(ExportError, match="cannot read it"):
        card_entries(tmp_path / "absent.json", weights())
