"""The command line as a user meets it."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from dfeval.__main__ import main
from dfeval.metrics.eer import eer


@pytest.fixture
def run(capsys):
    """run(*arguments) → exit code, stdout, stderr."""

    def run_main(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


def test_metrics_prints_pooled_and_by_group_with_counts(run, small_data, small_trials):
    scores, protocol = small_data
    code, out, err = run("metrics", scores, "--protocol", protocol, "--protocol-format", "csv")
    assert (code, err) == (0, "")
    expected = eer(small_trials.bonafide, small_trials.spoof)
    assert f"{expected.value:.2%}" in out
    assert "120 of 120 trials: 60 bona fide, 60 spoof" in out
    assert "by system" in out
    assert "yourtts" in out
    assert "all bona fide" in out
    assert "spoof is positive" in out


def test_json_is_json_and_says_the_same(run, small_data, small_trials):
    scores, protocol = small_data
    code, out, _ = run("metrics", scores, "--protocol", protocol, "--json", "--by", "speaker", "--bootstrap", "50")
    figures = json.loads(out)
    assert code == 0
    assert figures["pooled"]["eer"] == eer(small_trials.bonafide, small_trials.spoof).value
    assert figures["intervals"]["eer"]["unit"] == "speaker"
    assert figures["intervals"]["eer"]["low"] < figures["pooled"]["eer"] < figures["intervals"]["eer"]["high"]
    assert len(figures["groups"]) == 12
    assert all(group["is_small"] for group in figures["groups"])
    assert figures["decisions"]["positive_class"] == "spoof"


@pytest.mark.parametrize(
    "order",
    [
        "SCORES --protocol PROTOCOL --json --bootstrap 0",
        "--protocol PROTOCOL SCORES --json --bootstrap 0",
        "--json --bootstrap 0 --protocol PROTOCOL SCORES",
        "--protocol PROTOCOL --json SCORES --bootstrap 0",
        "--json --bootstrap 0 --protocol PROTOCOL --by system SCORES",
    ],
)
def test_scores_may_stand_anywhere(run, small_data, order):
    places = dict(zip(("SCORES", "PROTOCOL"), small_data, strict=True))
    code, out, _ = run("metrics", *(places.get(word, word) for word in order.split()))
    assert code == 0
    assert json.loads(out)["scores"] == small_data[0].name


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("metrics --protocol PROTOCOL", "expected a file or more of SCORES, found none"),
        ("metrics SCORES --protocol PROTOCOL --nonsense", "unrecognized arguments: --nonsense"),
        ("sasv SCORES OTHER --key PROTOCOL", "unrecognized arguments: OTHER"),
    ],
)
def test_a_command_line_that_lacks_or_exceeds_something(run, small_data, capsys, words, problem):
    places = dict(zip(("SCORES", "PROTOCOL"), small_data, strict=True))
    with pytest.raises(SystemExit) as stopped:
        run(*(places.get(word, word) for word in words.split()))
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("threshold", ["-1e-3", "-1E0", "-.5e-1", "-2", "1e-3"])
def test_thresholds_are_numbers_of_any_spelling(run, small_data, threshold):
    scores, protocol = small_data
    code, out, _ = run("metrics", scores, "--protocol", protocol, "--threshold", threshold, "--json", "--bootstrap", 0)
    assert code == 0
    assert json.loads(out)["decisions"]["threshold"] == float(threshold)


def test_bona_fide_and_spoof_scores_in_two_files_are_one_detectors(run, small_data):
    scores, protocol = small_data
    header, *rows = scores.read_text().splitlines(keepends=True)
    parts = [scores.with_name("bonafide.csv"), scores.with_name("spoof.csv")]
    parts[0].write_text(header + "".join(rows[:60]))
    parts[1].write_text(header + "".join(rows[60:]))
    whole, halves = ([*files, "--protocol", protocol, "--json", "--bootstrap", 0] for files in ([scores], parts))
    expected, found = (json.loads(run("metrics", *arguments)[1]) for arguments in (whole, halves))
    assert found["scores"] == "bonafide.csv + spoof.csv"
    assert [one["role"] for one in found.pop("provenance")["inputs"]] == ["scores", "scores", "protocol"]
    del expected["provenance"]
    assert {**found, "scores": "scores.csv"} == expected
    code, _, err = run("calibrate", "fit", *parts, "--protocol", protocol, "--out", scores.with_name("c.json"))
    assert (code, err) == (0, "")


def test_what_could_not_be_read_is_said_by_every_command(run, small_data, tmp_path):
    scores, protocol = small_data
    lines = scores.read_text().splitlines()
    lines[2] = "clip_001,loud,x,made_up,pretrained"
    scores.write_text("\n".join(lines) + "\n")
    problem = "scores.csv: 1 rows can't be read and are left out (line 3: expected a number, found 'loud')"
    common = ("--protocol", protocol, "--bootstrap", "20")
    assert f"note: {problem}" in run("metrics", scores, *common)[1]
    assert f"note: {problem}" in run("compare", scores, scores, *common)[1]
    assert problem in json.loads(run("metrics", scores, "--json", *common)[1])["notes"]
    calibration, target = tmp_path / "c.json", tmp_path / "llr.csv"
    assert problem in run("calibrate", "fit", scores, "--protocol", protocol, "--out", calibration)[2]
    assert run("calibrate", "apply", scores, "--calibration", calibration, "--out", target)[0] == 0
    applied = target.read_text().splitlines()
    assert applied[2].startswith("clip_001,loud,")
    assert applied[2].endswith(",,,")
    assert not applied[1].endswith(",")


def test_what_did_not_match_is_shown(run, small_data):
    scores, protocol = small_data
    lines = scores.read_text().splitlines()
    scores.write_text("\n".join([*lines[:-2], lines[1], "stray,1,stray.wav,made_up,pretrained"]) + "\n")
    _, out, _ = run("metrics", scores, "--protocol", protocol, "--by", "--bootstrap", "0")
    assert "2 of 120 trials have no score and are left out (clip_118, clip_119)" in out
    assert "1 score rows repeat an id: the first counts (clip_000)" in out
    assert "1 score rows are not in the protocol (stray)" in out


def test_names_from_files_are_shown_as_they_are(run, small_data):
    scores, protocol = small_data
    scores.write_text(scores.read_text().replace("clip_000,", "[red]clip[/] :smile:,").replace("made_up", "[bold]x"))
    _, out, _ = run("metrics", scores, "--protocol", protocol, "--by", "--bootstrap", "0")
    assert "[bold]x on CSV" in out
    assert "([red]clip[/] :smile:)" in out


def test_random_weights_have_a_banner(run, small_data, tmp_path):
    scores, protocol = small_data
    scores.write_text(scores.read_text().replace("pretrained", "random"))
    _, out, _ = run("metrics", scores, "--protocol", protocol, "--by", "--bootstrap", "0")
    assert "RANDOM WEIGHTS" in out.splitlines()[0]
    code, _, err = run("calibrate", "fit", scores, "--protocol", protocol, "--out", tmp_path / "c.json")
    assert code == 1
    assert "they mean nothing" in err


def test_nothing_that_matches_is_one_clear_line(run, small_data):
    scores, protocol = small_data
    original = scores.read_text()
    scores.write_text(original.replace("clip_", "other_"))
    code, _, err = run("metrics", scores, "--protocol", protocol)
    assert (code, err.count("\n")) == (1, 1)
    assert "expected scores of the 120 trials of CSV protocol.csv, found none that matches among 120 rows" in err
    assert "120 score rows are not in the protocol (other_000" in err
    scores.write_text("utt_id,score\nclip_000,nan\n")
    assert "found 1 NaN or infinite among 1 rows" in run("metrics", scores, "--protocol", protocol)[2]


def test_one_class_is_one_clear_line(run, small_data):
    scores, protocol = small_data
    lines = [line for line in protocol.read_text().splitlines() if ",spoof," not in line]
    protocol.write_text("\n".join(lines) + "\n")
    code, out, err = run("metrics", scores, "--protocol", protocol)
    assert (code, out) == (1, "")
    assert err.startswith("dfeval: error: an EER among the 60 scored trials")
    assert "found 60 bona fide and 0 spoof" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "colour"], "has no column 'colour'"),
        (["--phase", "eval"], "has no phases"),
        (["--p-spoof", "2"], "expected 0 < p_spoof < 1"),
        (["--asv-rates", "1", "2", "3"], "between 0 and 1"),
        (["--asv-scores", "nowhere.txt"], "nowhere.txt"),
        (["--score-column", "llr"], "expected a column llr"),
        (["--protocol-format", "asvspoof2021-df"], "another --protocol-format"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, message, run, small_data):
    scores, protocol = small_data
    code, _, err = run("metrics", scores, "--protocol", protocol, *arguments)
    assert code == 1
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("--bootstrap", "-1"), ("--bootstrap", "many"), ("--protocol-format", "x")])
def test_wrong_usage_is_exit_2(arguments, run, small_data, capsys):
    scores, protocol = small_data
    with pytest.raises(SystemExit) as caught:
        run("metrics", scores, "--protocol", protocol, *arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_tdcf_from_a_2019_file_and_from_rates_agree(run, small_data, tmp_path, golden_asv):
    scores, protocol = small_data
    kinds = ("target", "nontarget", "spoof")
    lines = [f"- {kind} {value!r}" for kind, values in zip(kinds, golden_asv, strict=True) for value in values.tolist()]
    asv = tmp_path / "asv.txt"
    asv.write_text("\n".join(lines) + "\n")
    common = ("metrics", scores, "--protocol", protocol, "--json", "--by", "--bootstrap", "0")
    from_scores = json.loads(run(*common, "--asv-scores", asv)[1])
    given = json.loads(run(*common, "--asv-rates", 0.010666666666666666, 0.01, 0.717)[1])
    assert from_scores["pooled"]["min_tdcf_2021"] == pytest.approx(given["pooled"]["min_tdcf_2021"], abs=1e-12)
    assert from_scores["pooled"]["min_tdcf_2019"] == pytest.approx(given["pooled"]["min_tdcf_2019"], abs=1e-12)


def test_2021_asv_scores_count_the_phase(tmp_path, golden_asv):
    from dfeval.tandem import load_asv_rates

    kinds = ("target", "nontarget", "spoof")
    rows = [(kind, value) for kind, values in zip(kinds, golden_asv, strict=True) for value in values.tolist()]
    # The other phase's scores are worthless, so counting them would show.
    scores = [f"S u{index} {value!r}" for index, (_, value) in enumerate(rows)] + ["S v0 0", "S v1 0", "S v2 0"]
    key = [f"S u{index} c t a {kind} notrim eval" for index, (kind, _) in enumerate(rows)]
    key += [f"S v{index} c t a {kind} notrim progress" for index, kind in enumerate(kinds)]
    for name, lines in (("score.txt", scores), ("key.txt", key)):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    rates = load_asv_rates(tmp_path / "score.txt", tmp_path / "key.txt", "eval")
    assert (rates.p_fa, rates.p_miss, rates.p_fa_spoof) == pytest.approx((0.010666666666666666, 0.01, 0.717))
    everything = load_asv_rates(tmp_path / "score.txt", tmp_path / "key.txt")
    assert everything.p_fa != rates.p_fa


def test_calibrate_apply_and_evaluate_again(run, small_data, tmp_path):
    scores, protocol = small_data
    calibration, calibrated = tmp_path / "calibration.json", tmp_path / "calibrated.csv"
    code, out, _ = run("calibrate", "fit", scores, "--protocol", protocol, "--target-far", "0.1", "--out", calibration)
    assert code == 0
    assert "false-alarm rate at most 0.1" in out
    assert run("calibrate", "apply", scores, "--calibration", calibration, "--out", calibrated)[0] == 0
    header, first = calibrated.read_text().splitlines()[:2]
    assert header == "utt_id,score,path,model,weights,calibration_sha256,llr,verdict"
    assert first.startswith(f"{scores.read_text().splitlines()[1]},{json.loads(calibration.read_text())['digest']},")
    common = ("--protocol", protocol, "--json", "--by", "--bootstrap", "0")
    raw, llr = (
        json.loads(run("metrics", path, *common, *more)[1])
        for path, more in ((scores, ()), (calibrated, ("--score-column", "llr")))
    )
    assert llr["pooled"]["eer"] == raw["pooled"]["eer"]
    assert llr["pooled"]["cllr"] <= raw["pooled"]["cllr"]
    assert llr["pooled"]["cllr"] == pytest.approx(json.loads(calibration.read_text())["figures"]["cllr_after"])


def test_compare_names_both_and_a_p_value(run, small_data, tmp_path):
    scores, protocol = small_data
    other = tmp_path / "other.csv"
    rng = np.random.default_rng(1)
    rows = [f"{line.split(',')[0]},{rng.normal():.4f}" for line in scores.read_text().splitlines()[1:]]
    other.write_text("\n".join(["utt_id,score", *rows]) + "\n")
    code, out, _ = run("compare", scores, other, "--protocol", protocol, "--bootstrap", "200")
    assert code == 0
    assert "EER of made_up" in out
    assert "EER of other" in out
    assert re.search(r"difference: \+\d+\.\d\d points, 95% interval \+\d+\.\d\d to \+\d+\.\d\d, p < 0.001\n", out)
    assert "200 draws of 12 speakers" in out
    assert (
        "without interval: no draw tells the two apart"
        in run(*("compare", scores, scores, "--name", "a", "--name", "b", "--protocol", protocol, "--bootstrap", "20"))[
            1
        ]
    )
    for n_draws in ("0", "1"):
        code, _, err = run("compare", scores, other, "--protocol", protocol, "--bootstrap", n_draws)
        assert (code, "two bootstrap replicates" in err) == (1, True)


def test_an_eer_that_no_threshold_reaches_is_said_to_be_one(run, tmp_path):
    """Votes of three: the rates cross inside the block that has two."""
    votes = {"bonafide": [3] * 60 + [2] * 30 + [1] * 10, "spoof": [0] * 60 + [2] * 25 + [1] * 15}
    trials = [(label, vote) for label, values in votes.items() for vote in values]
    lines = [f"u{index},{label}" for index, (label, _) in enumerate(trials)]
    (tmp_path / "protocol.csv").write_text("\n".join(["utt_id,label", *lines]) + "\n")
    rows = [f"u{index},{vote}" for index, (_, vote) in enumerate(trials)]
    (tmp_path / "scores.csv").write_text("\n".join(["utt_id,score", *rows]) + "\n")
    code, out, _ = run("metrics", tmp_path / "scores.csv", "--protocol", tmp_path / "protocol.csv", "--json")
    figures = json.loads(out)
    assert code == 0
    assert (
        "no threshold reaches the EER of 25.00%: 55 trials share the score 2; accepting them gives FRR 10.00% and FAR "
        "25.00%, rejecting them FRR 40.00% and FAR 0.00%"
    ) in figures["notes"]
    interval = figures["intervals"]["auc"]
    assert interval["low"] < figures["pooled"]["auc"] < interval["high"]


KINDS = ("target", "nontarget", "spoof")


def track2_lines(missing=()) -> tuple[list[str], list[str]]:
    """The golden submission to ASVspoof 5, track 2, and its key; `-` for the systems that are missing."""
    rng = np.random.RandomState(7)
    asv = [rng.normal(3, 1, 1500), rng.normal(-2, 1.2, 3000), rng.normal(1.5, 1.5, 4000)]
    cm = np.split(np.concatenate([rng.normal(2, 1.5, 4500), rng.normal(-1, 2, 4000)]), [1500, 4500])
    rows, key = ["spk\tfilename\tcm-score\tasv-score\tsasv-score"], ["spk\tfilename\tcm-label\tasv-label"]
    for kind, cm_scores, asv_scores in zip(KINDS, cm, asv, strict=True):
        label = "spoof" if kind == "spoof" else "bonafide"
        for index, (c, a) in enumerate(zip(cm_scores.tolist(), asv_scores.tolist(), strict=True)):
            scores = {"cm": c, "asv": a, "sasv": 0.5 * a + 0.5 * c}
            fields = ("-" if name in missing else repr(value) for name, value in scores.items())
            rows.append("\t".join(["S", f"{kind}{index}", *fields]))
            key.append(f"S\t{kind}{index}\t{label}\t{kind}")
    return rows, key


@pytest.fixture
def sasv(run, tmp_path):
    def figures(rows, key, *options):
        for name, lines in (("scores.tsv", rows), ("key.tsv", key)):
            (tmp_path / name).write_text("\n".join(lines) + "\n")
        return run("sasv", tmp_path / "scores.tsv", "--key", tmp_path / "key.tsv", *options)

    return figures


def test_sasv_figures_are_the_challenge_packages(sasv, golden):
    code, out, _ = sasv(*track2_lines(), "--json")
    figures, expected = json.loads(out), golden["asvspoof5_track2"]
    assert code == 0
    assert figures["a_dcf"] == pytest.approx(expected["a_dcf"], abs=1e-9)
    assert figures["min_tdcf"] == pytest.approx(expected["min_tdcf"], abs=1e-9)
    assert 100 * figures["t_eer"] == pytest.approx(expected["t_eer"], abs=1e-7)
    assert [figures[f"n_{kind}"] for kind in KINDS] == [1500, 3000, 4000]


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        (("cm", "asv"), {"a_dcf"}),
        (("sasv",), {"t_eer", "min_tdcf", "cm_eer"}),
        (("asv",), {"a_dcf", "min_tdcf", "cm_eer"}),
        (("cm",), {"a_dcf"}),
    ],
)
def test_sasv_leaves_out_what_a_submission_has_no_scores_for(sasv, missing, left):
    whole = json.loads(sasv(*track2_lines(), "--json")[1])
    code, out, _ = sasv(*track2_lines(missing), "--json")
    figures = json.loads(out)
    assert code == 0
    assert {name for name in figures if not name.startswith("n_")} == left
    assert figures == {name: whole[name] for name in figures}
    assert "-  (its scores are not in the file)" in sasv(*track2_lines(missing))[1]


def test_sasv_refuses_files_that_do_not_belong_together(sasv):
    rows, key = track2_lines()
    code, _, err = sasv(rows, key[:-1])
    assert code == 1
    assert "expected the same trials in both" in err
    half = [rows[0], rows[1].replace(rows[1].split("\t")[2], "-"), *rows[2:]]
    assert "line 1 has no finite score" in sasv(half, key)[2]
    wrong = [*key[:-1], key[-1].replace("spoof\tspoof", "bonafide\tspoof")]
    assert "the labels of 1 trials contradict each other" in sasv(rows, wrong)[2]
    assert (
        "expected the asv-labels target, nontarget, spoof, found imposter"
        in sasv(rows, [*key[:-1], key[-1].removesuffix("spoof") + "imposter"])[2]
    )


def test_timeline_draws_the_longest_recording(run, tmp_path):
    scores, picture = tmp_path / "scores.csv", tmp_path / "timeline.png"
    scores.write_text(
        "utt_id,score,window_starts_s,window_scores,duration_s\nshort,1,0,1,4\nlong,0.5,0;2;4;5.96,3;2;-1;-2,10\n"
    )
    code, out, _ = run("timeline", scores, "--threshold", "0", "--out", picture)
    assert code == 0
    assert "long, 4 windows of 4.04 s" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = run("timeline", scores, "--utt-id", "absent", "--out", picture)
    assert (code, "has no recording 'absent'" in err) == (1, True)
    assert run("timeline", scores, "--out", tmp_path / "x.gif")[0] == 1


SLIDING_HEADER = "utt_id,score,mode,window_samples,window_starts_s,window_scores,duration_s\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,protocol,64600,0,1,60", "was scored in protocol mode, which has one window of 4.04 s, of 60.00 s"),
        ("a,1,protocol,,0,1,3", "was scored in protocol mode, which has one window, of 3.00 s"),
        ("a,1,sliding,64600,0;1,1,60", "a has 2 window starts and 1 window scores"),
        ("a,1,sliding,64600,0;x,1;2,60", "expected numbers in the row of 'a'"),
        ("a,1,sliding,64600,,,60", "expected a score, a duration and windows of a"),
    ],
)
def test_a_timeline_of_what_has_none_is_one_clear_line(row, message, run, tmp_path):
    (tmp_path / "s.csv").write_text(SLIDING_HEADER + row + "\n")
    code, _, err = run("timeline", tmp_path / "s.csv", "--out", tmp_path / "t.png")
    assert (code, err.count("\n")) == (1, 1)
    assert message in err
    assert not (tmp_path / "t.png").exists()


def test_a_timeline_of_a_short_protocol_recording_is_its_one_window(run, tmp_path):
    (tmp_path / "s.csv").write_text(SLIDING_HEADER + "a,1,protocol,64600,0,1,3.5\n")
    code, out, _ = run("timeline", tmp_path / "s.csv", "--out", tmp_path / "t.png")
    assert code == 0
    assert "a, 1 windows of 3.50 s" in out


def test_a_missing_extra_is_named(small_data):
    scores, protocol = small_data
    code = "import sys; sys.modules['pandas'] = None; from dfeval.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "metrics", str(scores), "--protocol", str(protocol)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "dfeval: error: pandas is missing; pip install 'dfserve[eval]'\n"


def test_importing_dfeval_and_asking_for_help_load_no_heavy_library():
    code = "import sys, dfeval; heavy = {'pandas', 'scipy', 'sklearn', 'matplotlib', 'torch', 'dfclient', 'dfexport'}; "
    code += "from dfeval.cli import build_parser; build_parser(); sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_metrics_draw_nothing_and_know_no_other_room(small_data):
    scores, protocol = small_data
    code = (
        "import sys; from dfeval.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(', '.join({'matplotlib', 'sklearn', 'torch', 'dfclient', 'dfexport'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, "metrics", str(scores), "--protocol", str(protocol), "--bootstrap", "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_of_one_name_are_one_detector(run, small_data, tmp_path):
    scores, protocol = small_data
    header, *rows = scores.read_text().splitlines()
    parts = [tmp_path / f"part{index}.csv" for index in (1, 2)]
    for part, lines in zip(parts, (rows[:50], rows[50:]), strict=True):
        part.write_text("\n".join([header, *lines]) + "\n")
    common = ("--protocol", protocol, "--bootstrap", "20", "--by")
    code, whole, _ = run("compare", scores, scores, *common[:-1])
    names = ("--name", "mine", "--name", "mine", "--name", "other")
    code, out, err = run("compare", *parts, scores, *common[:-1], *names)
    assert (code, err) == (0, "")
    assert "EER of mine" in out
    assert "EER of other" in out
    assert out.splitlines()[-1] == whole.splitlines()[-1]
    code, _, err = run("compare", scores, *common[:-1])
    assert (code, "expected the scores of two detectors, found those of 1" in err) == (1, True)
    code, _, err = run("compare", *parts, scores, *common[:-1], "--name", "mine")
    assert (code, "expected a --name for each of the 3 score files" in err) == (1, True)


def test_files_with_columns_of_other_names(run, tmp_path):
    scores, protocol = tmp_path / "s.csv", tmp_path / "p.csv"
    scores.write_text("clip,p_fake\n" + "".join(f"c{i},{(i * 7) % 10 + (i % 2) * 4}\n" for i in range(60)))
    protocol.write_text("clip,is_fake,codec\n" + "".join(f"c{i},{i % 2},{'ab'[i % 3 == 0]}\n" for i in range(60)))
    words = f"metrics {scores} --protocol {protocol} --id-column clip --score-column p_fake --label-column is_fake "
    words += "--bonafide-label 0 --invert --name mine --where codec=a --json --bootstrap 0"
    code, out, err = run(*words.split())
    figures = json.loads(out)
    assert (code, err) == (0, "")
    assert (figures["detector"], figures["n_bonafide"], figures["n_spoof"]) == ("mine", 20, 20)
    assert figures["pooled"]["auc"] > 0.5
    assert any("negated" in note for note in figures["notes"])
    assert any("0 as bonafide" in note for note in figures["notes"])
    code, _, err = run(*words.replace("--id-column clip", "--id-column nope").split())
    assert code == 1


@pytest.mark.parametrize("metric", ["min_dcf", "cllr"])
def test_other_figures_are_compared_by_name(run, small_data, metric):
    scores, protocol = small_data
    code, out, _ = run("compare", scores, scores, "--protocol", protocol, "--metric", metric, "--bootstrap", "20")
    assert code == 0
    assert "difference: +0.0000, without interval: no draw tells the two apart" in out
    code, _, err = run("compare", scores, scores, "--protocol", protocol, "--metric", "min_tdcf_2019")
    assert (code, "needs the speaker verifier's errors" in err) == (1, True)
    code, _, err = run("compare", scores, scores, "--protocol", protocol, "--metric", "nope")
    assert (code, "known are eer, auc, min_dcf" in err) == (1, True)
