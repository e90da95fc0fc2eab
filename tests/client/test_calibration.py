"""A calibration in the card: the same LLRs and decisions as the evaluation's, and a clear word where it is broken."""

import json

import numpy as np
import pytest

from dfclient import report, scores
from dfclient.errors import ContractError
from dfclient.results import Score
from dfeval.calibrate import fit
from dfeval.protocols import load_protocol
from dfeval.scores import load_scores
from dfeval.trials import join


@pytest.fixture(scope="module", params=["affine", "isotonic"])
def fitted(request, tmp_path_factory):
    """A calibration of overlapping classes, as `dfeval calibrate` fits it."""
    folder = tmp_path_factory.mktemp("calibration")
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(2, 1.5, 200), random.normal(-1, 2, 300)])
    labels = ["bonafide"] * 200 + ["spoof"] * 300
    (folder / "scores.csv").write_text("utt_id,score\n" + "".join(f"u{i},{v}\n" for i, v in enumerate(values)))
    (folder / "protocol.csv").write_text("utt_id,label\n" + "".join(f"u{i},{v}\n" for i, v in enumerate(labels)))
    return fit(join(load_scores(folder / "scores.csv"), load_protocol(folder / "protocol.csv", "csv")), request.param)


@pytest.fixture
def score(card, fitted):
    def make(value: float) -> Score:
        calibrated = card(calibration=json.dumps(fitted.as_dict()))
        return Score("u", "u.wav", value, (), "protocol", "", None, 5.0, 16000, 1, (), calibrated)

    return make


def test_llrs_and_verdicts_are_the_evaluations_own(fitted, score):
    values = np.linspace(-12, 12, 97)
    np.testing.assert_allclose([score(value).llr for value in values], fitted.llr(values), rtol=1e-12)
    verdicts = ["bona_fide" if value >= fitted.threshold.score else "spoof" for value in values]
    assert [score(value).verdict for value in values] == verdicts
    assert set(verdicts) == {"bona_fide", "spoof"}


def test_rows_and_screen_carry_them_beside_the_raw_score(fitted, score):
    row = scores.row_of(score(1.5))
    assert row["score"] == "1.5"
    assert float(row["llr"]) == pytest.approx(float(fitted.llr(np.array([1.5]))[0]), rel=1e-8)
    assert row["verdict"] == score(1.5).verdict
    assert row["calibration_sha256"] == fitted.as_dict()["digest"]
    assert f"{row['verdict']} (LLR {score(1.5).llr:+.2f})" in report.score_line(score(1.5))
    assert "calibration fitted on" in report.heading(score(1.5).card)


@pytest.mark.parametrize(
    "broken",
    [
        "no json",
        "{}",
        '{"kind": "cubic", "parameters": {}}',
        '{"kind": "affine", "parameters": {"slope": "NaN", "intercept": 0}, "threshold": {"score": 0}, '
        '"fitted_on": {"protocol": "p"}, "digest": "d"}',
        '{"kind": "isotonic", "parameters": {"scores": [], "llrs": []}, "threshold": {"score": 0}, '
        '"fitted_on": {"protocol": "p"}, "digest": "d"}',
    ],
)
def test_a_broken_calibration_is_refused_and_named(card, broken):
    with pytest.raises(ContractError, match=r"calibration can't be read .* dfexport build --calibration"):
        card(calibration=broken)
