"""Detectors by data sets, and attacks by codecs."""

import json

import numpy as np
import pytest

from dfeval.__main__ import main
from dfeval.data_sets import load_data_sets
from dfeval.errors import EvalError
from dfeval.evaluation import Settings
from dfeval.grid_text import latex, markdown
from dfeval.grids import Figure, Grid, of_conditions, of_data_sets, of_transfers
from dfeval.metrics.eer import eer
from dfeval.protocols import load_protocol
from dfeval.scores import load_scores
from dfeval.transfer import source_of_trials, transfer
from dfeval.trials import join

NO_INTERVALS = Settings(n_replicates=0)


@pytest.fixture
def sets(tmp_path):
    """Two detectors on two sets of the same ids, one of them shifted on the second; a third scored the first alone."""
    rng = np.random.default_rng(0)
    shifts = {"home": {"good": 0, "moved": 0, "part": 0}, "away": {"good": 0, "moved": -3}}
    toml = []
    for name, detectors in shifts.items():
        labels = ["bonafide"] * 60 + ["spoof"] * 40
        rows = "".join(f"u{i},{label},s{i % 12}\n" for i, label in enumerate(labels))
        (tmp_path / f"{name}.csv").write_text("utt_id,label,speaker\n" + rows)
        toml.append(f'[sets.{name}]\nprotocol = "{name}.csv"\n')
        for detector, shift in detectors.items():
            scores = rng.normal(np.repeat((1.0, -1.0), (60, 40)), 1) + shift
            files = [f"{name}_{detector}_{half}.txt" for half in (0, 1)]
            for half, file in enumerate(files):
                lines = [f"u{i} {score}\n" for i, score in enumerate(scores) if i % 2 == half]
                (tmp_path / file).write_text("".join(lines))
            toml.append(f"scores.{detector} = {json.dumps(files)}\n")
    path = tmp_path / "sets.toml"
    path.write_text("".join(toml))
    return path


def test_data_sets_their_average_and_all_trials_together(sets):
    names, table = load_data_sets(sets)
    grid = of_data_sets(names, table, "eer", NO_INTERVALS)
    assert grid.columns == ["home", "away", "average", "pooled"]
    own = {name: eer(table["moved"][name].bonafide, table["moved"][name].spoof).value for name in names}
    assert [grid.cells["moved", name].value for name in names] == list(own.values())
    assert grid.cells["moved", "average"].value == pytest.approx(sum(own.values()) / 2)
    both = [np.concatenate([getattr(table["moved"][name], kind) for name in names]) for kind in ("bonafide", "spoof")]
    assert grid.cells["moved", "pooled"].value == eer(*both).value
    assert grid.cells["moved", "pooled"].value > 0.3 > grid.cells["moved", "average"].value  # one threshold for both
    assert ("part", "average") not in grid.cells
    assert ("part", "away") not in grid.cells
    assert grid.is_best("good", "pooled")
    assert not grid.is_best("moved", "pooled")


def test_speakers_of_two_sets_are_not_the_same(sets):
    names, table = load_data_sets(sets)
    pooled = of_data_sets(names, table, "eer", Settings(n_replicates=50)).cells["good", "pooled"]
    assert (pooled.interval.unit, pooled.interval.n_units) == ("speaker", 24)
    assert pooled.interval.low < pooled.value < pooled.interval.high


def test_transferred_rates_are_those_of_transfer(sets):
    names, table = load_data_sets(sets)
    grid = of_transfers(names, table, "home", "frr", NO_INTERVALS)
    expected = transfer(source_of_trials(table["moved"]["home"]), table["moved"]["away"], NO_INTERVALS).figures["frr"]
    assert grid.cells["moved", "away"].value == expected > 0.8
    with pytest.raises(EvalError, match=r"no data set 'nope' .* found home, away"):
        of_transfers(names, table, "nope", "frr", NO_INTERVALS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"expected data sets, each as \[sets.NAME\]"),
        ("[sets.a]\nprotocol = 'p.csv'", r"sets.a: expected protocol = FILE and scores.DETECTOR = FILE"),
        ("[sets.a]\nproto = 'p.csv'", r"sets.a: proto is not known; known are protocol, format"),
        ("[sets.a]\nprotocol = 1\nscores.x = 'x'", r"sets.a.protocol: expected text, or a list of texts, found 1"),
        ("[sets.a]\nprotocol = 'p.csv'\nphase = 1\nscores.x = 'x'", r"sets.a.phase: expected text in quotes, found 1"),
        ("[sets", r"can't be read as a list of data sets"),
    ],
)
def test_a_list_that_is_wrong_is_named(text, message, tmp_path):
    path = tmp_path / "sets.toml"
    path.write_text(text)
    with pytest.raises(EvalError, match=message):
        load_data_sets(path)


@pytest.fixture
def conditions(tmp_path):
    """Two attacks through two codecs, which all bona fide trials went through as well."""
    rng = np.random.default_rng(3)
    lines, scores = ["utt_id,label,attack,codec"], []
    for index in range(240):
        attack = ("-", "A1", "A2")[index % 3]
        codec = "xy"[index // 3 % 2]
        lines.append(f"u{index},{'bonafide' if attack == '-' else 'spoof'},{attack},{codec}")
        scores.append(f"u{index} {rng.normal({'-': 1, 'A1': -1, 'A2': 0.5}[attack] - (codec == 'y'))}")
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "s.txt").write_text("\n".join(scores) + "\n")
    return tmp_path / "s.txt", tmp_path / "p.csv"


def test_an_attack_in_a_codec_is_set_against_that_codecs_bona_fide(conditions):
    trials = join(load_scores(conditions[0]), load_protocol(conditions[1], "csv"))
    grid = of_conditions(trials, "attack", "codec", "eer", NO_INTERVALS)
    assert (grid.rows, grid.columns) == (["A1", "A2", "all"], ["x", "y", "all"])
    table = trials.table
    of_codec = table[table["codec"] == "y"]
    bonafide = of_codec[of_codec["label"] == "bonafide"]["score"].to_numpy()
    spoof = of_codec[of_codec["attack"] == "A2"]["score"].to_numpy()
    assert grid.cells["A2", "y"] == Figure(eer(bonafide, spoof).value, None, 40, 40)
    assert grid.cells["all", "all"].value == eer(trials.bonafide, trials.spoof).value
    assert grid.cells["A1", "all"].n_bonafide == 80
    with pytest.raises(EvalError, match=r"no column 'team'; it has attack, codec"):
        of_conditions(trials, "team", "codec", "eer", NO_INTERVALS)


def test_names_are_escaped_and_the_best_is_bold():
    cells = {("a_1|x", "50 % & $"): Figure(0.5), ("b", "50 % & $"): Figure(0.25), ("b", "t"): Figure(0.125)}
    grid = Grid("EER", "eer", "detector", ["a_1|x", "b"], ["50 % & $", "t"], cells)
    assert latex([grid]).splitlines()[1:] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"detector & 50 \% \& \$ & t \\",
        r"\midrule",
        r"a\_1|x & 50.00 & -- \\",
        r"b & \textbf{25.00} & 12.50 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert markdown([grid]).splitlines()[2:] == [
        "| detector | 50 % & $ | t |",
        "|---|---:|---:|",
        r"| a_1\|x | 50.00 | - |",
        "| b | **25.00** | 12.50 |",
    ]


def test_the_commands_write_what_the_suffix_says(sets, conditions, tmp_path, capsys):
    assert main(["table", str(sets), "--transfer-from", "home", "--bootstrap", "30"]) == 0
    printed = capsys.readouterr()
    assert "EER (%)" in printed.out
    assert "min DCF" in printed.out
    assert "bona fide rejected, threshold set on home (%)" in printed.out
    scores, protocol = map(str, conditions)
    words = ["matrix", scores, "--protocol", protocol, "--rows", "attack", "--columns", "codec", "--bootstrap", "0"]
    for suffix in ("md", "tex", "json"):
        assert main([*words, "--out", str(tmp_path / f"out.{suffix}")]) == 0
    assert r"\toprule" in (tmp_path / "out.tex").read_text()
    assert len(json.loads((tmp_path / "out.json").read_text())[0]["cells"]) == 9
    assert main([*words, "--out", str(tmp_path / "out.doc")]) == 1
    assert main([*words, "--metric", "min_tdcf_2019"]) == 1
    assert "min_tdcf_2019 needs the speaker verifier's errors" in capsys.readouterr().err


def test_both_conventions_of_f1(conditions):
    from sklearn.metrics import f1_score

    from dfeval.evaluation import evaluate

    trials = join(load_scores(conditions[0]), load_protocol(conditions[1], "csv"))
    decisions = evaluate(trials, Settings(threshold=0.2, n_replicates=0)).confusion
    said = trials.scores >= 0.2
    assert decisions.f1_bonafide == pytest.approx(f1_score(trials.is_bonafide, said))
    assert decisions.f1 == pytest.approx(f1_score(~trials.is_bonafide, ~said))
