"""What a command must say, or refuse, so that nobody loses a file or trusts a figure that means nothing."""

import json

import numpy as np
import pytest

from dfeval.__main__ import main
from dfeval.errors import EvalError
from dfeval.metrics.dcf import DcfCosts


@pytest.fixture
def run(capsys):
    def run_main(*words):
        try:
            code = main([*map(str, words)])
        except SystemExit as end:  # argparse's
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


def of_model(scores, name, weights="pretrained"):
    """A copy of the score file that names another model."""
    copy = scores.with_name(f"{name}.csv")
    copy.write_text(scores.read_text().replace("made_up,pretrained", f"{name},{weights}"))
    return copy


def test_no_command_overwrites_what_it_read(run, small_data):
    scores, protocol = small_data
    other, fusion, calibration = of_model(scores, "other"), scores.with_name("f.json"), scores.with_name("c.json")
    head, *rows = (line.split(",") for line in other.read_text().splitlines())
    noise = np.random.default_rng(5).normal(0, 1, len(rows))
    rows = [[row[0], str(float(row[1]) + more), *row[2:]] for row, more in zip(rows, noise, strict=True)]
    other.write_text("\n".join(map(",".join, [head, *rows])) + "\n")
    assert run("fuse", "fit", scores, other, "--protocol", protocol, "--out", fusion)[0] == 0
    assert run("calibrate", "fit", scores, "--protocol", protocol, "--out", calibration)[0] == 0
    (scores.parent / "linked.csv").symlink_to(scores)
    lines = [
        (("fuse", "apply", scores, other, "--fusion", fusion), scores),
        (("fuse", "apply", scores, other, "--fusion", fusion), scores.parent / "linked.csv"),
        (("fuse", "apply", scores, other, "--fusion", fusion), fusion),
        (("fuse", "fit", scores, other, "--protocol", protocol), protocol),
        (("calibrate", "fit", scores, "--protocol", protocol), scores),
        (("calibrate", "apply", scores, "--calibration", calibration), calibration),
        (("timeline", scores), scores),
    ]
    for words, out in lines:
        before = out.read_bytes()
        code, _, err = run(*words, "--out", out)
        assert (code, "would overwrite" in err, out.read_bytes() == before) == (1, True, True), words
    # A calibration adds columns and keeps all others, so it may do that in place.
    assert run("calibrate", "apply", scores, "--calibration", calibration, "--out", scores)[0] == 0


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("option", ["--threshold", "--c-fa", "--c-miss", "--p-spoof"])
def test_a_number_that_is_none_is_refused(run, small_data, option, number):
    scores, protocol = small_data
    code, _, err = run("metrics", scores, "--protocol", protocol, f"{option}={number}")
    assert (code, f"argument {option}: expected a finite number, found {number}" in err) == (2, True)


def test_costs_are_finite_in_python_too():
    for cost in (float("nan"), float("inf"), 0.0):
        with pytest.raises(EvalError, match="finite costs above 0"):
            DcfCosts(c_fa=cost)


def test_figures_of_random_weights_say_so_wherever_they_stand(run, small_data, tmp_path):
    scores, protocol = small_data
    random = of_model(scores, "untrained", "random")
    sets = tmp_path / "sets.toml"
    sets.write_text('[sets.all]\nprotocol = "protocol.csv"\nscores.a = "scores.csv"\nscores.b = "untrained.csv"\n')
    common = ("--protocol", protocol, "--bootstrap")
    for words in (
        ("compare", scores, random, *common, 2),
        ("transfer", random, *common, 0, "--threshold", 0),
        ("transfer", random, *common, 0, "--threshold", 0, "--json"),
        ("matrix", random, *common, 0, "--rows", "system", "--columns", "language"),
    ):
        assert "untrained (RANDOM WEIGHTS)" in run(*words)[1], words
    out = run("table", sets, "--bootstrap", 0)[1]
    assert ("| a |" in out, "| b (RANDOM WEIGHTS) |" in out) == (True, True)


def test_a_threshold_of_another_detector_is_asked_about(run, small_data, tmp_path):
    scores, protocol = small_data
    other, calibration = of_model(scores, "other"), tmp_path / "c.json"
    run("calibrate", "fit", scores, "--protocol", protocol, "--out", calibration)
    question = "set on scores of made_up, applied to those of other: is it the same detector?"
    common = ("--protocol", protocol, "--bootstrap", 0)
    apply = ("calibrate", "apply", "--calibration", calibration, "--out", tmp_path / "out.csv")
    assert question in run("transfer", other, *common, "--calibration", calibration)[2]
    assert question in run("transfer", other, *common, "--from", scores, "--from-protocol", protocol)[2]
    assert question in run(*apply[:2], other, *apply[2:])[2]
    for words in (
        ("transfer", scores, *common, "--calibration", calibration),
        ("transfer", other, "--name", "made_up", *common, "--calibration", calibration),
        (*apply[:2], scores, *apply[2:]),
    ):
        assert "same detector" not in run(*words)[2]


def test_the_same_weights_under_two_names_are_the_same_detector(run, small_data, tmp_path):
    scores, protocol = small_data
    lines = scores.read_text().splitlines()
    scores.write_text("\n".join([f"{lines[0]},checkpoint_sha256", *(f"{line},ab12" for line in lines[1:])]) + "\n")
    words = ("transfer", of_model(scores, "other"), "--protocol", protocol, "--bootstrap", 0)
    _, out, err = run(*words, "--from", scores, "--from-protocol", protocol, "--json")
    assert (json.loads(out)["detector"], "same detector" in err) == ("other", False)


def test_two_runs_of_one_detector_are_told_apart(run, small_data):
    scores, protocol = small_data
    again = scores.with_name("again.csv")
    again.write_text(scores.read_text())
    out = run("compare", scores, again, "--protocol", protocol, "--bootstrap", 2)[1]
    assert "EER of made_up (scores.csv)" in out
    assert "EER of made_up (again.csv)" in out


def test_applying_a_calibration_names_rows_that_it_could_not_read(run, small_data, tmp_path):
    scores, protocol = small_data
    calibration, bad = tmp_path / "c.json", tmp_path / "bad.csv"
    run("calibrate", "fit", scores, "--protocol", protocol, "--out", calibration)
    bad.write_text("utt_id,score\na,1.5\nb,loud\n")
    apply = ("calibrate", "apply", bad, "--calibration", calibration, "--out", tmp_path / "out.csv")
    code, _, err = run(*apply)
    assert (code, "line 3" in err, "loud" in err) == (0, True, True)
    code, _, err = run(*apply, "--id-column", "nope")
    assert (code, "has no --id-column 'nope'; its ids are in utt_id" in err) == (1, True)


def test_equal_scores_have_no_interval_of_their_cllr_and_no_polarity(run, small_data):
    scores, protocol = small_data
    head, *rows = (line.split(",") for line in scores.read_text().splitlines())
    flat = scores.with_name("flat.csv")
    flat.write_text("\n".join(",".join(cells) for cells in [head, *([row[0], "0.3", *row[2:]] for row in rows)]) + "\n")
    assert head[1] == "score"
    code, out, _ = run("metrics", "--json", flat, "--protocol", protocol)
    found = json.loads(out)
    assert (code, "all scores are the same" in out, "polarity" in out) == (0, True, False)
    assert found["pooled"]["cllr"] > 0
    assert "act_dcf" in found["intervals"] and "cllr" not in found["intervals"]
    assert "polarity" in run("metrics", scores, "--protocol", protocol, "--invert")[1]
