"""The server's windows of a stream are the client's windows of the whole recording."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract import windows
from dfdeploy.backends.live.cutter import Cutter
from dfdeploy.backends.live.errors import StreamError

W = 50


@st.composite
def streams(draw: st.DrawFn) -> tuple[np.ndarray, int, list[int]]:
    n_samples = draw(st.integers(1, 400))
    cuts = sorted(draw(st.lists(st.integers(0, n_samples), max_size=12)))
    return np.arange(n_samples, dtype=np.float32), draw(st.integers(1, W)), cuts


def cut_live(waveform: np.ndarray, hop: int, cuts: list[int], first_window: int = 0) -> list:
    cutter = Cutter(W, hop, first_window)
    chunks = np.split(waveform, cuts)
    found = [window for chunk in chunks for window in cutter.push(chunk)]
    assert len(cutter.samples) <= W
    return found + list(cutter.finish())


@given(streams())
def test_any_chunks_give_the_offline_windows(stream) -> None:
    waveform, hop, cuts = stream
    starts = windows.window_starts("sliding", len(waveform), W, hop)
    found = cut_live(waveform, hop, cuts)
    assert [window.start for window in found] == starts
    assert [window.index for window in found] == list(range(len(starts)))
    assert [window.end for window in found] == [min(start + W, len(waveform)) for start in starts]
    for window in found:
        np.testing.assert_array_equal(window.samples, windows.cut(waveform, window.start, W))


@given(streams(), st.data())
def test_a_resumed_stream_answers_the_rest(stream, data: st.DataObject) -> None:
    waveform, hop, _ = stream
    starts = windows.window_starts("sliding", len(waveform), W, hop)
    n_full = windows.full_window_count(len(waveform), W, hop)
    first = data.draw(st.integers(0, n_full))
    sent = waveform[max(first - 1, 0) * hop :]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    found = cut_live(sent, hop, cuts, first)
    assert [window.start for window in found] == starts[first:]
    for window in found:
        np.testing.assert_array_equal(window.samples, windows.cut(waveform, window.start, W))


def test_a_short_stream_of_a_pre_emphasising_detector_is_joined_as_offline() -> None:
    waveform = np.random.RandomState(1).uniform(-1, 1, 17).astype(np.float32)
    cutter = Cutter(W, 10, pre_emphasis=0.97)
    assert list(cutter.push(waveform)) == []
    (window,) = cutter.finish()
    np.testing.assert_array_equal(window.samples, windows.cut(waveform, 0, W, 0.97))
    assert not np.array_equal(window.samples, windows.cut(waveform, 0, W))


def test_a_stream_resumed_past_its_end_is_an_error() -> None:
    cutter = Cutter(W, 10, first_window=3)
    cutter.push(np.zeros(W - 1, np.float32))
    with pytest.raises(StreamError, match="resumed at window 3 ends before it, after 69 samples"):
        cutter.finish()


def test_no_audio_has_no_window() -> None:
    assert list(Cutter(W, 10).finish()) == []
