"""The same 301 scores and the same protocol in every form that people have sent; skipped where they are not here."""

import json
from pathlib import Path

import pytest

from dfeval.errors import ScoreFileError
from dfeval.metrics.eer import eer
from dfeval.protocols import load_protocol
from dfeval.scores import load_scores
from dfeval.trials import Trials, join

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
EER = 0.3456
WHOLE = (
    *("antideepfake.csv", "arena.csv", "blank_first.txt", "path_score.csv"),
    *("quoted_header.csv", "scores.json", "utf16.csv"),
)
OPEN = {"id_score_label.txt": "2", "id_score_duration.txt": "2", "id_spoof_bonafide.txt": "3"}
PROTOCOLS = (
    *("arena.csv", "blank_first.csv", "semicolon.csv", "sep_line.csv"),
    *("spaces.csv", "tab.tsv", "zero_one.csv"),
)


def case(folder: str, name: str) -> Path:
    path = CASES / folder / name
    if not path.exists():
        pytest.skip(f"{path} is not here: how it is read can't be checked")
    return path


def check(trials: Trials) -> None:
    assert trials.matching.n_matched == trials.matching.n_trials
    assert round(eer(trials.bonafide, trials.spoof).value, 4) == EER


@pytest.fixture
def protocol(corpus_protocol):
    return load_protocol(corpus_protocol, "csv")


@pytest.mark.parametrize("name", WHOLE)
def test_scores(name, protocol):
    trials = join(load_scores(case("scores", name)), protocol)
    check(trials)
    assert trials.notes() == []


def test_the_two_parts_together(protocol):
    check(join(load_scores([case("scores", "bonafide_part.txt"), case("scores", "spoof_part.txt")]), protocol))


@pytest.mark.parametrize("name", OPEN)
def test_several_columns_of_numbers(name, protocol):
    path = case("scores", name)
    with pytest.raises(ScoreFileError, match=r"the columns are 1 .*--score-column"):
        load_scores(path)
    check(join(load_scores(path, OPEN[name]), protocol))


def test_one_score_is_none(protocol):
    trials = join(load_scores(case("scores", "one_none.txt")), protocol)
    assert trials.matching.n_matched == 300
    assert trials.notes() == ["1 scores are NaN or infinite and are left out (bf_libri_201-122255-0000)"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols(name):
    protocol = load_protocol(case("protocols", name), "csv")
    check(join(load_scores(case("scores", "quoted_header.csv")), protocol))
    assert any("1 as bonafide" in note for note in protocol.notes) == (name == "zero_one.csv")


@pytest.mark.parametrize("folder", ["", "/data/x y/"])
def test_two_containers_of_each_recording(folder, tmp_path):
    protocol = load_protocol(case("protocols", "two_containers.csv"), "csv")
    scores = json.loads(case("scores", "scores.json").read_text())
    path = tmp_path / "scores.csv"
    rows = [f"{folder}{name}.{kind},{score}\n" for name, score in scores.items() for kind in ("mp3", "wav")]
    path.write_text("utt_id,score\n" + "".join(rows))
    trials = join(load_scores(path), protocol)
    assert trials.matching.n_trials == 602
    check(trials)
    assert trials.notes() == []


def test_every_case_is_read_here():
    parts = {"bonafide_part.txt", "spoof_part.txt", "one_none.txt"}
    names = (
        {path.name for path in case("scores", "").iterdir()},
        {path.name for path in case("protocols", "").iterdir()},
    )
    assert names == ({*WHOLE, *OPEN, *parts}, {*PROTOCOLS, "two_containers.csv"})
