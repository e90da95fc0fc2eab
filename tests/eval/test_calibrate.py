"""Calibration: fitted on one set, right on another, refused where it would mislead."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from dfeval.calibration import Calibration, Target, apply, fit, load_calibration
from dfeval.errors import CalibrationError
from dfeval.metrics.cllr import cllr
from dfeval.protocols import load_protocol
from dfeval.scores import ScoreFile
from dfeval.trials import Trials, join


@pytest.fixture
def make_trials(tmp_path):
    """Trials of given scores of both classes."""

    def make(bonafide, spoof, **provenance) -> Trials:
        ids = [f"t{index}" for index in range(len(bonafide) + len(spoof))]
        labels = ["bonafide"] * len(bonafide) + ["spoof"] * len(spoof)
        path = tmp_path / "protocol.csv"
        pd.DataFrame({"utt_id": ids, "label": labels}).to_csv(path, index=False)
        table = pd.DataFrame({"utt_id": ids, "score": np.concatenate((bonafide, spoof))})
        return join(ScoreFile(table, tmp_path / "scores.csv", "made_up", **provenance), load_protocol(path, "csv"))

    return make


def uncalibrated(seed, size=4000):
    """Scores 3·llr + 5 of calibrated Gaussian LLRs, so the right calibration is known: slope 1/3, intercept -5/3."""
    rng, spread = np.random.default_rng(seed), 2.0
    bonafide = rng.normal(spread**2 / 2, spread, size)
    spoof = rng.normal(-(spread**2) / 2, spread, size * 3)
    return 3 * bonafide + 5, 3 * spoof + 5


def test_affine_finds_the_known_map_and_holds_on_other_trials(make_trials):
    calibration = fit(make_trials(*uncalibrated(0)))
    assert calibration.parameters["slope"] == pytest.approx(1 / 3, rel=0.05)
    assert calibration.parameters["intercept"] == pytest.approx(-5 / 3, rel=0.05)
    bonafide, spoof = uncalibrated(1)
    ideal = cllr((bonafide - 5) / 3, (spoof - 5) / 3)
    assert cllr(calibration.llr(bonafide), calibration.llr(spoof)) == pytest.approx(ideal, abs=2e-3)
    assert cllr(bonafide, spoof) > 2 * ideal


def test_affine_is_the_cllr_minimum(make_trials):
    bonafide, spoof = uncalibrated(2, 150)
    calibration = fit(make_trials(bonafide, spoof))
    best = minimize(lambda p: cllr(p[0] * bonafide + p[1], p[0] * spoof + p[1]), (0.1, 0.0), tol=1e-12).fun
    assert calibration.figures["cllr_after"] == pytest.approx(best, abs=1e-9)


def test_isotonic_comes_near_the_least_cllr_and_holds_on_other_trials(make_trials):
    calibration = fit(make_trials(*uncalibrated(3)), "isotonic")
    assert calibration.figures["cllr_after"] == pytest.approx(calibration.figures["min_cllr"], abs=5e-3)
    bonafide, spoof = uncalibrated(4)
    assert cllr(calibration.llr(bonafide), calibration.llr(spoof)) < cllr((bonafide - 5) / 3, (spoof - 5) / 3) + 0.02
    grid = calibration.llr(np.linspace(-40, 40, 500))
    assert np.isfinite(grid).all()
    assert (np.diff(grid) >= 0).all()


@pytest.mark.parametrize("kind", ["affine", "isotonic"])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_a_threshold_keeps_its_rate_and_no_better_one_does(kind, rate, make_trials):
    bonafide, spoof = (values.round() for values in uncalibrated(5, 200))  # rounded: many ties
    trials = make_trials(bonafide, spoof)
    far = fit(trials, kind, Target(far=rate)).threshold.score
    assert np.mean(spoof >= far) <= rate
    below = [score for score in np.unique(np.append(bonafide, spoof)) if score < far]
    assert not below or np.mean(spoof >= below[-1]) > rate
    frr = fit(trials, kind, Target(frr=rate)).threshold.score
    assert np.mean(bonafide < frr) <= rate


def test_default_threshold_is_the_bayes_one(make_trials):
    calibration = fit(make_trials(*uncalibrated(6)))
    assert calibration.threshold.llr == pytest.approx(-0.641853886)
    assert calibration.llr(np.array([calibration.threshold.score]))[0] == pytest.approx(calibration.threshold.llr)


@pytest.mark.parametrize("kind", ["affine", "isotonic"])
def test_json_round_trip_and_digest(kind, make_trials, tmp_path):
    calibration = fit(make_trials(*uncalibrated(7, 100), checkpoint_sha256="ab" * 32), kind)
    path = tmp_path / "calibration.json"
    calibration.save(path)
    loaded = load_calibration(path)
    assert loaded.as_dict() == calibration.as_dict()
    scores = np.linspace(-20, 20, 50)
    assert (loaded.llr(scores) == calibration.llr(scores)).all()
    content = json.loads(path.read_text())
    assert content["units"] == "natural-log likelihood ratio, bona fide over spoof"
    assert content["fitted_on"]["n_bonafide"] == 100
    content["threshold"]["score"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="changed by hand"):
        load_calibration(path)


def test_the_documented_arithmetic_applies_it(make_trials):
    """What another program does with the JSON alone."""
    content = fit(make_trials(*uncalibrated(8, 100)), "isotonic").as_dict()
    knots = content["parameters"]
    assert knots["scores"] == sorted(knots["scores"])
    assert len(set(knots["scores"])) == len(knots["scores"])


def test_applying_adds_llr_and_verdict(make_trials, tmp_path):
    calibration = fit(make_trials(*uncalibrated(9, 100)))
    cut = calibration.threshold.score
    table = pd.DataFrame({"utt_id": ["a", "b", "c"], "score": [cut, cut - 1e-6, np.nan]})
    applied = apply(calibration, ScoreFile(table, tmp_path / "s.csv", "made_up")).table
    assert applied["verdict"].tolist() == ["bona_fide", "spoof", ""]
    assert applied["llr"][0] == pytest.approx(calibration.threshold.llr)


def test_another_checkpoints_scores_are_refused(make_trials, tmp_path):
    calibration = fit(make_trials(*uncalibrated(10, 100), checkpoint_sha256="ab" * 32))
    table = pd.DataFrame({"utt_id": ["a"], "score": [1.0]})
    with pytest.raises(CalibrationError, match="the calibration is for abababababab"):
        apply(calibration, ScoreFile(table, tmp_path / "s.csv", "made_up", checkpoint_sha256="cd" * 32))
    with pytest.raises(CalibrationError, match="random weights"):
        apply(calibration, ScoreFile(table, tmp_path / "s.csv", "made_up", weights="random"))


def test_what_would_mislead_is_refused(make_trials):
    bonafide, spoof = uncalibrated(11, 100)
    with pytest.raises(CalibrationError, match="random weights"):
        fit(make_trials(bonafide, spoof, weights="random"))
    with pytest.raises(CalibrationError, match="polarity"):
        fit(make_trials(-bonafide, -spoof))
    with pytest.raises(CalibrationError, match="infinite"):
        fit(make_trials(bonafide + 100, spoof))
    with pytest.raises(CalibrationError, match="nothing to calibrate"):
        fit(make_trials(np.ones(5), np.ones(5)))
    assert isinstance(fit(make_trials(bonafide + 100, spoof), "isotonic"), Calibration)


def test_what_is_no_calibration_is_named(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(CalibrationError, match="can't be read"):
        load_calibration(path)
    path.write_text("{}")
    with pytest.raises(CalibrationError, match="expected a calibration with schema"):
        load_calibration(path)
