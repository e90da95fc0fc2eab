"""The score file: exact numbers, and a kill at any byte."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfclient import scores
from dfclient.errors import AudioError, ScoreFileError
from dfclient.results import Failed, Score, WindowScore
from dfclient.scores import Opening, ScoreFile


@pytest.fixture
def score(card):
    """score(path, value=0.5, **card_changes) → a Score of two windows."""

    def make(path: str, value: float = 0.5, utt_id: str = "", **card_changes: str) -> Score:
        parts = (WindowScore(0.0, 1.0, value, (-value, value)), WindowScore(0.5, 1.5, value, (-value, value)))
        warnings = ("short: 0.1 s", "silence: all")
        return Score(
            utt_id or path, path, value, parts, "sliding", "mean", 0.5, 1.5, 44100, 2, warnings, card(**card_changes)
        )

    return make


@pytest.fixture
def run(card):
    """run(**changes) → the columns of a run that made `score`'s rows."""
    return lambda **changes: scores.run_of(card(), "sliding", "mean", 0.5) | changes


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_bring_a_float32_back(value):
    assert np.float32(scores.number(value)) == np.float32(value)


def test_a_row_says_all_there_is(tmp_path, score, run):
    with ScoreFile(tmp_path / "s.csv", run()) as file:
        file.append(score('odd "name",\nwith line.wav', 1.25, utt_id="odd"))
    with (tmp_path / "s.csv").open(newline="") as opened:
        header, row = list(csv.reader(opened))
    assert header == list(scores.COLUMNS)
    assert dict(zip(header, row, strict=True)) == {
        "utt_id": "odd",
        "score": "1.25",
        "path": 'odd "name",\nwith line.wav',
        "model": "toy",
        "version": "1",
        "weights": "custom",
        "checkpoint_sha256": "ab" * 32,
        "calibration_sha256": "",
        "mode": "sliding",
        "pool": "mean",
        "hop_s": "0.5",
        "n_windows": "2",
        "window_starts_s": "0;0.5",
        "window_scores": "1.25;1.25",
        "llr": "",
        "verdict": "",
        "duration_s": "1.5",
        "sample_rate_hz": "44100",
        "channels": "2",
        "warnings": "short: 0.1 s;silence: all",
    }
    assert scores.read(tmp_path / "s.csv") == [dict(zip(header, row, strict=True))]


def test_killed_at_any_byte_nothing_whole_is_lost_and_nothing_doubled(tmp_path, score, run):
    results = [score("a.wav", 1.0), score('b "quoted",\n.wav', -2.5e-7, utt_id="b"), score("c.wav", 3.0)]
    whole = tmp_path / "whole.csv"
    ends = []
    with ScoreFile(whole, run()) as file:
        for result in results:
            file.append(result)
            ends.append(whole.stat().st_size)  # flushed: a kill right now would keep the row
    content = whole.read_bytes()
    assert ends[-1] == len(content)
    killed = tmp_path / "killed.csv"
    for length in range(len(content) + 1):
        killed.write_bytes(content[:length])
        with ScoreFile(killed, run(), opening=Opening(resume=True)) as file:
            assert file.done == {result.path for result, end in zip(results, ends, strict=True) if end <= length}
            for result in results:
                if result.path not in file.done:
                    file.append(result)
        assert killed.read_bytes() == content, length


def test_an_existing_file_is_never_overwritten_silently(tmp_path, score, run):
    path = tmp_path / "s.csv"
    path.write_text("precious\n")
    with pytest.raises(ScoreFileError, match=r"--resume .* --overwrite"):
        ScoreFile(path, run())
    with pytest.raises(ScoreFileError, match="header"):
        ScoreFile(path, run(), opening=Opening(resume=True))
    path.write_text("precious")
    with pytest.raises(ScoreFileError, match="not a score file"):
        ScoreFile(path, run(), opening=Opening(resume=True))
    assert path.read_text() == "precious"
    with ScoreFile(path, run(), opening=Opening(overwrite=True)) as file:
        file.append(score("a.wav"))
    assert [row["path"] for row in scores.read(path)] == ["a.wav"]


@pytest.mark.parametrize("column", scores.RUN_COLUMNS)
def test_resuming_another_run_names_the_difference(tmp_path, score, run, column):
    with ScoreFile(tmp_path / "s.csv", run()) as file:
        file.append(score("a.wav"))
    before = (tmp_path / "s.csv").read_bytes()
    with pytest.raises(ScoreFileError, match=f"row 2 was made with {column} .* this run has 'else'"):
        ScoreFile(tmp_path / "s.csv", run(**{column: "else"}), opening=Opening(resume=True))
    assert (tmp_path / "s.csv").read_bytes() == before


def test_errors_have_a_file_beside_and_are_tried_again(tmp_path, score, run):
    errors = tmp_path / "s.errors.csv"
    errors.write_text("of an earlier run\n")
    with ScoreFile(tmp_path / "s.csv", run()) as file:
        assert not errors.exists()
        file.append(Failed("bad", "bad.wav", AudioError("the file is empty (0 bytes)")))
        file.append(score("a.wav"))
    with errors.open(newline="") as opened:
        assert list(csv.reader(opened)) == [
            ["path", "utt_id", "error"],
            ["bad.wav", "bad", "the file is empty (0 bytes)"],
        ]
    with ScoreFile(tmp_path / "s.csv", run(), opening=Opening(resume=True)) as file:
        assert file.done == {"a.wav"}
    assert not errors.exists()


def test_names_that_are_not_utf8_survive(tmp_path, score, run):
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    with ScoreFile(tmp_path / "s.csv", run()) as file:
        file.append(score(name))
    assert scores.read(tmp_path / "s.csv")[0]["path"] == name
    with ScoreFile(tmp_path / "s.csv", run(), opening=Opening(resume=True)) as file:
        assert file.done == {name}


def test_asvspoof_text_out_and_in(tmp_path, score, run):
    with ScoreFile(tmp_path / "s.txt", run(), file_format="asvspoof") as file:
        file.append(score("a.wav", -1.5, utt_id="LA_E_1"))
        file.append(score("b.wav", 2.0, utt_id="LA_E_2"))
    assert (tmp_path / "s.txt").read_text() == "LA_E_1 -1.5\nLA_E_2 2\n"
    rows = scores.read(tmp_path / "s.txt")
    assert rows == [{"utt_id": "LA_E_1", "score": "-1.5"}, {"utt_id": "LA_E_2", "score": "2"}]
    scores.write_asvspoof(rows, tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text() == (tmp_path / "s.txt").read_text()


def test_asvspoof_text_refuses_what_it_cannot_say(tmp_path, score, run):
    path = tmp_path / "s.txt"
    with pytest.raises(ScoreFileError, match="random"):
        ScoreFile(path, run(weights="random"), file_format="asvspoof")
    with pytest.raises(ScoreFileError, match="resuming needs the csv format"):
        ScoreFile(path, run(), file_format="asvspoof", opening=Opening(resume=True))
    assert not path.exists()
    with pytest.raises(ScoreFileError, match="random"):
        scores.write_asvspoof([scores.row_of(score("a.wav", weights="random"))], path)
    with pytest.raises(ScoreFileError, match="spaces"):
        scores.write_asvspoof([{"utt_id": "a b", "score": "1"}], path)


@pytest.mark.parametrize("content", ["utt_id,score\na,\n", "a b\n", "utt_id,score\na,nan\n", "one\n"])
def test_reading_refuses_what_has_no_score(tmp_path, content):
    path = tmp_path / "s.csv"
    path.write_text(content)
    with pytest.raises(ScoreFileError, match="row 1: expected"):
        scores.read(path)


@pytest.mark.parametrize("name", ["", "no/s.csv"])
def test_places_that_cannot_be_written(tmp_path, run, name):
    (tmp_path / "no").touch()
    with pytest.raises(ScoreFileError, match=r"folder|cannot write"):
        ScoreFile(tmp_path / name, run())
