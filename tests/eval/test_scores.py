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
        (pickle.dumps({"a": 1.0})[:-3], "no readable pickle"),
        (b"", "is empty"),
        (b"\x00\x01\x02binary", "expected text, found binary data; expected a pickle"),
        (b"just words\n", "expected CSV with the header"),
        (b"utt_id,score\na,loud\n", "can't be read as scores"),
    ],
)
def test_what_is_no_score_file_is_named(content, message, tmp_path):
    path = write(tmp_path, content, "odd.pkl")
    with pytest.raises(ScoreFileError, match=message) as caught:
        load_scores(path)
    assert "odd.pkl" in str(caught.value)


def test_a_protocol_0_pickle_is_not_run_either(tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(ScoreFileError):
        load_scores(write(tmp_path, pickle.dumps({"a": Hostile(trap)}, protocol=0)))
    assert not trap.exists()
