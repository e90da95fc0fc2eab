"""A score in words: which side, of which threshold, set on what; and nothing that the score does not say."""

import dataclasses
import math

import pytest

from dfclient import Clip, ModelCard, Score, WindowScore
from dfclient.results import AudioFacts
from dfcontract.calibration import Calibration, Threshold
from dfcontract.windows import ClipLengths, Windowing
from dfpage.verdict import verdict_of

CARD = ModelCard("net", "1", "net", 16_000, 16_000, "custom", threshold=0.25, threshold_source="a made-up set")


def scored(card: ModelCard, *values: float, pool: str = "mean") -> Score:
    windows = [WindowScore(float(n), n + 1.0, value, (0.0, value)) for n, value in enumerate(values)]
    windowing = Windowing.checked(16_000, 16_000, "sliding", None, pool)
    facts = AudioFacts(float(len(values)), 16_000, 1, ())
    return Score.of(Clip("a.wav", "a"), card, windowing=windowing, windows=windows, facts=facts)


def calibrated(llr: float = 0.0, windows: str = "") -> ModelCard:
    """A card whose calibration gives a score of 0 the LLR; scores from -1 on are called bona fide."""
    fitted_on = {"protocol": "a fitted set", "windows": windows} if windows else {"protocol": "a fitted set"}
    threshold = Threshold(-1.0, llr - 1, "at its EER")
    parameters = {"slope": 1.0, "intercept": llr}
    return dataclasses.replace(
        CARD, calibration=Calibration("affine", parameters, threshold, "net", None, None, fitted_on, {}), threshold=-1.0
    )


@pytest.mark.parametrize(
    ("value", "side", "words"),
    [
        (0.25, "above", "Above the threshold"),
        (0.2499, "below", "Below the threshold"),
        (-9, "below", "Below the threshold"),
    ],
)
def test_a_threshold_is_reached_or_not(value, side, words):
    verdict = verdict_of(scored(CARD, value))
    assert (verdict.side, verdict.headline) == (side, words)
    assert "0.25 was set on a made-up set" in verdict.limits[0]
    assert any("misjudged far more often" in limit for limit in verdict.limits)
    assert not any("one window a recording" in limit for limit in verdict.limits)


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ("mean", "the mean"),
        ("min", "the lowest score"),
        ("p1", "the 1st percentile"),
        ("p2", "the 2nd percentile"),
        ("p10", "the 10th percentile"),
        ("p11", "the 11th percentile"),
        ("p12.5", "the 12.5th percentile"),
        ("p53", "the 53rd percentile"),
        ("p2.1", "the 2.1th percentile"),
    ],
)
def test_many_windows_against_a_threshold_for_one_are_said_to_be_so(pool, words):
    limits = " ".join(verdict_of(scored(CARD, 0.1, 0.9, 0.8, pool=pool)).limits)
    assert f"{words} of 3 windows" in limits


def test_windows_of_a_detector_of_whole_clips_are_said_to_be_none_of_its_authors():
    limits = " ".join(verdict_of(scored(dataclasses.replace(CARD, clip=ClipLengths(400, 99_000)), 0.1)).limits)
    assert "It heard windows of 1.00 s: its authors score whole clips" in limits
    assert "whole clips" not in " ".join(verdict_of(scored(CARD, 0.1)).limits)


def test_random_weights_have_no_verdict_whatever_their_card_states():
    verdict = verdict_of(scored(dataclasses.replace(calibrated(), weights="random"), 99.0))
    assert verdict.side == "random"
    assert verdict.headline == "No verdict: random weights"
    assert "nothing about any recording" in verdict.meaning


def test_without_a_threshold_there_is_none():
    assert verdict_of(scored(dataclasses.replace(CARD, threshold=None), 1.0)).side == "none"


def test_a_calibration_gives_a_probability_at_even_odds():
    verdict = verdict_of(scored(calibrated(math.log(4)), 0.0))
    assert (verdict.side, verdict.headline) == ("above", "Bona fide by the calibration")
    assert "4.0 times as likely for bona fide speech" in verdict.meaning
    assert "probability of 80.0 %" in verdict.meaning
    assert "a fitted set" in verdict.limits[0]


@pytest.mark.parametrize(
    ("llr", "words"),
    [
        (-math.log(4), "4.0 times as likely for spoofed speech"),
        (-math.log(4), "probability of 20.0 %"),
        (300.0, "over 99.9 %"),
        (-3000.0, "under 0.1 %"),
        (3000.0, "over a million times"),
        (math.log(1234), "1,234 times"),
    ],
)
def test_strong_evidence_is_never_certainty(llr, words):
    assert words in verdict_of(scored(calibrated(llr), 0.0)).meaning


def test_a_calibration_for_other_cuts_says_nothing():
    verdict = verdict_of(scored(calibrated(windows="protocol"), 5.0))
    assert verdict.side == "none"
    assert "cut like this: protocol" in verdict.meaning
