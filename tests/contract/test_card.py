"""A model card as text and back."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract.calibration import Calibration, Threshold
from dfcontract.card import ModelCard, SelfCheck
from dfcontract.errors import CardError
from dfcontract.published import NOT_DISCLOSED, Eer, Transfer, out_of_domain
from dfcontract.windows import ClipLengths

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
FLOATS = st.floats(-1e6, 1e6, allow_nan=False)
PERCENTS = st.floats(0, 100)
FLOATS_32 = st.floats(-1e6, 1e6, width=32)
CALIBRATIONS = st.builds(
    Calibration,
    kind=st.just("affine"),
    parameters=st.fixed_dictionaries({"slope": st.floats(1e-3, 1e3), "intercept": FLOATS}),
    threshold=st.builds(Threshold, FLOATS, FLOATS, TEXT),
    detector=TEXT,
    weights=st.sampled_from(["pretrained", "custom", None]),
    checkpoint_sha256=st.none() | TEXT,
    fitted_on=st.fixed_dictionaries({"protocol": TEXT, "n_spoof": st.integers(0, 10)}),
    figures=st.dictionaries(TEXT, FLOATS, max_size=2),
)
CARDS = st.builds(
    ModelCard,
    model=TEXT,
    version=st.sampled_from(["", "1", "12"]),
    detector=TEXT,
    sample_rate_hz=st.integers(1, 10**6),
    window_samples=st.integers(1, 10**9),
    clip=st.none() | st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)).map(lambda n: ClipLengths(n[0], sum(n))),
    weights=st.sampled_from(["pretrained", "custom", "random"]),
    score_kind=st.sampled_from(["logit", "log_softmax", "softmax"]),
    checkpoint_sha256=st.just("") | TEXT,
    checkpoint_source=st.just("") | TEXT,
    licence=TEXT,
    paper=st.just("") | TEXT,
    published_result=st.just("") | TEXT,
    eers=st.lists(st.builds(Eer, TEXT, PERCENTS, st.just("") | TEXT, st.booleans()), max_size=3).map(tuple),
    transfers=st.lists(st.builds(Transfer, TEXT, TEXT, PERCENTS, st.none() | PERCENTS, PERCENTS, TEXT), max_size=3).map(
        tuple
    ),
    trained_on=st.just("") | TEXT,
    format=st.just("") | TEXT,
    precision=st.just("") | TEXT,
    precision_note=st.just("") | TEXT,
    drift=st.just("") | TEXT,
    preparation=st.just("") | TEXT,
    pre_emphasis=st.just(0.0) | st.just(0.97),
    identity=st.integers(-(2**63), 2**63 - 1),
    threshold=st.none() | FLOATS,
    threshold_source=st.just("") | TEXT,
    calibration=st.none() | CALIBRATIONS,
    self_check=st.none() | st.builds(SelfCheck, st.tuples(FLOATS_32, FLOATS_32), st.floats(1e-9, 1)),
    extra=st.dictionaries(st.sampled_from(["arena_extend_strategy", "INFERENCE_MODE", "later"]), TEXT),
)
TRANSFER = dataclasses.asdict(Transfer("a set", "another", 78.7, 0.3, 11.2, "somebody"))
LEAST = {"sample_rate_hz": "16000", "window_samples": "64600", "weights": "custom"}


@given(CARDS)
def test_a_card_survives_the_round_trip(card):
    assert ModelCard.from_parameters(card.model, card.version, card.to_parameters()) == card


@given(CARDS)
def test_all_of_it_is_text(card):
    assert all(isinstance(value, str) for value in card.to_parameters().values())


def test_every_field_reaches_the_text():
    """A field that was added to the dataclass and forgotten in the text would be lost without a word."""
    full = ModelCard.from_parameters("m", "1", LEAST)
    changed = {
        **dict.fromkeys(("detector", "checkpoint_sha256", "checkpoint_source", "licence", "paper"), "changed"),
        **dict.fromkeys(
            ("published_result", "format", "precision", "precision_note", "drift", "preparation"), "changed"
        ),
        "eers": (Eer("a set", 1.5, "somebody", trained_on=True), Eer("another", 2)),
        "transfers": (Transfer("a set", "another", 78.7, None, 11.2, "somebody"),),
        "trained_on": "a set",
        "pre_emphasis": 0.97,
        "sample_rate_hz": 8000,
        "window_samples": 5,
        "clip": ClipLengths(3, 8),
        "weights": "random",
        "score_kind": "log_softmax",
        "identity": -7,
        "threshold": 0.1,
        "threshold_source": "a set",
        "calibration": Calibration(
            "affine", {"slope": 1.0, "intercept": 0.0}, Threshold(0.0, 0.0, "r"), "d", None, None, {"protocol": "p"}, {}
        ),
        "self_check": SelfCheck((1.0, 2.0), 0.5),
        "extra": {"key": "value"},
    }
    fields = {field.name for field in dataclasses.fields(ModelCard)} - {"model", "version"}
    assert changed.keys() == fields
    card = dataclasses.replace(full, **changed)
    assert ModelCard.from_parameters("m", "1", card.to_parameters()) == card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window_samples": ""}, "a whole number as window_samples in its card, found none: it is no detector"),
        ({"window_samples": "0"}, "found '0'"),
        ({"window_samples": "64600.0"}, "found '64600.0'"),
        ({"sample_rate_hz": "²"}, "found '²'"),
        ({"window_samples": "1" * 5000}, "a whole number as window_samples"),
        ({"clip_samples": "400"}, "two whole numbers, the least and the most as clip_samples"),
        ({"clip_samples": "400 399"}, "found '400 399'"),
        ({"clip_samples": "0 9"}, "found '0 9'"),
        ({"clip_samples": "400 1e5"}, "two whole numbers as clip_samples"),
        ({"clip_samples": "400 208000"}, "a whole number as sliding_samples"),
        ({"weights": ""}, "pretrained or custom or random as weights"),
        ({"weights": "good"}, "found 'good'"),
        ({"score_kind": "probability"}, "logit or log_softmax"),
        ({"score_polarity": "higher_is_spoof"}, "higher_is_bona_fide as score_polarity"),
        ({"threshold": "high"}, "a number as threshold"),
        ({"threshold": "nan"}, "found 'nan'"),
        ({"eers": "0.83"}, "a list of published equal error rates as eers"),
        ({"eers": '[{"data": "a set", "percent": "low"}]'}, "a list of published equal error rates as eers"),
        ({"eers": '[{"data": "a set", "percent": 183}]'}, "a list of published equal error rates as eers"),
        ({"eers": "[" * 100_000}, "a list of published equal error rates as eers"),
        ({"transfers": "78.7"}, "a list of transferred thresholds as transfers"),
        ({"transfers": '[{"data": "a set"}]'}, "a list of transferred thresholds as transfers"),
        ({"transfers": json.dumps([TRANSFER | {"rejected_percent": 787}])}, "a list of transferred thresholds"),
        ({"transfers": json.dumps([TRANSFER | {"accepted_percent": "few"}])}, "a list of transferred thresholds"),
        ({"transfers": json.dumps([TRANSFER | {"source": None}])}, "a list of transferred thresholds"),
        ({"identity": "x"}, "a whole number as identity"),
        ({"self_check_tolerance": "1e-4", "self_check_logits": "1"}, "two numbers as self_check_logits"),
        ({"calibration": "{}"}, "dfeval calibrate fit, then build the model again"),
        ({"calibration": json.dumps({"schema": "dfserve-calibration-1"})}, "its digest does not fit"),
    ],
)
def test_a_card_that_cant_be_used_names_model_parameter_and_value(change, words):
    with pytest.raises(CardError, match="model 'm'.*" + words.replace("(", r"\(")):
        ModelCard.from_parameters("m", "1", LEAST | change)


def test_a_client_of_before_takes_a_detector_of_whole_clips_for_none():
    """It would cut clips to a window, where this detector scores all of them."""
    card = dataclasses.replace(ModelCard.from_parameters("m", "1", LEAST), clip=ClipLengths(400, 208_000))
    assert "window_samples" not in card.to_parameters()
    assert card.window_words == "clip, up to 13 s"
    assert card.sliding_note.startswith("windows of 4.04 s: its authors score whole clips")
    assert ModelCard.from_parameters("m", "1", LEAST).sliding_note == ""


EERS = (Eer("own", 0.8, trained_on=True), Eer("wild", 43.0, "others"), Eer("near", 12.5))


@pytest.mark.parametrize(
    ("eers", "trained_on", "line"),
    [
        (EERS, "own", "of such scores on data that the model was not trained on: 12.5 % (near) to 43 % (wild)"),
        (EERS[1:2], "own", "of such scores on data that the model was not trained on: 43 % (wild)"),
        (EERS[1:], NOT_DISCLOSED, "12.5 % (near) to 43 % (wild); what the model was trained on is not disclosed"),
        (EERS[:1], "own", ""),
        ((), "", ""),
    ],
)
def test_the_line_about_other_data_leaves_out_what_was_trained_on(eers, trained_on, line):
    found = out_of_domain(eers, trained_on)
    assert found.endswith(line)
    assert bool(found) == bool(line)
    assert "own" not in found
