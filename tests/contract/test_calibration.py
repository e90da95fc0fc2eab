"""One calibration, refused by the same code wherever it is read."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract.calibration import Calibration, Threshold, digest_of
from dfcontract.errors import CalibrationError

FLOATS = st.floats(-1e6, 1e6)


def knots(draw_scores):
    return st.lists(FLOATS, min_size=2, max_size=8, unique=True).map(sorted).flatmap(draw_scores)


AFFINE = st.tuples(st.just("affine"), st.fixed_dictionaries({"slope": st.floats(1e-3, 1e3), "intercept": FLOATS}))
ISOTONIC = st.tuples(
    st.just("isotonic"),
    knots(
        lambda scores: st.lists(FLOATS, min_size=len(scores), max_size=len(scores)).map(
            lambda llrs: {"scores": scores, "llrs": sorted(llrs)}
        )
    ),
)


def calibration(kind: str, parameters: dict, **changes) -> Calibration:
    own = {
        "threshold": Threshold(-3.5, -0.64, "least cost"),
        "detector": "aasist",
        "weights": "pretrained",
        "checkpoint_sha256": "ab" * 32,
        "fitted_on": {"protocol": "dev.csv", "n_bonafide": 3},
        "figures": {"cllr_before": 0.5},
    }
    return Calibration(kind=kind, parameters=parameters, **{**own, **changes})


@given(AFFINE | ISOTONIC, st.dictionaries(st.sampled_from(["later", "another"]), st.integers()))
def test_it_survives_the_round_trip_with_keys_that_are_not_known(drawn, extra):
    kind, parameters = drawn
    made = calibration(kind, parameters, extra=extra)
    for indent in (None, 2):
        read = Calibration.from_json(made.to_json(indent), "here")
        assert read == made
        assert read.digest == made.digest


def test_a_file_survives_the_round_trip(tmp_path: Path):
    made = calibration("affine", {"slope": 0.5, "intercept": 1.0})
    made.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == made


def test_affine_and_isotonic_by_hand():
    affine = calibration("affine", {"slope": 0.5, "intercept": 1.0})
    np.testing.assert_allclose(affine.llr([-2.0, 0.0, 4.0]), [0.0, 1.0, 3.0])
    isotonic = calibration("isotonic", {"scores": [0.0, 1.0, 3.0], "llrs": [-1.0, 1.0, 2.0]})
    np.testing.assert_allclose(isotonic.llr([-9.0, 0.5, 2.0, 9.0]), [-1.0, 0.0, 1.5, 2.0])
    assert float(affine.llr(2.0)) == 2.0
    assert (affine.verdict(-3.5), affine.verdict(-3.6)) == ("bona_fide", "spoof")


def changed(path: tuple[str, ...], value: object, kind: str = "affine") -> str:
    """A calibration with one value changed, and a digest that fits."""
    parameters = {
        "affine": {"slope": 0.5, "intercept": 1.0},
        "isotonic": {"scores": [0.0, 1.0, 3.0], "llrs": [-1.0, 1.0, 2.0]},
    }
    content = json.loads(calibration(kind, parameters[kind]).to_json())
    del content["digest"]
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps({**content, "digest": digest_of(content)})


SLOPE = ("parameters", "slope")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(SLOPE, "banana"), "expected finite numbers, found 'banana'"),
        (changed(SLOPE, float("nan")), "found nan"),
        (changed(SLOPE, float("inf")), "found inf"),
        (changed(SLOPE, 10**400), "it makes no calibration: int too large"),
        (changed(SLOPE, -0.5), "a higher score would be less bona fide"),
        (changed(SLOPE, 0), "a higher score would be less bona fide"),
        (changed(SLOPE, True), "found True"),
        (changed(SLOPE, ...), "has the parameters slope, intercept"),
        (changed(("kind",), "spline"), "known are affine, isotonic"),
        (changed(("threshold",), ...), "'threshold' is missing"),
        (changed(("threshold", "score"), None), "threshold: expected finite numbers, found None"),
        (changed(("threshold", "rule"), ...), "rule"),
        (changed(("fitted_on", "protocol"), ...), "'protocol' is missing"),
        (changed(("fitted_on",), 5), "it makes no calibration"),
        (changed(("fitted_on", "window_samples"), 64600), "window_samples: expected text, found 64600"),
        (changed(("fitted_on", "score_deciles"), [1.0, 2.0]), "expected 9 scores that rise"),
        (changed(("fitted_on", "score_deciles"), [*range(8), 1]), "expected 9 scores that rise"),
        (changed(("fitted_on", "score_deciles"), ["a"] * 9), "expected finite numbers"),
        (changed(("parameters", "llrs"), [0.0], "isotonic"), "3 scores and 1 LLRs"),
        (changed(("parameters", "scores"), [], "isotonic"), "0 scores"),
        (changed(("parameters", "scores"), [0.0, 3.0, 1.0], "isotonic"), "do not rise"),
        (changed(("parameters", "scores"), [0.0, 0.0, 1.0], "isotonic"), "do not rise"),
        (changed(("parameters", "llrs"), [0.0, 3.0, 1.0], "isotonic"), "do not rise"),
        (changed(("schema",), "other"), "expected a calibration with schema"),
        ("[]", "expected a calibration with schema"),
        ("{", "can't be read as a calibration"),
    ],
)
def test_what_makes_no_calibration_is_refused_by_its_fault(text: str, words: str):
    with pytest.raises(CalibrationError, match=f"^here: .*{words}"):
        Calibration.from_json(text, "here")


def test_a_value_changed_by_hand_is_noticed_by_the_digest():
    text = calibration("affine", {"slope": 0.5, "intercept": 1.0}).to_json().replace("0.5", "0.6", 1)
    with pytest.raises(CalibrationError, match="digest does not fit"):
        Calibration.from_json(text, "here")


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CalibrationError, match=r"none\.json: can't be read"):
        Calibration.load(tmp_path / "none.json")
