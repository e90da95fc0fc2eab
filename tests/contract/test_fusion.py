"""One fusion, refused by the same code wherever it is read."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract.calibration import digest_of
from dfcontract.errors import CalibrationError
from dfcontract.fusion import Fusion, LlrThreshold, Member

FLOATS = st.floats(-1e3, 1e3)


def member(name="aasist", weight=0.5, slope=2.0, intercept=1.0):
    return Member(name, weight, "affine", {"slope": slope, "intercept": intercept}, "pretrained", "ab" * 32, None, {})


def fusion(*members, **changes):
    own = {"intercept": -0.25, "threshold": LlrThreshold(-0.64, "least cost"), "fitted_on": {"protocol": "dev"}}
    return Fusion(members=members or (member(), member("sls", -1.0, 1.0, 0.0)), figures={}, **{**own, **changes})


@given(st.lists(st.tuples(FLOATS, st.floats(1e-3, 1e3), FLOATS), min_size=2, max_size=4), FLOATS, FLOATS)
def test_it_survives_the_round_trip_with_keys_that_are_not_known(drawn, intercept, llr):
    members = [member(f"d{index}", *values) for index, values in enumerate(drawn)]
    made = fusion(*members, intercept=intercept, threshold=LlrThreshold(llr, "rule"), extra={"later": 1})
    for indent in (None, 2):
        read = Fusion.from_json(made.to_json(indent), "here")
        assert read == made
        assert read.digest == made.digest


def test_the_sum_by_hand(tmp_path):
    made = fusion()
    made.save(tmp_path / "f.json")
    read = Fusion.load(tmp_path / "f.json")
    scores = {"sls": [3.0, 0.0], "aasist": [1.0, -1.0], "another": [9.0, 9.0]}
    # -0.25 + 0.5 · (2 · score + 1) - 1 · score
    np.testing.assert_allclose(read.llr(scores), [-0.25 + 1.5 - 3.0, -0.25 - 0.5])
    assert [read.verdict(llr) for llr in (-0.64, -0.65)] == ["bona_fide", "spoof"]
    with pytest.raises(CalibrationError, match=r"scores of aasist, sls to fuse, found sls: aasist missing"):
        read.llr({"sls": 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema="dfserve-calibration-1"), "expected a fusion with schema 'dfserve-fusion-1'"),
        (lambda c: c.update(intercept="0"), "intercept, threshold and weights: expected finite numbers, found '0'"),
        (lambda c: c.pop("intercept"), "'intercept' is missing"),
        (lambda c: c.update(members=c["members"][:1]), "expected two members or more"),
        (lambda c: c.update(members=[c["members"][0]] * 2), "each with a name of its own"),
        (lambda c: c["members"][0].update(kind="magic"), "kind 'magic' is unknown"),
        (lambda c: c["members"][0]["parameters"].update(slope=-1.0), "a slope of -1.0"),
        (lambda c: c["members"][0].update(weight=float("nan")), "expected finite numbers, found nan"),
        (lambda c: c["threshold"].pop("rule"), "rule"),
    ],
)
def test_what_makes_no_fusion_is_refused(change, message):
    content = json.loads(fusion().to_json())
    content.pop("digest")
    change(content)
    with pytest.raises(CalibrationError, match=message):
        Fusion.from_json(json.dumps({**content, "digest": digest_of(content)}), "here")


def test_a_fusion_of_before_window_lengths_keeps_its_digest():
    stated = json.loads(fusion().to_json())
    assert all("window_samples" not in member for member in stated["members"])
    first, second = fusion().members
    told = fusion(replace(first, windows="protocol", window_samples="64600"), second)
    read = Fusion.from_json(told.to_json(), "here")
    assert str(read.members[0].cutting) == "protocol, at most 64600 samples at once"
    assert read.digest != fusion().digest


def test_a_changed_weight_is_seen():
    text = fusion().to_json().replace('"weight":0.5', '"weight":0.6')
    with pytest.raises(CalibrationError, match="its digest does not fit its content"):
        Fusion.from_json(text, "here")
