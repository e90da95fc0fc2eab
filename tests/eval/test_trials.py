"""Joining: everything that does not match is counted and named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfeval.errors import EvalError
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


TWO_CONTAINERS = ["clip.wav", "clip.mp3"]


@pytest.mark.parametrize(
    ("ids", "trials", "rows"),
    [
        (["clip.mp3", "clip.wav"], TWO_CONTAINERS, [1, 0]),
        (["/data/clip.mp3", "C:\\data\\clip.WAV"], TWO_CONTAINERS, [1, 0]),
        (["clip.mp3", "clip.wav"], ["data/clip.wav", "data/clip.mp3"], [1, 0]),
        (["/x/data/clip.mp3", "clip"], ["data/clip.wav", "data/clip.mp3"], [1, SEVERAL]),
        (["clip.mp3", "clip.wav"], ["clip.wav"], [NONE, 0]),
        (["/data/clip.mp3", "/data/clip.wav"], ["clip.wav"], [NONE, 0]),
        (["clip.mp3"], ["clip.wav"], [0]),
        (["clip", "clip.wav"], ["clip.wav"], [0, 0]),
        (["clip.wav", "clip.mp3"], ["clip"], [0, 0]),
        (["b.flac", "clip.wav"], ["clip.wav", "b.wav"], [1, 0]),
    ],
)
def test_ids_that_differ_in_extension_are_different_where_both_have_one(ids, trials, rows):
    assert match(ids, trials).tolist() == rows


def test_two_containers_of_each_recording_are_all_scored(tmp_path):
    names = [f"clip_{index}.{extension}" for index in range(8) for extension in ("wav", "mp3")]
    ids = [f"/data/{name}" for name in reversed(names)]
    trials = join(score_file(tmp_path, ids, range(16)), write_protocol(tmp_path, names))
    assert trials.matching.notes() == []
    assert trials.table["score"].tolist() == list(range(15, -1, -1))


def test_what_was_guessed_is_said_beside_what_did_not_match(tmp_path):
    protocol, scores = tmp_path / "p.csv", tmp_path / "s.csv"
    protocol.write_text("utt_id,label\na,1\nb,0\nc,0\n")
    scores.write_text("utt_id,score\na,2\nb,x\nc,1\n")
    notes = join(load_scores(scores), load_protocol(protocol, "csv")).notes()
    assert [note.split(" ")[:4] for note in notes] == [
        ["1", "of", "3", "trials"],
        ["s.csv:", "1", "rows", "can't"],
        ["labels", "are", "read:", "0"],
    ]


def write_protocol(tmp_path, ids, extra=""):
    path = tmp_path / "protocol.csv"
    rows = [f"{utt},{'bonafide' if index % 2 else 'spoof'}" for index, utt in enumerate(ids)]
    path.write_text("\n".join(["utt_id,label", *rows]) + "\n" + extra)
    return load_protocol(path, "csv")


def score_file(tmp_path, ids, scores, **columns):
    table = pd.DataFrame({"utt_id": ids, "score": np.asarray(scores, dtype=float), **columns})
    return DetectorScores(table, (tmp_path / "scores.csv",), "made_up")


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
    assert trials.matching.notes() == ["1 score rows are of trials that the phase or --where leaves out"]


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


@pytest.fixture
def timed_trials(tmp_path):
    """100 trials, every other one bona fide, of 1.00, 1.01 … 1.99 s; spoken at two rates; three lack a duration."""
    lines = ["utt_id,label,duration_s,rate"]
    for index in range(100):
        duration = "" if index >= 97 else f"{1 + index / 100:.2f}"
        lines.append(f"u{index},{'spoof' if index % 2 else 'bonafide'},{duration},{(9, 10)[index % 4 // 2]}")
    (tmp_path / "protocol.csv").write_text("\n".join(lines) + "\n")
    ids = [f"u{index}" for index in range(100)]
    return join(score_file(tmp_path, ids, range(100)), load_protocol(tmp_path / "protocol.csv", "csv"))


def test_many_numbers_are_cut_at_their_quartiles_in_order(timed_trials):
    *timed, unknown = split(timed_trials, "duration_s")
    assert [group.name for group in timed] == ["below 1.24", "1.24 to 1.48", "1.48 to 1.72", "1.72 and more"]
    assert [group.n_bonafide + group.n_spoof for group in timed] == [24, 24, 24, 25]
    for group in timed:
        low, high = (24 * timed.index(group), 24 * timed.index(group) + group.n_bonafide + group.n_spoof)
        np.testing.assert_array_equal(np.sort(group.rows), np.arange(low, high))
    assert (unknown.name, unknown.n_bonafide + unknown.n_spoof) == ("(empty)", 3)


def test_numbers_are_cut_at_edges_of_ones_own(timed_trials):
    groups = list(split(timed_trials, "duration_s:1.1,1.9"))
    assert [(group.name, group.n_bonafide + group.n_spoof) for group in groups] == [
        ("below 1.1", 10),
        ("1.1 to 1.9", 80),
        ("1.9 and more", 7),
        ("(empty)", 3),
    ]


def test_few_numbers_are_groups_of_their_own_in_the_order_of_numbers(timed_trials):
    assert [group.name for group in split(timed_trials, "rate")] == ["9", "10"]


@pytest.mark.parametrize(
    ("by", "problem"),
    [
        ("duration_s:2,1", r"numbers that grow after the colon, as in duration_s:2,4,8, found '2,1'"),
        ("duration_s:a", r"numbers that grow after the colon, .* found 'a'"),
        ("duration_s:", r"numbers that grow after the colon, .* found ''"),
        ("label:1,2", r"expected numbers in that column, to cut at \[1.0, 2.0\], found 'spoof'"),
        ("length:1,2", r"no column 'length'; it has duration_s, rate"),
    ],
)
def test_edges_that_cant_be_used(timed_trials, by, problem):
    with pytest.raises(EvalError, match=problem):
        list(split(timed_trials, by))


def test_more_values_than_anybody_can_read(tmp_path):
    lines = ["utt_id,label,note", *(f"u{i},{('spoof', 'bonafide')[i % 2]},n{i}" for i in range(1001))]
    (tmp_path / "protocol.csv").write_text("\n".join(lines) + "\n")
    scored = score_file(tmp_path, [f"u{i}" for i in range(1001)], range(1001))
    with pytest.raises(EvalError, match="--by note: it has 1,001 values, more than the 1,000"):
        list(split(join(scored, load_protocol(tmp_path / "protocol.csv", "csv")), "note"))


def test_an_unknown_column_is_named_with_the_known(small_trials):
    with pytest.raises(Exception, match=r"no column 'codec'; it has system, speaker, language"):
        list(split(small_trials, "codec"))


def test_files_of_any_kind_join(small_data):
    scores, protocol = small_data
    assert join(load_scores(scores), load_protocol(protocol, "csv")).matching.n_matched == 120
