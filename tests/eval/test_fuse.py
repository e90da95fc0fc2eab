"""Several detectors into one score."""

import csv
import json

import numpy as np
import pytest

from dfcontract.fusion import Fusion
from dfeval.__main__ import main
from dfeval.errors import CalibrationError, EvalError
from dfeval.fuse import fit
from dfeval.metrics.cllr import cllr
from dfeval.metrics.eer import eer
from dfeval.protocols import load_protocol
from dfeval.scores import load_scores
from dfeval.trials import join

N = 400


def write(folder, seed, **scores):
    rng = np.random.default_rng(seed)
    is_bonafide = np.arange(N) < N // 2
    protocol = folder / f"p{seed}.csv"
    protocol.write_text(
        "utt_id,label\n" + "".join(f"u{i},{'bonafide' if real else 'spoof'}\n" for i, real in enumerate(is_bonafide))
    )
    files = {}
    for name, (distance, spread) in scores.items():
        values = rng.normal(np.where(is_bonafide, distance, -distance), spread)
        files[name] = folder / f"{name}_{seed}.csv"
        rows = "".join(f"u{i},{float(value)!r},{name},pretrained,{name}00\n" for i, value in enumerate(values))
        files[name].write_text("utt_id,score,model,weights,checkpoint_sha256\n" + rows)
    return files, protocol


def append(paths, names, cells_of):
    """Add columns to score files: their names, and what gives their cells from a row."""
    for path in paths:
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([f"{header},{names}", *(f"{row},{cells_of(row)}" for row in rows)]))


def trials_of(files, protocol):
    loaded = load_protocol(protocol, "csv")
    return [join(load_scores(path), loaded) for path in files.values()]


@pytest.fixture
def detectors(tmp_path):
    """A good detector, one that knows other things, and one that knows next to nothing."""
    return write(tmp_path, 0, good=(1, 1), other=(10, 15), noise=(0.2, 1))


def test_independent_detectors_are_better_together(detectors):
    trials = trials_of(*detectors)
    fusion = fit(trials)
    weights = {member.detector: member.weight for member in fusion.members}
    assert weights["good"] == pytest.approx(1, abs=0.2)  # each LLR of independent evidence counts as it is
    assert weights["other"] == pytest.approx(1, abs=0.25)
    alone = [member.figures for member in fusion.members]
    assert fusion.figures["cllr"] < min(figures["cllr"] for figures in alone)
    assert fusion.figures["eer"] < min(figures["eer"] for figures in alone)
    assert alone[0]["eer"] == eer(trials[0].bonafide, trials[0].spoof).value
    llrs = fusion.llr({one.detector: one.scores for one in trials})
    is_bonafide = trials[0].is_bonafide
    assert fusion.figures["cllr"] == cllr(llrs[is_bonafide], llrs[~is_bonafide])
    for step in (1e-3, -1e-3):  # the least cost: no weight can be bettered
        for index in range(3):
            moved = list(fusion.members)
            moved[index] = type(moved[index])(**{**vars(moved[index]), "weight": moved[index].weight + step})
            other = Fusion(tuple(moved), fusion.intercept, fusion.threshold, {}, {})
            shifted = other.llr({one.detector: one.scores for one in trials})
            assert cllr(shifted[is_bonafide], shifted[~is_bonafide]) > fusion.figures["cllr"]


def test_only_trials_that_all_have_scored_count(detectors):
    files, protocol = detectors
    lines = files["other"].read_text().splitlines(keepends=True)
    files["other"].write_text("".join(lines[:1] + lines[51:]))
    fusion = fit(trials_of(files, protocol))
    assert (fusion.fitted_on["n_bonafide"], fusion.fitted_on["n_spoof"]) == (150, 200)


def test_what_can_not_be_fused_is_named(detectors, tmp_path):
    files, protocol = detectors
    trials = trials_of(files, protocol)
    with pytest.raises(EvalError, match="two detectors or more, each with a name of its own"):
        fit([trials[0], trials[0]])
    twice = tmp_path / "twice.csv"
    rows = (f"u{i},{2 * score + 1}\n" for i, score in enumerate(trials[0].scores.tolist()))
    twice.write_text("utt_id,score\n" + "".join(rows))
    with pytest.raises(CalibrationError, match="say the same of every trial"):
        fit([trials[0], join(load_scores(twice), trials[0].protocol)])
    easy, own = write(tmp_path, 5, a=(2.2, 1), b=(2.2, 1))
    with pytest.raises(CalibrationError, match="part all bona fide from all spoof"):
        fit(trials_of(easy, own))
    for path in files.values():
        path.write_text(path.read_text().replace("pretrained", "random"))
    with pytest.raises(CalibrationError, match="random weights"):
        fit(trials_of(files, protocol))


def test_the_commands_fit_and_apply(detectors, tmp_path, capsys):
    files, protocol = detectors
    path, fused = tmp_path / "fusion.json", tmp_path / "fused.csv"
    words = ["fuse", "fit", *files.values(), "--protocol", protocol, "--out", path, "--target-far", "0.05"]
    assert main(list(map(str, words))) == 0
    printed = capsys.readouterr().out
    assert "good: weight +" in printed
    assert "alone: EER" in printed
    others, other_protocol = write(tmp_path, 1, good=(1, 1), other=(10, 15), noise=(0.2, 1))
    lines = others["noise"].read_text().splitlines(keepends=True)
    others["noise"].write_text("".join(lines[:-1]))
    apply = ["fuse", "apply", *others.values(), "--fusion", path, "--out", fused]
    assert main(list(map(str, apply))) == 0
    assert "1 recordings lack a detector's score" in capsys.readouterr().err
    rows = list(csv.DictReader(fused.open()))
    fusion = Fusion.load(path)
    assert tuple(rows[7]["members"].split(";")) == fusion.detectors
    own = dict(zip(fusion.detectors, map(float, rows[7]["member_scores"].split(";")), strict=True))
    assert float(rows[7]["score"]) == pytest.approx(float(fusion.llr(own)), rel=1e-8)
    assert (rows[7]["llr"], rows[7]["fusion_sha256"]) == (rows[7]["score"], fusion.digest)
    assert (rows[-1]["score"], rows[-1]["verdict"]) == ("", "")
    assert main(["metrics", str(fused), "--protocol", str(other_protocol), "--json", "--bootstrap", "0"]) == 0
    figures = json.loads(capsys.readouterr().out)
    alone = [eer(one.bonafide, one.spoof).value for one in trials_of(others, other_protocol)]
    assert figures["pooled"]["eer"] < min(alone)
    assert figures["matching"]["n_not_finite"] == 1


def test_scores_of_other_detectors_or_checkpoints_are_refused(detectors, tmp_path, capsys):
    files, protocol = detectors
    path = tmp_path / "fusion.json"
    two = [files["good"], files["other"]]
    assert main(list(map(str, ["fuse", "fit", *two, "--protocol", protocol, "--out", path]))) == 0
    apply = ["--fusion", str(path), "--out", str(tmp_path / "fused.csv")]
    assert main(["fuse", "apply", str(files["good"]), str(files["noise"]), *apply]) == 1
    assert "expected scores of good, other, one each, found good, noise" in capsys.readouterr().err
    files["good"].write_text(files["good"].read_text().replace("good00", "bad00"))
    assert main(["fuse", "apply", *map(str, two), *apply]) == 1
    assert "but the calibration is for good00" in capsys.readouterr().err


def test_a_member_that_heard_other_lengths_is_refused(detectors, tmp_path, capsys):
    files, protocol = detectors
    two = [files["good"], files["other"]]
    append(two, "mode,window_samples", lambda _row: "protocol,64600")
    path = tmp_path / "fusion.json"
    assert main(list(map(str, ["fuse", "fit", *two, "--protocol", protocol, "--out", path]))) == 0
    assert [member.window_samples for member in Fusion.load(path).members] == ["64600", "64600"]
    files["good"].write_text(files["good"].read_text().replace(",64600", ",208000"))
    assert main(["fuse", "apply", *map(str, two), "--fusion", str(path), "--out", str(tmp_path / "fused.csv")]) == 1
    assert "found protocol, at most 208000 samples at once" in capsys.readouterr().err


def test_a_member_of_another_column_is_refused(detectors, tmp_path, capsys):
    files, protocol = detectors
    two = [files["good"], files["other"]]
    append(two, "raw", lambda row: f"{row.split(',')[1]}0")
    path, fused = tmp_path / "fusion.json", tmp_path / "fused.csv"
    fit = ["fuse", "fit", *two, "--score-column", "raw", "--protocol", protocol, "--out", path]
    assert main(list(map(str, fit))) == 0
    assert [member.score_column for member in Fusion.load(path).members] == ["raw", "raw"]
    apply = ["fuse", "apply", *map(str, two), "--fusion", str(path), "--out", str(fused)]
    assert main([*apply, "--score-column", "raw"]) == 0
    fused.unlink()
    capsys.readouterr()
    assert main(apply) == 1
    assert "fitted on (raw), found score" in capsys.readouterr().err
    assert not fused.exists()
