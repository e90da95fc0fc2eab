"""Windows against a reference written out sample by sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfclient import windows

sizes = st.tuples(st.integers(1, 400), st.integers(1, 60)).flatmap(
    lambda sizes: st.tuples(st.just(sizes[0]), st.just(sizes[1]), st.integers(1, sizes[1]))
)


def naive_sliding(samples: list[float], window: int, hop: int) -> list[list[float]]:
    """The contract, read aloud."""
    if len(samples) < window:
        repeated: list[float] = []
        while len(repeated) < window:
            repeated.extend(samples)
        return [repeated[:window]]
    found = []
    start = 0
    while start + window <= len(samples):
        found.append(samples[start : start + window])
        last_end = start + window
        start += hop
    if last_end < len(samples):
        found.append(samples[-window:])
    return found


@given(sizes)
def test_sliding_windows_equal_the_written_out_reference(size):
    n_samples, window, hop = size
    waveform = np.arange(n_samples, dtype=np.float32)
    starts = windows.window_starts("sliding", n_samples, window, hop)
    found = [windows.cut(waveform, start, window).tolist() for start in starts]
    assert found == naive_sliding(waveform.tolist(), window, hop)


@given(sizes)
def test_full_windows_and_tail_are_what_a_stream_would_find(size):
    n_samples, window, hop = size
    full = [i * hop for i in range(windows.full_window_count(n_samples, window, hop))]
    tail = windows.tail_start(n_samples, window, hop)
    assert full + ([] if tail is None else [tail]) == windows.window_starts("sliding", n_samples, window, hop)
    for so_far in range(n_samples):  # a window once complete is never taken back
        assert windows.full_window_count(so_far, window, hop) <= len(full)


@given(st.integers(1, 400), st.integers(1, 100))
def test_protocol_window_is_the_baselines_padding(n_samples, window):
    waveform = np.arange(n_samples, dtype=np.float32)
    repeats = int(window / n_samples) + 1
    expected = waveform[:window] if n_samples >= window else np.tile(waveform, repeats)[:window]
    assert windows.window_starts("protocol", n_samples, window, window) == [0]
    np.testing.assert_array_equal(windows.cut(waveform, 0, window), expected)


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=30), st.integers(0, 100))
def test_percentile_interpolates_between_sorted_neighbours(scores, percent):
    ordered = sorted(scores)
    place = percent / 100 * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    expected = ordered[below] + (ordered[above] - ordered[below]) * (place - below)
    assert windows.pool_scores(scores, f"p{percent}") == pytest.approx(expected, abs=1e-9)


def test_mean_and_min():
    assert windows.pool_scores([1.0, 2.0, 6.0], "mean") == 3.0
    assert windows.pool_scores([1.0, -2.0, 6.0], "min") == -2.0


def test_one_window_pools_to_itself_exactly():
    score = float(np.float32(1.2345678))
    assert {windows.pool_scores([score], pool) for pool in ("mean", "min", "p0", "p37.5", "p100")} == {score}


@pytest.mark.parametrize("pool", ["max", "p101", "p", "p-1", "median", "p1000", "", "P10", "p1e1"])
def test_unknown_pools_are_refused(pool):
    with pytest.raises(ValueError, match="mean, min or a percentile"):
        windows.check_pool(pool)


@pytest.mark.parametrize(
    ("mode", "n", "hop", "words"),
    [
        ("protocol", 0, 5, "at least 1 sample"),
        ("other", 5, 5, "mode"),
        ("sliding", 5, 0, "hop"),
        ("sliding", 5, 11, "hop"),
    ],
)
def test_bad_arguments_are_named(mode, n, hop, words):
    with pytest.raises(ValueError, match=words):
        windows.window_starts(mode, n, 10, hop)


def test_long_clips_are_viewed_not_copied():
    waveform = np.zeros(1000, np.float32)
    assert windows.cut(waveform, 100, 500).base is waveform
