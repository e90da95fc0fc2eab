"""A calibration reaches the card only whole, unchanged, and with the weights it was fitted on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dfcontract.calibration import Calibration, Threshold
from dfcontract.card import ModelCard
from dfcontract.errors import CalibrationError
from dfexport.build import build, seeded
from dfexport.card import calibrated, model_card
from dfexport.errors import ExportError
from dfexport.registry import find
from dfexport.spec import Weights

FITTED = Calibration(
    kind="affine",
    parameters={"slope": 0.25, "intercept": 0.5},
    threshold=Threshold(score=-3.5, llr=-0.64, rule="least cost"),
    detector="aasist",
    weights="pretrained",
    checkpoint_sha256="ab" * 32,
    fitted_on={"protocol": "CSV, protocol.csv"},
    figures={},
)


def card_of(sha256: str = "ab" * 32, weights: Weights = "pretrained") -> ModelCard:
    return model_card("a", find("aasist"), weights=weights, sha256=sha256, source="s")


def test_the_card_carries_it_whole_and_takes_over_its_threshold() -> None:
    card = calibrated(card_of(), FITTED, "calibration.json")
    assert ModelCard.from_parameters("a", "", card.to_parameters()).calibration == FITTED
    assert (card.threshold, card.threshold_source) == (-3.5, "CSV, protocol.csv: least cost")


def test_scores_of_other_weights_calibrate_nothing() -> None:
    with pytest.raises(ExportError, match=r"checkpoint sha256 abab.* weights have cdcd"):
        calibrated(card_of(sha256="cd" * 32), FITTED, "calibration.json")
    with pytest.raises(ExportError, match="random weights can't be calibrated"):
        calibrated(card_of(weights="random"), FITTED, "calibration.json")


def test_windows_of_another_length_calibrate_nothing() -> None:
    spec = find("antideepfake_w2v_small")
    whole, fixed = (
        model_card("a", one, weights="pretrained", sha256="ab" * 32, source="s")
        for one in (spec, spec.with_window(64_600))
    )
    of_windows, of_clips, of_sliding = (
        replace(FITTED, fitted_on={**FITTED.fitted_on, "windows": words, "window_samples": samples})
        for words, samples in (("protocol", "64600"), ("protocol", "208000"), ("sliding, mean, hop 1 s", "64600"))
    )
    for card, calibration in ((fixed, of_windows), (whole, of_clips), (whole, of_sliding), (fixed, of_sliding)):
        assert calibrated(card, calibration, "c.json").calibration == calibration
    words = r"c\.json was fitted on at most 64600 samples at once, where this model scores 208000 in protocol mode"
    with pytest.raises(ExportError, match=words):
        calibrated(whole, of_windows, "c.json")
    with pytest.raises(ExportError, match="at most 208000 samples at once, where this model scores 64600"):
        calibrated(fixed, of_clips, "c.json")


@pytest.mark.parametrize("change", [{"slope": "banana"}, {"slope": 0.5}], ids=["text", "another number"])
def test_a_file_that_was_edited_is_refused_by_its_digest(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    FITTED.save(path)
    content = json.loads(path.read_text())
    content["parameters"] |= change
    path.write_text(json.dumps(content))
    spec = find("aasist_l")
    with pytest.raises(CalibrationError, match=r"calibration\.json: its digest does not fit its content"):
        build(spec, seeded(spec), tmp_path / "models", "aasist_l", path)
    assert not (tmp_path / "models").exists()
