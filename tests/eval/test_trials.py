"""Joining: everything that does not match is counted and named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfeval.groups import split
from dfeval.ids import NONE, SEVERAL, match
from dfeval.protocols import load_protocol
from dfeval.scores import DetectorScores, load_scores
from dfeval.trials import join


@pytest.mark.parametrize(
    ("utt_id", "trials", "row"),
    [
        ("LA_E_1", ["LA_E_2", "LA_E_1"], 1),
        ("flac/LA_E_1.flac", ["LA_E_2", "LA_E_1"], 1),
        ("C:\\data\\LA_E_1.FLAC", ["LA_E_1"], 0),
        ("0", ["0.wav", "1.wav"], 0),
        ("/data/yourtts/7.wav", ["fish/7.wav", "yourtts/7.wav"], 1),
        ("7.wav", ["fish/7.wav", "yourtts/7.wav"], SEVERAL),
        ("7", ["fish/7.wav", "8.wav"], 0),
        ("coqui/7.wav", ["fish/7.wav", "yourtts/7.wav"], NONE),
        ("fish/7.wav", ["7.wav", "fish/7.wav"], 1),
        ("x/7.wav", ["7.wav", "fish/7.wav"], 0),
        ("A01.5", ["A01"], NONE),  # .5 is no audio extension
        ("a.flac", ["a.wav", "a.mp3"], SEVERAL),
        ("", ["a"], NONE),
    ],
)
def test_ids_match_with_or_without_folder_and_extension(utt_id, trials, row):
    assert match([utt_id], trials).tolist() == [row]


@given(st.lists(st.text("ab/.", min_size=1, max_size=6), min_size=1, max_size=8, unique=True))
def test_every_id_matches_itself(ids):
    assert match(ids, ids).tolist() == list(range(len(ids)))


def write_protocol(tmp_path, ids, extra=""):
    path = tmp_path / "protocol.csv"
    rows = [f"{utt},{'bonafide' if index % 2 else 'spoof'}" for index, utt in enumerate(ids)]
    path.write_text("\n".join(["utt_id,label", *rows]) + "\n" + extra)
    return load_protocol(path, "csv")


def score_file(tmp_path, ids, scores, **columns):
    table = pd.DataFrame({"utt_id": ids, "score": np.asarray(scores, dtype=float), **columns})
    return DetectorScores(table, tmp_path / "scores.csv", "made_up")


def test_all_that_can_go_wrong_is_counted(tmp_path):
    protocol = write_protocol(tmp_path, ["a", "b", "c", "d", "e"], "a,spoof\n")
    ids = ["a.wav", "b", "b", "c", "c", "stray", "d"]
    trials = join(score_file(tmp_path, ids, [1, 2, 9, 3, 3, 4, np.nan]), protocol)
    counts = trials.matching
    assert trials.table["utt_id"].tolist() == ["a", "b", "c"]
    assert trials.table["score"].tolist() == [1, 2, 3]
    assert (counts.n_trials, counts.n_score_rows, counts.n_matched) == (5, 7, 3)
    assert (counts.n_missing, counts.n_extra, counts.n_not_finite) == (1, 1, 1)
    assert (counts.n_duplicate, counts.n_conflicting, counts.n_protocol_duplicate) == (2, 1, 1)
    notes = "\n".join(counts.notes())
    for text in (
        "1 of 5 trials have no score and are left out (e)",
        "1 scores are NaN or infinite and are left out (d)",
        "1 repeated ids have differing scores: the first counts (b)",
        "1 score rows are not in the protocol (stray)",
        "1 protocol lines repeat a trial",
    ):
        assert text in notes


@given(st.lists(st.sampled_from("abcdexyz"), max_size=20), st.integers(0, 2**32 - 1))
def test_every_score_row_is_accounted_for(tmp_path_factory, ids, seed):
    tmp_path = tmp_path_factory.mktemp("join")
    scores = np.random.default_rng(seed).choice((0.0, 1.0, np.nan), len(ids))
    counts = join(score_file(tmp_path, ids, scores), write_protocol(tmp_path, list("abcde"))).matching
    assert counts.n_score_rows == counts.n_matched + counts.n_not_finite + counts.n_duplicate + counts.n_extra
    assert counts.n_trials == counts.n_matched + counts.n_not_finite + counts.n_missing


def test_a_whole_match_leaves_nothing_to_say(small_trials):
    assert small_trials.matching.notes() == []


def test_constant_scores_are_pointed_out(tmp_path):
    trials = join(score_file(tmp_path, ["a", "b"], [0, 0]), write_protocol(tmp_path, ["a", "b"]))
    assert "all scores are the same" in trials.matching.notes()[0]


def test_paths_tell_apart_what_repeated_ids_cannot(tmp_path):
    protocol = write_protocol(tmp_path, ["fish/7.wav", "yourtts/7.wav"])
    paths = ["/d/yourtts/7.wav", "/d/fish/7.wav"]
    trials = join(score_file(tmp_path, ["7", "7"], [1, 2], path=paths), protocol)
    assert trials.table["score"].tolist() == [2, 1]


def test_scores_of_another_phase_are_no_strays(tmp_path):
    path = tmp_path / "trial_metadata.txt"
    path.write_text("S1 a none - - bonafide notrim eval\nS2 b none - A07 spoof notrim progress\n")
    trials = join(score_file(tmp_path, ["a", "b"], [1, 2]), load_protocol(path, "asvspoof2021-la"))
    assert (trials.matching.n_other_phase, trials.matching.n_extra, trials.matching.n_matched) == (1, 0, 1)
    assert "1 score rows belong to another phase" in trials.matching.notes()


def test_groups_borrow_the_class_they_lack(small_trials):
    fish, yourtts = split(small_trials, "system")
    assert (fish.name, fish.n_bonafide, fish.n_spoof, fish.against) == ("fish", 0, 30, "all bona fide")
    assert len(fish.rows) == len(yourtts.rows) == 90
    assert not fish.is_small
    english, portuguese = split(small_trials, "language")
    assert (english.n_bonafide, english.n_spoof, english.against) == (30, 30, "its own")
    assert len(english.rows) + len(portuguese.rows) == 120


def test_no_codec_is_a_condition_and_no_attack_is_none(tmp_path):
    path = tmp_path / "protocol.txt"
    lines = [
        f"S u{index} F {'-' if index % 2 else 'C01'} - - - {attack} {label} -"
        for index, (attack, label) in enumerate([("bonafide", "bonafide")] * 4 + [("A17", "spoof")] * 4)
    ]
    path.write_text("\n".join(lines) + "\n")
    ids = [f"u{index}" for index in range(8)]
    trials = join(score_file(tmp_path, ids, range(8)), load_protocol(path, "asvspoof5"))
    assert [(group.name, group.n_bonafide, group.n_spoof) for group in split(trials, "codec")] == [
        ("-", 2, 2),
        ("C01", 2, 2),
    ]
    assert [group.name for group in split(trials, "attack")] == ["A17"]


def test_an_unknown_column_is_named_with_the_known(small_trials):
    with pytest.raises(Exception, match=r"no column 'codec'; it has system, speaker, language"):
        list(split(small_trials, "codec"))


def test_files_of_any_kind_join(small_data):
    scores, protocol = small_data
    assert join(load_scores(scores), load_protocol(protocol, "csv")).matching.n_matched == 120
