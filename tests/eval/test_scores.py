"""Score files of every kind, and pickles that want to run something."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from dfeval.errors import ScoreFileError
from dfeval.scores import load_scores


def write(tmp_path, content, name="scores"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "utt_id,score\na,1.5\nb,-2\n",
        "\ufeffutt_id,score\r\na,1.5\r\nb,-2\r\n",
        "score,other,utt_id\n1.5,x,a\n-2,y,b\n",
        "filename\tcm-score\na\t1.5\nb\t-2\n",
        "a 1.5\nb -2\n",
        "a A11 spoof 1.5\nb - bonafide -2\n",
        "\nID,Score,Label\na,1.5,1\nb,-2,0\n",
        "sep=;\nfile_name;cm_score\na;1.5\nb;-2\n",
        '"utt_id", "score"\n"a", "1.5"\n"b" , "-2"\n',
        "id|score\na|1.5|\nb|-2|\n",
        "utt_id,score\na,1.5\nb,-2\n".encode("utf-16"),
        "a 1.5 text\nb -2 text\n",
        '{"a": 1.5, "b": -2}',
        '\ufeff {\n "a": "1.5", "b": -2.0}',
        pickle.dumps({"a": 1.5, "b": -2}),
        pickle.dumps({"a": 1.5, "b": -2.0}, protocol=2),
    ],
)
def test_every_kind_reads_the_same(content, tmp_path):
    table = load_scores(write(tmp_path, content)).table
    assert table["utt_id"].tolist() == ["a", "b"]
    assert table["score"].tolist() == [1.5, -2.0]


def test_ids_that_look_like_numbers_stay_text(tmp_path):
    table = load_scores(write(tmp_path, "utt_id,score\n007,1\nNA,2\n")).table
    assert table["utt_id"].tolist() == ["007", "NA"]


def test_a_path_in_another_encoding_spoils_nothing(tmp_path):
    table = load_scores(write(tmp_path, b"utt_id,score,path\na,1.5,caf\xe9/a.wav\n")).table
    assert table["score"].tolist() == [1.5]


def test_provenance_and_windows_are_kept(tmp_path):
    text = (
        "utt_id,score,path,model,weights,checkpoint_sha256,mode,pool,hop_s\n"
        "a,1,x/a.wav,aasist,random,abc,sliding,mean,1\nb,2,x/b.wav,aasist,random,abc,sliding,mean,1\n"
    )
    scores = load_scores(write(tmp_path, text))
    assert (scores.detector, scores.weights, scores.checkpoint_sha256) == ("aasist", "random", "abc")
    assert scores.mode == "sliding, mean, hop 1 s"
    assert scores.is_random


def test_one_random_row_makes_a_file_random(tmp_path):
    assert load_scores(write(tmp_path, "utt_id,score,weights\na,1,pretrained\nb,2,random\n")).is_random


def test_several_models_must_be_told_apart(tmp_path):
    path = write(tmp_path, "utt_id,score,model\na,1,x\na,2,y\n")
    with pytest.raises(ScoreFileError, match="2 models"):
        load_scores(path)
    assert load_scores(path, model="y").table["score"].tolist() == [2.0]
    with pytest.raises(ScoreFileError, match="found x, y"):
        load_scores(path, model="z")


def test_another_column_can_be_the_score(tmp_path):
    path = write(tmp_path, "utt_id,score,llr\na,1,0.5\n")
    assert load_scores(path, "llr").table["score"].tolist() == [0.5]
    with pytest.raises(ScoreFileError, match=r"expected a column nope, found utt_id, score, llr"):
        load_scores(path, "nope")


def test_no_score_is_nan(tmp_path):
    values = load_scores(write(tmp_path, "utt_id,score\na,\nb,nan\nc,-inf\n")).table["score"]
    assert np.isnan(values[:2]).all()
    assert values[2] == -np.inf


@pytest.mark.parametrize("rows", ["a 1.5 1\nb -2 0\n", "a,1.5,1\nb,-2,0\n", "a -1.5 1.5\nb 2 -2\n"])
def test_several_columns_of_numbers_and_no_header_leave_the_score_open(rows, tmp_path):
    path = write(tmp_path, rows)
    with pytest.raises(ScoreFileError, match=r"columns are 1 \(a\), 2 \(.*\), 3 \(.*\); .* --score-column"):
        load_scores(path)
    for number in (2, 3):
        expected = [float(row.replace(",", " ").split()[number - 1]) for row in rows.splitlines()]
        assert load_scores(path, str(number)).table["score"].tolist() == expected
    for wrong in ("1", "4", "score"):
        with pytest.raises(ScoreFileError, match=rf"number of a column after the id .* found '{wrong}'; the columns"):
            load_scores(path, wrong)


def test_a_header_of_unknown_columns_is_no_row(tmp_path):
    with pytest.raises(ScoreFileError, match=r"found 'clip p_spoof'; a header has a column of ids named utt_id, "):
        load_scores(write(tmp_path, "clip,p_spoof\na,0.5\nb,0.1\n"))


def test_a_delimiter_inside_ids_is_none(tmp_path):
    table = load_scores(write(tmp_path, "a|x 1.5\nb|y -2\n")).table
    assert (table["utt_id"].tolist(), table["score"].tolist()) == (["a|x", "b|y"], [1.5, -2])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("utt_id;score\na;1,5\nb;-2,25\n", 2),
        ("utt_id,score\na,1,5\nb,-2,25\n", 2),
        ("\nutt_id;score\na;1.5\nb;-2,25\n", 4),
        ("a 1,5\nb -2,25\n", 1),
        ("a;1,5\nb;-2,25\n", 1),
        ("a\t1,5\nb\t-2,25\n", 1),
    ],
)
def test_decimal_commas_are_refused_by_line(text, line, tmp_path):
    with pytest.raises(ScoreFileError, match=rf"line {line}: found '.*,.*': write decimal points, not commas"):
        load_scores(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("utt_id,score\na,1.5\n\nx,loud\nb,-2\n", "line 4: expected a number, found 'loud'"),
        ("utt_id,score\na,1.5\nx,3,surplus\nb,-2\n", "line 3: expected 2 fields, found 3"),
        ("a 1.5\nx y 3\nb -2\n", "line 2: expected 2 fields, found 3"),
        ('{"a": 1.5, "x": [3], "b": -2}', "x: expected a number, found another kind of value"),
    ],
)
def test_one_unreadable_row_is_named_and_the_rest_is_read(text, problem, tmp_path):
    scores = load_scores(write(tmp_path, text))
    assert scores.table["utt_id"].tolist() == ["a", "b"]
    assert scores.table["score"].tolist() == [1.5, -2]
    assert scores.notes == (f"scores: 1 rows can't be read and are left out ({problem})",)


def test_an_id_that_json_repeats_is_kept_for_the_count_of_repeats(tmp_path):
    assert load_scores(write(tmp_path, '{"a": 1, "a": 2}')).table["score"].tolist() == [1, 2]


def test_an_encoding_that_shows_behind_the_start_of_the_file_is_found(tmp_path):
    rows = "".join(f"clip_{index},{index}\n" for index in range(10_000))
    scores = load_scores(write(tmp_path, f"utt_id,score\n{rows}größe,7\n".encode("latin-1")))
    assert scores.table["utt_id"].iloc[-1] == "größe"
    assert scores.notes == ("scores: read as Latin-1: it is not UTF-8",)


def test_several_files_are_one_detectors_rows(tmp_path):
    header = "utt_id,score,path,model,weights\n"
    bonafide = write(tmp_path, f"{header}1,1.5,human/1.wav,aasist,pretrained\n", "bonafide.csv")
    spoof = write(tmp_path, f"{header}1,-2,fish/1.wav,aasist,pretrained\n", "spoof.csv")
    scores = load_scores((bonafide, spoof))
    assert scores.table["path"].tolist() == ["human/1.wav", "fish/1.wav"]  # ids repeat across the files alone
    assert scores.table["score"].tolist() == [1.5, -2]
    assert (scores.detector, scores.weights, scores.name) == ("aasist", "pretrained", "bonafide.csv + spoof.csv")
    assert load_scores((bonafide, write(tmp_path, "a 1\n", "c.csv")), model="aasist").table["score"].tolist() == [1.5]


def test_several_files_of_different_models_are_not_one_detector(tmp_path):
    files = [write(tmp_path, f"utt_id,score,model\na,1,{name}\n", name) for name in ("aasist", "sls")]
    with pytest.raises(ScoreFileError, match=r"scores of 2 models \(aasist, sls\)"):
        load_scores(files)
    with pytest.raises(ScoreFileError, match=r"scores of 2 models \(aasist, rows that name none\)"):
        load_scores([files[0], write(tmp_path, "b 2\n", "other")])


def test_one_random_part_makes_the_whole_random(tmp_path):
    parts = [
        write(tmp_path, f"utt_id,score{column}\na,1{value}\n", f"part{value}")
        for column, value in (("", ""), (",weights", ",random"))
    ]
    assert load_scores(parts).is_random


class Hostile:
    """Unpickled the usual way, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_nothing_runs(protocol, tmp_path):
    trap = tmp_path / "trap"
    content = pickle.dumps({"a": Hostile(trap)}, protocol=protocol)
    with pytest.raises(ScoreFileError, match=r"refused: it asks for .*mkdir"):
        load_scores(write(tmp_path, content))
    assert not trap.exists()
    pickle.loads(content)  # the trap does work
    assert trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": np.float32(1)}), "refused: it asks for numpy"),
        (pickle.dumps([1, 2]), "holds list"),
        (pickle.dumps({"a": [1.0]}), "a score of type list"),
        (pickle.dumps({1: 1.0}), "expected a plain dict"),
        (pickle.dumps({"a": 10**400}), "expected a number that a float can hold"),
        (b'{"a": 1' + 400 * b"0" + b"}", "expected a number that a float can hold"),
        (pickle.dumps({"a": 1.0})[:-3], "no readable pickle"),
        (b"", "is empty"),
        (b"\x00\x01\x02binary", "expected text, found binary data; expected a pickle"),
        (b"\xff\xfeU\x00T\x00F\x00", "expected CSV with the header"),
        (b"just words\n", "expected CSV with the header"),
        (b'{"a": 1', "is no readable JSON"),
        (b"{}", "holds no scores"),
        (b'[{"utt_id": "a"}]', "holds a list; expected JSON of {id: score}"),
        (b"utt_id,score\na,loud\n", "can't be read as scores"),
    ],
)
def test_what_is_no_score_file_is_named(content, message, tmp_path):
    path = write(tmp_path, content, "odd.pkl")
    with pytest.raises(ScoreFileError, match=message) as caught:
        load_scores(path)
    assert "odd.pkl" in str(caught.value)


def test_a_device_is_no_score_file():
    with pytest.raises(ScoreFileError, match="/dev/zero: expected a file, found a folder, a pipe or a device"):
        load_scores(Path("/dev/zero"))


def test_a_protocol_0_pickle_is_not_run_either(tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(ScoreFileError):
        load_scores(write(tmp_path, pickle.dumps({"a": Hostile(trap)}, protocol=0)))
    assert not trap.exists()
