"""Windows and pooling against plain enumeration and NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract import windows
from dfcontract.errors import WindowError
from dfcontract.windows import ClipLengths, Pooler, Windowing

SCORES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60)


@given(SCORES)
def test_the_mean_is_numpys_over_every_prefix(scores):
    pooler = Pooler("mean")
    for count, score in enumerate(scores, 1):
        pooler.add(score)
        assert pooler.value == pytest.approx(np.mean(np.float64(scores[:count])), rel=1e-12, abs=1e-9)


def test_the_mean_of_a_day_loses_nothing_to_rounding():
    """Huge scores that cancel leave the small ones as they were; a plain running sum would lose them."""
    pooler = Pooler("mean")
    for score in [1e16, *[1.0] * 1000, -1e16]:
        pooler.add(score)
    assert pooler.value == pytest.approx(1000 / 1002, rel=1e-12)


@given(SCORES, st.floats(0, 100).map(lambda percent: f"p{percent:.2f}"))
def test_a_percentile_is_numpys_over_every_prefix(scores, pool):
    pooler = Pooler(pool)
    for count, score in enumerate(scores, 1):
        pooler.add(score)
        expected = np.percentile(np.float64(scores[:count]), float(pool[1:]))
        assert pooler.value == pytest.approx(expected, rel=1e-12, abs=1e-9)


@given(SCORES)
def test_the_minimum_and_p0_are_the_least(scores):
    assert windows.pool_scores(scores, "min") == windows.pool_scores(scores, "p0") == min(scores)
    assert windows.pool_scores(scores, "p100") == max(scores)


def test_nothing_to_pool_is_an_error():
    with pytest.raises(WindowError, match="at least one window"):
        _ = Pooler("mean").value


@pytest.mark.parametrize("pool", ["median", "p", "p101", "p-1", "P10", "p1e1", ""])
def test_an_unknown_pool_says_what_is_known(pool):
    with pytest.raises(WindowError, match="mean, min or a percentile"):
        Pooler(pool)


def test_windowing_has_defaults_a_mode():
    protocol = Windowing.checked(64_600, 16_000)
    assert (protocol.mode, protocol.hop_s, protocol.pool_stated) == ("protocol", None, "")
    sliding = Windowing.checked(64_600, 16_000, "sliding")
    assert (sliding.hop_samples, sliding.hop_s, sliding.pool_stated) == (64_600, 4.0375, "mean")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"mode": "whole"}, "protocol or sliding, found 'whole'"),
        ({"hop_s": 1.0}, "belong to sliding mode"),
        ({"pool": "mean"}, "belong to sliding mode"),
        ({"mode": "sliding", "hop_s": 0.0}, "hop in seconds, above 0 and at most the detector's window, found 0"),
        ({"mode": "sliding", "hop_s": 1e-9}, "hop of 1 to 16000 samples .* found 0; the window is 1 s"),
        ({"mode": "sliding", "hop_s": 1.5}, "found 24000"),
        ({"mode": "sliding", "hop_s": float("nan")}, "hop in seconds, above 0 .*, found nan"),
        ({"mode": "sliding", "hop_s": 1e308}, "number of seconds, found 1e\\+308"),
        ({"mode": "sliding", "pool": "p200"}, "p0 to p100"),
    ],
)
def test_a_choice_that_cant_be_used_says_why(choice, words):
    with pytest.raises(WindowError, match=words):
        Windowing.checked(16_000, 16_000, **choice)


WHOLE = ClipLengths(400, 208_000)


def test_a_whole_clip_is_sent_as_it_is():
    windowing = Windowing.checked(64_600, 16_000, clip=WHOLE)
    assert (windowing.mode, windowing.hop_s, windowing.pool_stated) == ("protocol", None, "")
    for n_samples in (400, 5_000, 64_600, 64_601, 208_000):
        clip = np.arange(n_samples, dtype=np.float32)
        assert windowing.starts(n_samples) == [0]
        np.testing.assert_array_equal(windowing.cut(clip, 0), clip)
        assert windowing.notes(n_samples) == ()


def test_a_clip_that_is_too_short_or_long_to_be_whole_says_so():
    windowing = Windowing.checked(64_600, 16_000, clip=WHOLE)
    clip = np.arange(399, dtype=np.float32)
    np.testing.assert_array_equal(windowing.cut(clip, 0), [*clip, 0])
    assert windowing.notes(399) == ("short: repeated to the 400 samples that the detector needs",)
    long = np.arange(500_000, dtype=np.float32)
    assert windowing.starts(500_000) == [0, 208_000, 292_000]
    np.testing.assert_array_equal(windowing.cut(long, 292_000), long[292_000:])
    assert windowing.notes(500_000) == ("long: the mean of 3 windows of 13 s, where its authors score the whole clip",)


def test_sliding_windows_of_a_detector_of_whole_clips_have_the_cards_length():
    windowing = Windowing.checked(64_600, 16_000, "sliding", hop_s=1.0, clip=WHOLE)
    assert windowing.starts(100_000) == [0, 16_000, 32_000, 35_400]
    clip = np.arange(100_000, dtype=np.float32)
    np.testing.assert_array_equal(windowing.cut(clip, 35_400), clip[35_400:])
    np.testing.assert_array_equal(windowing.cut(clip[:30_000], 0), clip[:30_000])  # shorter than a window: not repeated
    assert windowing.notes(30_000) == windowing.notes(500_000) == ()


@given(st.integers(1, 400), st.integers(1, 60), st.data())
def test_sliding_windows_cover_every_sample_and_end_at_the_end(n_samples, window_samples, data):
    hop_samples = data.draw(st.integers(1, window_samples))
    starts = windows.window_starts("sliding", n_samples, window_samples, hop_samples)
    full = [start for start in range(0, n_samples, hop_samples) if start + window_samples <= n_samples]
    assert starts[: len(full)] == full
    assert len(starts) <= len(full) + 1
    assert starts[-1] == max(n_samples - window_samples, 0)
    covered = {sample for start in starts for sample in range(start, start + window_samples)}
    assert covered >= set(range(n_samples))


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_short_clips_copies_pre_emphasise_like_the_clip_itself(n_samples, window_samples):
    clip = np.random.RandomState(n_samples).uniform(-1, 1, n_samples).astype(np.float32)
    window = windows.cut(clip, 0, window_samples, 0.97)
    assert (window.dtype, window.shape) == (np.float32, (window_samples,))
    authors = np.resize(np.append(clip[0], clip[1:] - np.float32(0.97) * clip[:-1]), window_samples)
    graph = np.append(window[0], window[1:] - np.float32(0.97) * window[:-1])
    np.testing.assert_allclose(graph, authors, atol=1e-5)
    np.testing.assert_array_equal(window[:n_samples], clip[:window_samples])


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_short_clip_is_repeated_from_its_start(n_samples, window_samples):
    waveform = np.arange(n_samples, dtype=np.float32)
    window = windows.cut(waveform, 0, window_samples)
    np.testing.assert_array_equal(window, [waveform[i % n_samples] for i in range(window_samples)])
