"""The score file: exact numbers, every column back, and a kill at any byte."""

import csv
import fcntl
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfcontract import score_appending, score_file
from dfcontract.errors import ScoreFileError
from dfcontract.score_appending import ERROR_COLUMNS, Opening, ScoreFile
from dfcontract.score_file import COLUMNS, NAMES, RUN_NAMES
from dfcontract.text import number

RUN = {
    "model": "toy",
    "version": "1",
    "weights": "custom",
    "checkpoint_sha256": "ab" * 32,
    "identity": "77",
    "precision": "fp32",
    "window_samples": 16_000,
    "mode": "sliding",
    "pool": "mean",
    "hop_s": 0.5,
}
PLAIN = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
VALUES = {
    "text": PLAIN,
    "number": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
    "whole": st.integers(0, 10**12),
    "numbers": st.lists(st.floats(-1e6, 1e6, width=32)).map(tuple),
    "texts": st.lists(st.text("a ;\\\n", min_size=1) | PLAIN.filter(bool)).map(tuple),
}
TEXTS = [column.name for column in COLUMNS if column.kind == "texts"]


def values(path: str, score: float = 0.5, **more) -> dict:
    windows = {"n_windows": 2, "window_starts_s": (0.0, 0.5), "window_scores": (score, score)}
    audio = {"duration_s": 1.5, "sample_rate_hz": 44_100, "channels": 2, "warnings": ("short: 0.1 s", "silence: all")}
    return {"utt_id": path, "score": score, "path": path, **RUN, **windows, **audio, **more}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_bring_a_float32_back(value):
    assert np.float32(number(value)) == np.float32(value)


@given(st.fixed_dictionaries({column.name: VALUES[column.kind] for column in COLUMNS}))
def test_a_row_survives_the_round_trip(row):
    assert score_file.from_row(score_file.to_row(row)) == {
        name: pytest.approx(value, rel=1e-8) if isinstance(value, float | tuple) and name not in TEXTS else value
        for name, value in row.items()
    }


@given(
    st.lists(st.fixed_dictionaries({"utt_id": PLAIN, "score": st.just("1.5"), "mine": PLAIN, "a;b": PLAIN}), min_size=1)
)
def test_columns_that_are_not_known_survive_writing_and_reading(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "s.csv"
    score_file.write(path, rows)
    assert score_file.read(path) == rows


def test_rewriting_adds_columns_at_the_end_and_keeps_the_others(tmp_path):
    (tmp_path / "s.csv").write_text('utt_id,mine,score\na,"x, y",1\nb,,2\n')
    count = score_file.rewrite(
        tmp_path / "s.csv", tmp_path / "t.csv", lambda row: {**row, "llr": str(2 * float(row["score"]))}
    )
    assert count == 2
    assert (tmp_path / "t.csv").read_text() == 'utt_id,mine,score,llr\na,"x, y",1,2.0\nb,,2,4.0\n'


def test_rewriting_leaves_out_what_it_is_told_to_and_may_write_over_the_source(tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(b",utt_id,score\n0,a,1\n\n1,caf\xe9,2\n2\n")
    assert score_file.rewrite(path, path, lambda row: None if row["utt_id"] == "a" else row) == 2
    assert path.read_bytes() == b",utt_id,score\n1,caf\xe9,2\n2,,\n"
    assert score_file.rewrite(path, path, lambda row: None) == 0
    assert path.read_bytes() == b",utt_id,score\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [("utt_id,score,score\na,1,2\n", "'score' twice"), ("utt_id,score\na,1\nb,2,3\n", "line 3: expected 2 .* found 3")],
)
def test_a_file_that_rewriting_would_damage_is_refused_and_nothing_is_written(content, message, tmp_path):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(ScoreFileError, match=message):
        score_file.rewrite(tmp_path / "s.csv", tmp_path / "t.csv", dict)
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_a_column_that_is_not_known_is_an_error_not_a_loss():
    with pytest.raises(ScoreFileError, match="found extra"):
        score_file.to_row({"extra": 1})


def test_a_row_says_all_there_is(tmp_path):
    with ScoreFile(tmp_path / "s.csv", RUN) as file:
        file.append(values('odd "name",\nwith line.wav', 1.25, utt_id="odd"))
    with (tmp_path / "s.csv").open(newline="") as opened:
        header, row = list(csv.reader(opened))
    assert header == list(NAMES)
    assert dict(zip(header, row, strict=True)) == {
        "utt_id": "odd",
        "score": "1.25",
        "path": 'odd "name",\nwith line.wav',
        "model": "toy",
        "version": "1",
        "weights": "custom",
        "checkpoint_sha256": "ab" * 32,
        "identity": "77",
        "precision": "fp32",
        "window_samples": "16000",
        "calibration_sha256": "",
        "fusion_sha256": "",
        "members": "",
        "mode": "sliding",
        "pool": "mean",
        "hop_s": "0.5",
        "channel_choice": "",
        "track": "",
        "n_windows": "2",
        "window_starts_s": "0;0.5",
        "window_scores": "1.25;1.25",
        "member_scores": "",
        "llr": "",
        "verdict": "",
        "duration_s": "1.5",
        "sample_rate_hz": "44100",
        "channels": "2",
        "warnings": "short: 0.1 s;silence: all",
    }
    assert score_file.read(tmp_path / "s.csv") == [dict(zip(header, row, strict=True))]


def test_killed_at_any_byte_nothing_whole_is_lost_and_nothing_doubled(tmp_path):
    results = [values("a.wav", 1.0), values('b "quoted",\n.wav', -2.5e-7, utt_id="b"), values("c.wav", 3.0)]
    whole = tmp_path / "whole.csv"
    ends = []
    with ScoreFile(whole, RUN) as file:
        for result in results:
            file.append(result)
            ends.append(whole.stat().st_size)  # flushed: a kill right now would keep the row
    content = whole.read_bytes()
    assert ends[-1] == len(content)
    killed = tmp_path / "killed.csv"
    for length in range(len(content) + 1):
        killed.write_bytes(content[:length])
        with ScoreFile(killed, RUN, opening=Opening(resume=True)) as file:
            assert file.done == {result["path"] for result, end in zip(results, ends, strict=True) if end <= length}
            for result in results:
                if result["path"] not in file.done:
                    file.append(result)
        assert killed.read_bytes() == content, length


def test_an_existing_file_is_never_overwritten_silently(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("precious\n")
    with pytest.raises(ScoreFileError, match=r"--resume .* --overwrite"):
        ScoreFile(path, RUN)
    with pytest.raises(ScoreFileError, match="header"):
        ScoreFile(path, RUN, opening=Opening(resume=True))
    path.write_text("precious")
    with pytest.raises(ScoreFileError, match="not a score file"):
        ScoreFile(path, RUN, opening=Opening(resume=True))
    assert path.read_text() == "precious"
    with ScoreFile(path, RUN, opening=Opening(overwrite=True)) as file:
        file.append(values("a.wav"))
    assert [row["path"] for row in score_file.read(path)] == ["a.wav"]


@pytest.mark.parametrize("name", RUN_NAMES)
def test_resuming_another_run_names_the_difference(tmp_path, name):
    with ScoreFile(tmp_path / "s.csv", RUN) as file:
        file.append(values("a.wav"))
    before = (tmp_path / "s.csv").read_bytes()
    other = {name: 99 if name in ("window_samples", "hop_s") else ("99",) if name == "members" else "99"}
    with pytest.raises(ScoreFileError, match=f"row 2 was made with {name} .* this run has '99'"):
        ScoreFile(tmp_path / "s.csv", {**RUN, **other}, opening=Opening(resume=True))
    assert (tmp_path / "s.csv").read_bytes() == before


def test_two_runs_cant_write_one_file(tmp_path):
    path = tmp_path / "s.csv"
    with ScoreFile(path, RUN) as file:
        file.append(values("a.wav"))
        for opening in (Opening(resume=True), Opening(overwrite=True)):
            with pytest.raises(ScoreFileError, match="another run is writing it"):
                ScoreFile(path, RUN, opening=opening)
        file.append(values("b.wav"))
    assert [row["path"] for row in score_file.read(path)] == ["a.wav", "b.wav"]
    with ScoreFile(path, RUN, opening=Opening(resume=True)) as file:
        assert file.done == {"a.wav", "b.wav"}


def test_a_file_that_a_run_is_writing_is_not_replaced(tmp_path):
    path = tmp_path / "s.csv"
    with ScoreFile(path, RUN) as file:
        file.append(values("a.wav"))
        with pytest.raises(ScoreFileError, match="another run is writing it"):
            score_file.rewrite(path, path, dict)
        with pytest.raises(ScoreFileError, match="another run is writing it"):
            score_file.write(path, score_file.read(path))
        file.append(values("b.wav"))
    assert [row["path"] for row in score_file.read(path)] == ["a.wav", "b.wav"]
    assert score_file.rewrite(path, path, dict) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_of_something_else_counts_too(tmp_path):
    (tmp_path / "s.csv").touch()
    with (tmp_path / "s.csv").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ScoreFileError, match="another run"):
            ScoreFile(tmp_path / "s.csv", RUN)


def test_a_run_that_ended_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    """Another run may write the file and end between this one's start and its lock."""
    monkeypatch.setattr(score_appending, "lock", lambda path, file: path.write_text("its rows\n"))
    with pytest.raises(ScoreFileError, match="exists already"):
        ScoreFile(tmp_path / "s.csv", RUN)
    assert (tmp_path / "s.csv").read_text() == "its rows\n"


def test_files_of_one_stem_keep_their_own_errors(tmp_path):
    for name, file_format in (("k.csv", "csv"), ("k.txt", "asvspoof")):
        with ScoreFile(tmp_path / name, RUN, file_format=file_format) as file:
            file.append_error(f"bad for {name}", "bad", "why")
    assert errors_of(tmp_path / "k.errors.csv")[1:] == [["bad for k.csv", "bad", "why"]]
    assert errors_of(tmp_path / "k.txt.errors.csv")[1:] == [["bad for k.txt", "bad", "why"]]


def errors_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_errors_have_a_file_beside_and_are_forgotten_when_tried_again(tmp_path):
    errors = tmp_path / "s.errors.csv"
    with ScoreFile(tmp_path / "s.csv", RUN) as file:
        file.append_error("bad.wav", "bad", "no, really")
        file.append_error("worse.wav", "worse", "it\nis")
    header = list(ERROR_COLUMNS)
    assert errors_of(errors) == [header, ["bad.wav", "bad", "no, really"], ["worse.wav", "worse", "it\nis"]]
    with ScoreFile(tmp_path / "s.csv", RUN, opening=Opening(resume=True)) as file:
        file.retrying(["bad.wav"])
        assert errors_of(errors) == [header, ["worse.wav", "worse", "it\nis"]]
        file.append(values("bad.wav"))
        file.retrying(["worse.wav"])
    assert not errors.exists()


def test_starting_anew_forgets_the_errors(tmp_path):
    with ScoreFile(tmp_path / "s.csv", RUN) as file:
        file.append(values("a.wav"))
        file.append_error("bad.wav", "bad", "why")
    with ScoreFile(tmp_path / "s.csv", RUN, opening=Opening(overwrite=True)):
        assert not (tmp_path / "s.errors.csv").exists()


def test_a_strangers_file_under_the_errors_name_stays(tmp_path):
    foreign = tmp_path / "s.errors.csv"
    foreign.write_text("my own notes\n")
    with pytest.raises(ScoreFileError, match="is no list of errors"):
        ScoreFile(tmp_path / "s.csv", RUN)
    assert foreign.read_text() == "my own notes\n"
    assert not (tmp_path / "s.csv").exists()


def test_a_row_of_many_hours_can_be_read_back(tmp_path):
    scores = tuple(float(np.float32(index / 7)) for index in range(40_000))
    with ScoreFile(tmp_path / "s.csv", RUN) as file:
        file.append(values("long.wav", window_scores=scores))
    (row,) = score_file.read(tmp_path / "s.csv")
    assert len(row["window_scores"]) > 131_072
    np.testing.assert_array_equal(np.float32(score_file.from_row(row)["window_scores"]), np.float32(scores))


def test_asvspoofs_lines_hold_id_and_score_alone(tmp_path):
    path = tmp_path / "s.txt"
    with ScoreFile(path, RUN, file_format="asvspoof") as file:
        file.append(values("a.wav", 1.5, utt_id="LA_E_1"))
    assert path.read_text() == "LA_E_1 1.5\n"
    assert score_file.read(path) == [{"utt_id": "LA_E_1", "score": "1.5"}]


@pytest.mark.parametrize(
    ("change", "opening", "words"),
    [({"weights": "random"}, Opening(), "no room to say"), ({}, Opening(resume=True), "resuming needs the csv format")],
)
def test_asvspoofs_lines_refuse_what_they_cant_say(tmp_path, change, opening, words):
    with pytest.raises(ScoreFileError, match=words):
        ScoreFile(tmp_path / "s.txt", {**RUN, **change}, file_format="asvspoof", opening=opening)


def test_an_unknown_format_is_an_error(tmp_path):
    with pytest.raises(ScoreFileError, match="csv or asvspoof, found 'xml'"):
        ScoreFile(tmp_path / "s.xml", RUN, file_format="xml")


def test_a_comma_without_quotes_is_an_error_not_another_score(tmp_path):
    (tmp_path / "s.csv").write_text("path,score,utt_id\na.wav,1,a\nb,7.wav,2,b\n")
    with pytest.raises(ScoreFileError, match="line 3: expected 3 fields, found 4"):
        score_file.read(tmp_path / "s.csv")


@pytest.mark.parametrize("content", ["utt_id,score\na,nan\n", "a\n", "a b c\n", "utt_id,score\na,\n"])
def test_a_row_without_a_finite_score_is_named(tmp_path, content):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(ScoreFileError, match="row 1: expected CSV"):
        score_file.read(tmp_path / "s.csv")
