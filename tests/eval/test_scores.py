"""Score files of every kind, and pickles that want to run something."""

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfeval.errors import ScoreFileError
from dfeval.scores import load_scores

# {"a": numpy.float64(1.5), "b": -2} as Python 2 pickles it, with the old name of NumPy's module and bytes as text.
PYTHON_2 = (
    b"(dp0\nS'a'\np1\ncnumpy.core.multiarray\nscalar\np2\n(cnumpy\ndtype\np3\n(S'f8'\np4\nI0\nI1\ntp5\nRp6\n"
    b"(I3\nS'<'\np7\nNNNI-1\nI-1\nI0\ntp8\nbS'\\x00\\x00\\x00\\x00\\x00\\x00\\xf8?'\np9\ntp10\nRp11\n"
    b"sS'b'\np12\nI-2\ns."
)


def gzipped(content: bytes) -> bytes:
    """Without the time in its header: two processes that collect the tests must find the same ones."""
    return gzip.compress(content, mtime=0)


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
        *(pickle.dumps({"a": 1.5, "b": -2.0}, protocol=protocol) for protocol in range(6)),
        *(pickle.dumps({"a": np.float32(1.5), "b": np.float64(-2)}, protocol=protocol) for protocol in range(6)),
        pickle.dumps({"a": np.float16(1.5), "b": np.int64(-2)}),
        pickle.dumps({"a": np.array([1.5], ">f8")[0], "b": -2}, protocol=2),
        PYTHON_2,
        gzipped(b"utt_id,score\na,1.5\nb,-2\n"),
        gzipped(b"a 1.5\n") + gzipped(b"b -2\n"),
        gzipped(pickle.dumps({"a": 1.5, "b": -2})),
        gzipped(b'{"a": 1.5, "b": -2}'),
        '[{"utt_id": "a", "score": 1.5}, {"score": -2, "utt_id": "b"}]',
        '{"file_name": "a", "score": 1.5, "note": "x, y"}\n\n{"file_name": "b", "score": "-2"}\n',
        '{"utt_id": ["a", "b"], "score": [1.5, -2]}',
        '{"utt_id": {"0": "a", "1": "b"}, "score": {"0": 1.5, "1": -2}}',
        '[["a", 1.5], ["b", -2]]',
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
        with pytest.raises(ScoreFileError, match=rf"number of a column beside the id .* found '{wrong}'; the columns"):
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
        (
            '{"id": "a", "score": 1.5}\n\n{"id": x\n{"id": "b", "score": -2}',
            "line 3: expected a number, found '{\"id\": x'",
        ),
        ('[["a", 1.5], ["x", "loud", 3], ["b", -2]]', "line 2: expected 2 fields, found 3"),
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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
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
        (pickle.dumps({"a": np.complex64(1)}), "refused: it asks for a NumPy dtype 'c8', which is no number"),
        (pickle.dumps({"a": np.array(1.0)}), "refused: it asks for numpy"),
        (b"\x80\x02}q\x00X\x01\x00\x00\x00acnumpy\ndtype\n}X\x01\x00\x00\x00xK\x01sbs.", "changes what it was given"),
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
        (b'["a", "b"]', "holds a list; expected JSON of {id: score}, or a list of records"),
        (b'[{"utt_id": "a"}]', "expected a column score"),
        (gzipped(b"a 1.5\n")[:-9], "is cut short: its gzip data have no end"),
        (b"\x1f\x8b" + bytes(20), "is damaged"),
        (b"PAR1 and no more", "can't be read as Parquet"),
        (b"utt_id,score\na,loud\n", "can't be read as scores"),
        (b"utt_id,score\n", "can't be read as scores: it has none"),
        (b"ID,Score,Label\n\n", "can't be read as scores: it has none"),
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


def test_parquet(tmp_path):
    path = tmp_path / "scores.parquet"
    pd.DataFrame({"utt_id": ["a", "b", "c"], "score": [1.5, -2.0, None]}).to_parquet(path)
    scores = load_scores(path)
    assert scores.table["utt_id"].tolist() == ["a", "b", "c"]
    np.testing.assert_equal(scores.table["score"].to_numpy(), [1.5, -2, np.nan])


def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dfeval.unpacking.MAX_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(ScoreFileError, match="unpacks to more than 1 MiB"):
        load_scores(write(tmp_path, gzipped(b"a 1.5\n" * (1 << 18)), "scores.gz"))


def test_ids_and_scores_may_have_any_name_and_place(tmp_path):
    headed = write(tmp_path, "clip,p_real,utt_id\na,1.5,1\nb,-2,2\n", "odd.csv")
    assert load_scores(headed, "p_real", id_column="Clip").table["utt_id"].tolist() == ["a", "b"]
    assert load_scores(headed, "p_real").table["utt_id"].tolist() == ["1", "2"]
    headless = write(tmp_path, "1.5 a x\n-2 b y\n", "odd.txt")
    scores = load_scores(headless, id_column="2")
    assert (scores.table["utt_id"].tolist(), scores.table["score"].tolist()) == (["a", "b"], [1.5, -2])
    with pytest.raises(ScoreFileError, match="one of its 3 columns as --id-column, found 4"):
        load_scores(headless, id_column="4")
    with pytest.raises(ScoreFileError, match="can't hold both the ids and the scores"):
        load_scores(headed, "p_real", id_column="p_real")


def test_negated_scores_say_so(tmp_path):
    scores = load_scores(write(tmp_path, "utt_id,score\na,1.5\nb,-2\n"), invert=True, name="mine")
    assert scores.table["score"].tolist() == [-1.5, 2]
    assert scores.notes == ("scores: scores are negated, as was asked for",)
    assert scores.detector == "mine"
    assert scores.unusual_column == "-score"
