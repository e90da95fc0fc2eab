"""How far a build's scores moved from fp32's: what is compared, on which recordings, and when it is too far."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from dfcontract.errors import DfserveError
from dfcontract.windows import Windowing
from dfeval.metrics.eer import eer as evaluation_eer
from dfexport import drift
from dfexport.drift import Drift
from dfexport.drift_set import example_set, read_labels, read_recordings
from dfexport.errors import ExportError
from dfexport.formats import Answers
from dfexport.precision import DriftLimits

LIMITS = DriftLimits(max_difference=0.5, mean_difference=0.1, rank_correlation=0.9, eer_difference=0.01)


def test_each_limit_is_judged() -> None:
    good = Drift("int8", "custom", "clips", 20, 0.4, 0.05, 0.95, 0.10, 0.105, LIMITS)
    assert good.failures == []
    for change, words in (
        ({"max_difference": 0.6}, "a score moved by 0.6"),
        ({"max_difference": float("nan")}, "a score moved by nan"),
        ({"mean_difference": 0.2}, "the mean score moved by 0.2"),
        ({"rank_correlation": 0.8}, "rank correlation 0.800"),
        ({"eer": 0.12}, "EER 12.00% against 10.00%"),
    ):
        (failure,) = replace(good, **change).failures  # type: ignore[arg-type]
        assert words in failure
    assert replace(good, clips=9, rank_correlation=0.1).failures == []  # too few to rank


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, float).T
    if first.std() and second.std():
        assert drift.rank_correlation(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)


def test_equal_error_rates_come_from_the_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("utt_id,label\na,bonafide\nb,bonafide\nc,spoof\nd,spoof\n")
    labels = read_labels(tmp_path / "labels.csv")
    before, after = np.array([3.0, 2.0, 1.0, 0.0, 9.0]), np.array([3.0, 0.5, 1.0, 0.0, 9.0])
    rates = drift.equal_error_rates(["a", "b", "c", "d", "unlisted"], before, after, labels)
    assert rates == (0.0, 0.5)
    with pytest.raises(ExportError, match="the labels name 1 bona fide and 0 spoofed of the 1 recordings"):
        drift.equal_error_rates(["a"], before[:1], after[:1], labels)


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]), min_size=1, max_size=12),
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]), min_size=1, max_size=12),
)
def test_the_equal_error_rate_is_the_evaluations(bonafide: list[float], spoof: list[float]) -> None:
    expected = evaluation_eer(np.array(bonafide), np.array(spoof)).value
    assert drift.eer(np.array(bonafide), np.array(spoof)) == pytest.approx(expected, abs=1e-12)


def test_recordings_are_cut_or_repeated_to_a_window(tmp_path: Path) -> None:
    tone = np.sin(np.arange(1000) / 10).astype(np.float32) / 2
    (tmp_path / "deeper").mkdir()
    soundfile.write(tmp_path / "deeper/short.wav", tone, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "long.flac", np.tile(tone, 4), 16_000, subtype="PCM_24")
    recordings = read_recordings(tmp_path)
    assert list(recordings) == ["short", "long"]
    seen: list[np.ndarray] = []

    def run(waveforms: np.ndarray) -> Answers:
        seen.append(waveforms)
        return Answers(np.zeros((1, 2), np.float32), np.full((1, 1), len(seen), np.float32), None)

    assert drift.scores_of(run, recordings, Windowing.checked(2500, 16_000)) == [1.0, 2.0]
    for window in seen:
        np.testing.assert_allclose(window, np.concatenate([tone, tone, tone[:500]])[None], atol=1e-6)


def test_recordings_of_another_kind_are_refused(tmp_path: Path) -> None:
    tone = np.sin(np.arange(1000) / 10).astype(np.float32) / 2
    for folder, samples, rate_hz in (
        ("stereo", np.stack([tone, tone], axis=1), 16_000),
        ("rate", tone, 8_000),
        ("empty", tone[:0], 16_000),
    ):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", samples, rate_hz)
        with pytest.raises(ExportError, match=r"a\.wav: expected 16000 Hz mono, found .* ffmpeg -i a\.wav"):
            read_recordings(tmp_path / folder)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.wav").write_text("no audio")
    with pytest.raises(ExportError, match=r"a\.wav: cannot read it"):
        read_recordings(tmp_path / "text")
    with pytest.raises(ExportError, match="expected recordings"):
        read_recordings(tmp_path / "nowhere")
    with pytest.raises(ExportError, match=r"another recording .* is called 'a'"):
        read_recordings(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "expected the columns utt_id,label, found a,b"),
        ("", "is empty"),
        ("utt_id,label\na,bonafide\nb,fake\n", "line 3: expected bonafide or spoof as label, found b,fake"),
        ("utt_id,label\na\n", "line 2: expected bonafide or spoof as label, found a"),
        ("utt_id,label\na,spoof\na,spoof\na,bonafide\n", "line 4: a is bonafide here, and spoof above"),
    ],
)
def test_labels_that_cant_be_used_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DfserveError, match=words):
        read_labels(tmp_path / "labels.csv")


def test_the_examples_travel_with_the_package() -> None:
    assert list(example_set().waveforms) == ["human", "synthetic", "synthetic_diphone"]
