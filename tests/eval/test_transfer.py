"""A threshold of one data set on another."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import beta

from dfcontract.calibration import Calibration
from dfeval.calibrate import Target, fit
from dfeval.console import show_transfers
from dfeval.evaluation import Settings
from dfeval.metrics.cllr import cllr
from dfeval.metrics.dcf import DcfCosts, act_dcf
from dfeval.metrics.eer import error_rates
from dfeval.protocols import load_protocol
from dfeval.scores import load_scores
from dfeval.transfer import RATES, Source, source_of_calibration, source_of_trials, transfer, transfer_by
from dfeval.trials import Trials, join


def write(folder, name, bonafide, spoof):
    rows = [(f"{name}{i}", score, i < len(bonafide)) for i, score in enumerate([*bonafide, *spoof])]
    scores, protocol = folder / f"{name}.csv", folder / f"{name}_protocol.csv"
    scores.write_text("utt_id,score\n" + "".join(f"{utt},{score}\n" for utt, score, _ in rows))
    protocol.write_text(
        "utt_id,label,codec\n"
        + "".join(f"{utt},{'bonafide' if real else 'spoof'},{'ab'[i % 2]}\n" for i, (utt, _, real) in enumerate(rows))
    )
    return scores, protocol


def trials_of(files) -> Trials:
    return join(load_scores(files[0]), load_protocol(files[1], "csv"))


@pytest.fixture
def sets(tmp_path):
    """A data set, and one whose scores all lie lower: its own EER is no worse, the first one's threshold is."""
    rng = np.random.default_rng(0)
    home = write(tmp_path, "home", rng.normal(2, 1, 300), rng.normal(-2, 1, 300))
    away = write(tmp_path, "away", rng.normal(0, 1, 200), rng.normal(-4, 1, 100))
    return home, away


def test_rates_are_those_of_the_foreign_threshold(sets):
    home, away = map(trials_of, sets)
    source = source_of_trials(home)
    found = transfer(source, away, Settings(n_replicates=50))
    assert source.threshold == error_rates(home.bonafide, home.spoof).decision_at_eer
    frr, far = (away.bonafide < source.threshold).mean(), (away.spoof >= source.threshold).mean()
    figures = found.figures
    assert (figures["frr"], figures["far"], figures["hter"]) == pytest.approx((frr, far, (frr + far) / 2))
    assert figures["balanced_accuracy"] == pytest.approx(1 - (frr + far) / 2)
    assert figures["frr"] > 0.3 > 10 * figures["eer"]
    calibration = fit(home)
    llrs = calibration.llr(away.bonafide), calibration.llr(away.spoof)
    assert figures["cllr"] == pytest.approx(cllr(*llrs), abs=1e-12)
    assert figures["act_dcf"] == pytest.approx(act_dcf(error_rates(*llrs), DcfCosts()).value, abs=1e-12)
    for name in ("frr", "hter", "balanced_accuracy", "act_dcf", "cllr"):
        assert found.intervals[name].low < figures[name] < found.intervals[name].high
    # Independent trials at a given threshold: but for Student's factor this is Clopper and Pearson's interval.
    exact = beta.ppf(0.025, 200 * frr, 201 - 200 * frr)
    assert found.intervals["frr"].low == pytest.approx(exact, rel=0.03)
    assert figures["far"] == 0
    assert found.intervals["far"].high == pytest.approx(1 - 0.025 ** (1 / 100))


def test_a_calibration_and_a_target_give_the_same_threshold(sets):
    home, away = map(trials_of, sets)
    target = Target(far=0.05)
    by_hand, fitted = source_of_trials(home, target), source_of_calibration(fit(home, target=target))
    assert by_hand.threshold == fitted.threshold
    found = [transfer(source, away, Settings(n_replicates=0)) for source in (by_hand, fitted)]
    assert found[0].figures == found[1].figures
    assert found[0].intervals == {}


def test_separable_scores_have_a_threshold_and_no_calibration(tmp_path):
    rng = np.random.default_rng(1)
    easy = trials_of(write(tmp_path, "easy", rng.normal(9, 1, 30), rng.normal(-9, 1, 30)))
    source = source_of_trials(easy)
    assert source.calibration is None
    assert "no calibration" in source.notes[0]
    assert "cllr" not in transfer(source, easy, Settings(n_replicates=0)).figures


def test_groups_are_judged_at_the_one_threshold(sets):
    away = trials_of(sets[1])
    groups = list(transfer_by(Source(-0.5, "as given"), away, "codec", Settings(n_replicates=0)))
    assert [group.name for group in groups] == ["codec a", "codec b"]
    rejected = sum(group.figures["frr"] * group.n_bonafide for group in groups)
    assert rejected == pytest.approx((away.bonafide < -0.5).sum())


@pytest.fixture
def run(capsys):
    from dfeval.__main__ import main

    def run_main(*words):
        code = main(["transfer", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


@pytest.mark.filterwarnings("error")
def test_a_group_of_one_trial_has_rates_and_no_intervals(tmp_path):
    scores, protocol = write(tmp_path, "few", [1.0, 2.0, 3.0], [-1.0, 0.5])
    protocol.write_text(protocol.read_text().replace("few0,bonafide,a", "few0,bonafide,alone"))
    found = {one.name: one for one in transfer_by(Source(0.0, "as given"), trials_of((scores, protocol)), "codec")}
    alone = found["codec alone (against all spoof)"]
    assert (alone.n_bonafide, alone.figures["frr"], alone.figures["far"], alone.intervals) == (1, 0.0, 0.5, {})


def test_the_command_says_what_the_threshold_does(run, sets):
    (home, home_protocol), (away, away_protocol) = sets
    words = (away, "--protocol", away_protocol, "--from", home, "--from-protocol", home_protocol, "--bootstrap", 20)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "set on home.csv on CSV home_protocol.csv, where the EER is" in " ".join(out.split())
    assert "It rejects" in out
    code, out, _ = run(*words, "--json", "--by", "codec")
    content = json.loads(out)
    expected = transfer(source_of_trials(trials_of(sets[0])), trials_of(sets[1]), Settings(n_replicates=20))
    assert content["sets"][0]["figures"] == dict(expected.figures)
    assert len(content["sets"]) == 3


def test_a_terminal_of_eighty_columns_shows_each_name_and_figure_whole(sets):
    source, away = source_of_trials(trials_of(sets[0])), trials_of(sets[1])
    name = "ASVspoof 2021 DF eval as_recorded_over_a_telephone_line_in_three_countries.csv"
    found = transfer(source, away, Settings(n_replicates=20), name)
    out = Console(width=80, file=io.StringIO(), soft_wrap=True, markup=False)
    show_transfers("aasist", source, [found, found], out)
    text = out.file.getvalue()
    assert "…" not in text
    columns = [line.partition("  ")[0] for line in text.splitlines()[1:]]
    assert re.sub(r"\s", "", "".join(columns)).count(re.sub(r"\s", "", name)) == 2
    for key, value in found.figures.items():
        assert text.count(f" {value:.2%} " if key in RATES else f" {value:.4f}") >= 2
    low, high = found.intervals["cllr"].low, found.intervals["cllr"].high
    assert text.index(f"{found.figures['cllr']:.4f}") < text.index(f"{low:.4f}") < text.index(f"{high:.4f}")


def test_part_of_the_same_files_may_set_the_threshold(run, sets):
    away, protocol = sets[1]
    code, out, _ = run(away, "--protocol", protocol, "--from-where", "codec=a", "--by", "codec", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["source"]["data"].endswith("where codec=a")
    assert content["sets"][1]["figures"]["eer"] == content["source"]["eer"]


def test_a_saved_calibration_serves(run, sets, tmp_path):
    away, protocol = sets[1]
    path = tmp_path / "calibration.json"
    fit(trials_of(sets[0])).save(path)
    code, out, _ = run(away, "--protocol", protocol, "--calibration", path, "--json", "--bootstrap", 0)
    assert code == 0
    assert json.loads(out)["source"]["threshold"] == Calibration.load(path).threshold.score


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected one place that the threshold comes from"),
        (["--threshold", "1", "--from-where", "codec=a"], "found 2"),
        (["--threshold", "1", "--target-far", "0.1"], "set a threshold on the scores of --from"),
        (["--from", "HOME"], "--from needs the protocol of its scores"),
    ],
)
def test_a_threshold_must_come_from_one_place(run, sets, words, message):
    places = {"HOME": sets[0][0]}
    code, _, err = run(sets[1][0], "--protocol", sets[1][1], *(places.get(word, word) for word in words))
    assert (code, message in err) == (1, True)
