"""`ordered_map`: order, bounds, errors in their turn; `score_set`: rows, resume, what its listener hears."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dfclient import Clip, Detector, Failed, InputError, Opening, Score, ScoreFileError, score_set
from dfclient.batch import ordered_map
from dfcontract import score_file


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 5), st.integers(1, 8))
def test_order_is_the_items_whatever_finishes_first(delays, threads, ahead):
    with ThreadPoolExecutor(threads) as pool:
        found = list(ordered_map(pool, lambda delay: (time.sleep(delay / 1000), delay)[1], delays, ahead))
    assert found == delays


def test_items_are_taken_lazily_and_bounded():
    taken = []
    released = threading.Event()
    with ThreadPoolExecutor(2) as pool:

        def items():
            for item in range(100):
                taken.append(item)
                yield item

        results = ordered_map(pool, lambda item: released.wait(5) and item, items(), ahead=6)
        threading.Timer(0.1, released.set).start()
        assert next(results) == 0
        assert len(taken) <= 6
        assert list(results) == list(range(1, 100))


def test_an_error_is_raised_in_its_turn_and_ends_the_rest():
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            raise KeyError(item)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = ordered_map(pool, work, range(1000), ahead=4)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError):
            next(results)
    assert len(begun) < 10


class Ears:
    """A listener that keeps what it hears, and what the file held at that moment."""

    def __init__(self, out=None) -> None:
        self.out, self.begun, self.heard, self.rows_then = out, None, [], []

    def begin(self, n_missing, n_done):
        self.begun = (n_missing, n_done)

    def take(self, result):
        self.heard.append(result)
        if self.out is not None:
            self.rows_then.append(len(score_file.read(self.out)))


@pytest.fixture
def detector(tiny_server):
    with Detector(tiny_server.grpc_url, "tiny_trained") as connected:
        yield connected


@pytest.fixture
def clips(recording):
    return [Clip(str(recording(f"{number}.wav", 0.6, seed=number)), f"u{number}") for number in range(5)]


def test_a_set_becomes_rows_and_its_listener_hears_each(detector, clips, tmp_path):
    out = tmp_path / "s.csv"
    ears = Ears(out)
    assert score_set(detector, clips, out, listener=ears) == (5, 0, 0)
    assert ears.begun == (5, 0)
    assert ears.rows_then == [1, 2, 3, 4, 5]
    assert all(isinstance(result, Score) for result in ears.heard)
    assert score_file.read(out) == [score_file.to_row(result.as_dict()) for result in ears.heard]


def test_resuming_scores_what_lacks_a_row(detector, clips, tmp_path):
    out = tmp_path / "s.csv"
    (tmp_path / "gone.wav").touch()
    gone = Clip(str(tmp_path / "gone.wav"), "gone")
    assert score_set(detector, [*clips[:2], gone], out) == (2, 1, 0)
    with pytest.raises(ScoreFileError, match="exists already"):
        score_set(detector, clips, out)
    ears = Ears()
    assert score_set(detector, [*clips, gone], out, opening=Opening(resume=True), listener=ears) == (3, 1, 2)
    assert ears.begun == (4, 2)
    assert isinstance(ears.heard[-1], Failed)
    assert [row["utt_id"] for row in score_file.read(out)] == [clip.utt_id for clip in clips]
    assert (tmp_path / "s.errors.csv").read_text().count("gone.wav") == 1


def test_without_a_file_the_listener_alone_is_told(detector, clips):
    ears = Ears()
    assert score_set(detector, clips, None, windowing=detector.windowing("sliding"), listener=ears) == (5, 0, 0)
    assert {result.mode for result in ears.heard} == {"sliding"}


def test_what_cannot_be_used_is_refused_before_a_file_is_emptied(detector, clips, tmp_path):
    out = tmp_path / "s.csv"
    out.write_text("precious\n")
    overwrite = Opening(overwrite=True)
    with pytest.raises(InputError, match="concurrency"):
        score_set(detector, clips, out, concurrency=0, opening=overwrite)
    with pytest.raises(InputError, match="spaces"):
        score_set(detector, [Clip("a.wav", "a b")], out, file_format="asvspoof", opening=overwrite)
    assert out.read_text() == "precious\n"


def two_sided(path, speechlike, n_channels=2):
    soundfile.write(path, np.stack([speechlike(20000, 16000, seed) for seed in range(1, n_channels + 1)], 1), 16000)
    return Clip(str(path), path.stem)


def test_each_channel_has_a_row_and_resuming_scores_what_lacks_one(detector, tmp_path, speechlike):
    out = tmp_path / "s.csv"
    calls = [two_sided(tmp_path / f"{name}.wav", speechlike) for name in "ab"]
    gone = Clip(str(tmp_path / "gone.wav"), "gone")
    assert score_set(detector, [calls[0], gone, calls[1]], out, channels="each") == (4, 1, 0)
    whole = out.read_bytes()
    assert [row["utt_id"] for row in score_file.read(out)] == ["a#1", "a#2", "b#1", "b#2"]
    again = Opening(resume=True)
    for n_rows, counts in ((4, (0, 0, 2)), (3, (1, 0, 1)), (1, (3, 0, 0)), (0, (4, 0, 0))):
        out.write_bytes(b"".join(whole.splitlines(keepends=True)[: n_rows + 1]))
        assert score_set(detector, calls, out, channels="each", opening=again) == counts
        assert out.read_bytes() == whole
    two_sided(tmp_path / "gone.wav", speechlike)
    assert score_set(detector, [*calls, gone], out, channels="each", opening=again) == (2, 0, 2)
    assert not (tmp_path / "s.errors.csv").exists()


def test_rows_of_channels_and_of_wholes_do_not_mix(detector, tmp_path, speechlike):
    call, again = two_sided(tmp_path / "a.wav", speechlike), Opening(resume=True)
    score_set(detector, [call], tmp_path / "whole.csv")
    score_set(detector, [call], tmp_path / "each.csv", channels="each")
    with pytest.raises(ScoreFileError, match="made with channel_choice 'mix', this run has 'each'"):
        score_set(detector, [call], tmp_path / "whole.csv", channels="each", opening=again)
    with pytest.raises(ScoreFileError, match="made with channel_choice 'each', this run has 'mix'"):
        score_set(detector, [call], tmp_path / "each.csv", opening=again)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"channels": 1}, {"channels": 2}, "channel_choice '1', this run has '2'"),
        ({}, {"channels": 2}, "channel_choice 'mix', this run has '2'"),
        ({"track": 1}, {}, "track '1', this run has 'none'"),
        ({}, {"track": "deu"}, "track 'none', this run has 'deu'"),
    ],
)
def test_a_run_of_other_channels_or_another_track_is_not_gone_on_with(
    detector, tmp_path, speechlike, before, now, said
):
    calls, out = [two_sided(tmp_path / f"{name}.wav", speechlike) for name in "ab"], tmp_path / "s.csv"
    score_set(detector, calls[:1], out, **before)
    content, again = out.read_bytes(), Opening(resume=True)
    with pytest.raises(ScoreFileError, match=f"can't resume: row 2 was made with {said}: use the same settings"):
        score_set(detector, calls, out, opening=again, **now)
    assert out.read_bytes() == content
    assert score_set(detector, calls, out, opening=again, **before) == (1, 0, 1)
