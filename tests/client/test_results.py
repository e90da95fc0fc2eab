"""Scores: what a row says of them, and what a calibration in the card makes of them."""

import dataclasses

import numpy as np
import pytest

from dfclient.audio import AudioOptions
from dfclient.cli import report
from dfclient.cli.progress import Progress
from dfclient.clips import Clip
from dfclient.results import AudioFacts, Score, WindowScore, run_values
from dfcontract.calibration import Calibration, Threshold
from dfcontract.score_file import NAMES, RUN_NAMES, from_row, to_row
from dfcontract.windows import SLIDING, Windowing

WINDOWS = [WindowScore(0.0, 1.0, 0.25, (-0.25, 0.25)), WindowScore(0.5, 1.5, -1.25, (1.25, -1.25))]
FACTS = AudioFacts(1.5, 44_100, 2, ("short: 0.1 s", "silence: all"), 1, AudioOptions("each", "deu"))
WINDOWING = Windowing.checked(16_000, 16_000, SLIDING, hop_s=0.5)
AFFINE = Calibration(
    kind="affine",
    parameters={"slope": 2.0, "intercept": -1.0},
    threshold=Threshold(score=0.5, llr=0.0, rule="made up"),
    detector="toy",
    weights="custom",
    checkpoint_sha256="ab" * 32,
    fitted_on={"protocol": "a made-up protocol"},
    figures={},
)
ISOTONIC = dataclasses.replace(AFFINE, kind="isotonic", parameters={"scores": [-1.0, 0.5, 3.0], "llrs": [-2.0, 0.0, 4]})


@pytest.fixture
def score(card):
    """score(**card_changes) → a Score of two windows whose mean is -0.5."""

    def make(**card_changes: str) -> Score:
        return Score.of(Clip("a.wav", "a"), card(**card_changes), windowing=WINDOWING, windows=WINDOWS, facts=FACTS)

    return make


def test_a_row_says_all_there_is_and_comes_back(score):
    made = score(precision="fp16", identity="-7")
    row = to_row(made.as_dict())
    assert tuple(made.as_dict()) == NAMES
    assert row == {
        "utt_id": "a",
        "score": "-0.5",
        "path": "a.wav",
        "model": "toy",
        "version": "1",
        "weights": "custom",
        "checkpoint_sha256": "ab" * 32,
        "identity": "-7",
        "precision": "fp16",
        "window_samples": "16000",
        "calibration_sha256": "",
        "fusion_sha256": "",
        "members": "",
        "mode": "sliding",
        "pool": "mean",
        "hop_s": "0.5",
        "channel_choice": "each",
        "track": "deu",
        "n_windows": "2",
        "window_starts_s": "0;0.5",
        "window_scores": "0.25;-1.25",
        "member_scores": "",
        "llr": "",
        "verdict": "",
        "duration_s": "1.5",
        "sample_rate_hz": "44100",
        "channels": "2",
        "warnings": "short: 0.1 s;silence: all",
    }
    assert from_row(row) == made.as_dict()


def test_what_is_of_the_run_is_the_same_in_each_row(score):
    made = score(identity="12")
    values = run_values(made.card, WINDOWING, made.choice)
    assert set(values) == set(RUN_NAMES)
    assert values == {name: made.as_dict()[name] for name in values}


def test_protocol_mode_has_neither_pool_nor_hop(score):
    protocol = Windowing.checked(16_000, 16_000)
    made = Score.of(Clip("", "a"), score().card, windowing=protocol, windows=WINDOWS[:1], facts=FACTS)
    row = to_row(made.as_dict())
    assert (row["mode"], row["pool"], row["hop_s"], row["identity"]) == ("protocol", "", "", "")


def test_a_threshold_says_which_side(score):
    assert score(threshold="-0.5").above_threshold is True
    assert score(threshold="-0.4").above_threshold is False
    assert score(threshold="").above_threshold is None
    assert score(threshold="-0.5", weights="random").above_threshold is None


@pytest.mark.parametrize(("calibration", "llr"), [(AFFINE, -2.0), (ISOTONIC, -4 / 3)])
def test_rows_and_screen_carry_llr_and_verdict_beside_the_raw_score(score, calibration, llr):
    made = score(calibration=calibration.to_json())
    row = to_row(made.as_dict())
    assert row["score"] == "-0.5"
    assert made.llr == pytest.approx(llr)
    assert float(row["llr"]) == pytest.approx(llr, rel=1e-8)
    assert row["verdict"] == "spoof"
    assert row["calibration_sha256"] == calibration.digest
    assert f"spoof (LLR {llr:+.2f})" in report.score_line(made)
    assert "calibration fitted on a made-up protocol" in report.heading(made.card)
    assert dataclasses.replace(made, score=0.5).verdict == "bona_fide"


def test_a_calibration_says_nothing_of_recordings_that_were_cut_otherwise(score):
    """Scores pooled over a recording lie elsewhere than those of its first window."""
    for words, suits in (("sliding, mean, hop 0.5 s", True), ("protocol", False), ("sliding, min, hop 0.5 s", False)):
        fitted = dataclasses.replace(AFFINE, fitted_on={**AFFINE.fitted_on, "windows": words})
        made = score(calibration=fitted.to_json(), threshold="-9")
        row = to_row(made.as_dict())
        assert (made.llr is not None, made.verdict != "", made.above_threshold is not None) == (suits, suits, suits)
        assert (row["llr"] != "", row["verdict"] != "", row["calibration_sha256"] != "") == (suits, suits, suits)
        assert ("LLR" in report.score_line(made), f"({words}), others get none" in report.heading(made.card)) == (
            suits,
            True,
        )
        window = report.window_line(made.windows[0], made.card)
        assert ("LLR" in window) == (words == "protocol"), "a window alone is what protocol mode scores"


def test_the_summary_counts_those_alone_that_were_held_against_a_threshold(score):
    """None of those that a calibration says nothing of: "0 of N above" would be a verdict on them."""
    otherwise = dataclasses.replace(AFFINE, fitted_on={**AFFINE.fitted_on, "windows": "protocol"})
    unjudged, above, below = score(calibration=otherwise.to_json()), score(threshold="-1"), score()
    for results, line in (
        ([unjudged, unjudged], None),
        ([above, below], "1 of 2 above 0.5, made up"),
        ([above, below, unjudged], "1 of 2 judged above 0.5, made up"),
    ):
        tally, progress = report.Tally(), Progress(len(results), results_on_stdout=True)
        for result in results:
            tally.add(result)
        lines = report.summary(tally, progress, [above.card], "0.5, made up", skipped=0, rows=None).splitlines()
        assert [found for found in lines if " above " in found] == ([] if line is None else [line])


def test_a_calibration_of_windows_says_nothing_of_whole_clips(score):
    """Both are what protocol mode scores, of one set of weights."""
    clip = {"clip_samples": "400 208000", "sliding_samples": "64600", "window_samples": ""}
    for samples, suits in (("64600", False), ("208000", True)):
        told = {**AFFINE.fitted_on, "windows": "protocol", "window_samples": samples}
        made = score(calibration=dataclasses.replace(AFFINE, fitted_on=told).to_json(), **clip)
        whole = dataclasses.replace(made, mode="protocol", pool="", hop_s=None)
        assert (whole.calibration is not None, whole.llr is not None) == (suits, suits)
        assert f"(protocol, at most {samples} samples at once), others get none" in report.heading(made.card)
        assert ("LLR" in report.window_line(made.windows[0], made.card)) == (samples == "64600")


def test_a_given_pooled_score_is_taken(score):
    made = Score.of(
        Clip("", "a"), score().card, windowing=WINDOWING, windows=WINDOWS, facts=FACTS, pooled=float(np.float32(0.1))
    )
    assert made.score == float(np.float32(0.1))
