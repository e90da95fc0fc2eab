"""Calibration: fitted on one set, right on another, refused where it would mislead."""

import csv
import dataclasses
import hashlib
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from dfcontract import score_file
from dfcontract.calibration import Calibration
from dfcontract.text import number
from dfeval.calibrate import Target, apply, check_suits, fit
from dfeval.errors import CalibrationError, ScoreFileError
from dfeval.metrics.cllr import cllr
from dfeval.protocols import load_protocol
from dfeval.scores import DetectorScores, load_scores
from dfeval.trials import Trials, join
from dfeval.window_scores import load_window_scores


def make_trials_in(folder, bonafide, spoof, **run) -> Trials:
    ids = [f"t{index}" for index in range(len(bonafide) + len(spoof))]
    labels = ["bonafide"] * len(bonafide) + ["spoof"] * len(spoof)
    path = folder / "protocol.csv"
    pd.DataFrame({"utt_id": ids, "label": labels}).to_csv(path, index=False)
    table = pd.DataFrame({"utt_id": ids, "score": np.concatenate((bonafide, spoof))})
    return join(DetectorScores(table, (folder / "scores.csv",), "made_up", run), load_protocol(path, "csv"))


@pytest.fixture
def make_trials(tmp_path):
    """Trials of given scores of both classes."""
    return lambda bonafide, spoof, **run: make_trials_in(tmp_path, bonafide, spoof, **run)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory) -> Calibration:
    """Of one checkpoint, on recordings cut by protocol mode."""
    run = {"checkpoint_sha256": "ab" * 32, "mode": "protocol"}
    return fit(make_trials_in(tmp_path_factory.mktemp("fitted"), *uncalibrated(9, 100), **run))


def uncalibrated(seed, size=4000):
    """Scores 3·llr + 5 of calibrated Gaussian LLRs, so the right calibration is known: slope 1/3, intercept -5/3."""
    rng, spread = np.random.default_rng(seed), 2.0
    bonafide = rng.normal(spread**2 / 2, spread, size)
    spoof = rng.normal(-(spread**2) / 2, spread, size * 3)
    return 3 * bonafide + 5, 3 * spoof + 5


def test_affine_finds_the_known_map_and_holds_on_other_trials(make_trials):
    calibration = fit(make_trials(*uncalibrated(0)))
    assert calibration.parameters["slope"] == pytest.approx(1 / 3, rel=0.05)
    assert calibration.parameters["intercept"] == pytest.approx(-5 / 3, rel=0.05)
    bonafide, spoof = uncalibrated(1)
    ideal = cllr((bonafide - 5) / 3, (spoof - 5) / 3)
    assert cllr(calibration.llr(bonafide), calibration.llr(spoof)) == pytest.approx(ideal, abs=2e-3)
    assert cllr(bonafide, spoof) > 2 * ideal


def test_affine_is_the_cllr_minimum(make_trials):
    bonafide, spoof = uncalibrated(2, 150)
    calibration = fit(make_trials(bonafide, spoof))
    best = minimize(lambda p: cllr(p[0] * bonafide + p[1], p[0] * spoof + p[1]), (0.1, 0.0), tol=1e-12).fun
    assert calibration.figures["cllr_after"] == pytest.approx(best, abs=1e-9)


def test_isotonic_comes_near_the_least_cllr_and_holds_on_other_trials(make_trials):
    calibration = fit(make_trials(*uncalibrated(3)), "isotonic")
    assert calibration.figures["cllr_after"] == pytest.approx(calibration.figures["min_cllr"], abs=5e-3)
    bonafide, spoof = uncalibrated(4)
    assert cllr(calibration.llr(bonafide), calibration.llr(spoof)) < cllr((bonafide - 5) / 3, (spoof - 5) / 3) + 0.02
    grid = calibration.llr(np.linspace(-40, 40, 500))
    assert np.isfinite(grid).all()
    assert (np.diff(grid) >= 0).all()


@pytest.mark.parametrize("kind", ["affine", "isotonic"])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_a_threshold_keeps_its_rate_and_no_better_one_does(kind, rate, make_trials):
    bonafide, spoof = (values.round() for values in uncalibrated(5, 200))  # rounded: many ties
    trials = make_trials(bonafide, spoof)
    far = fit(trials, kind, Target(far=rate)).threshold.score
    assert np.mean(spoof >= far) <= rate
    below = [score for score in np.unique(np.append(bonafide, spoof)) if score < far]
    assert not below or np.mean(spoof >= below[-1]) > rate
    frr = fit(trials, kind, Target(frr=rate)).threshold.score
    assert np.mean(bonafide < frr) <= rate


def test_default_threshold_is_the_bayes_one(make_trials):
    calibration = fit(make_trials(*uncalibrated(6)))
    assert calibration.threshold.llr == pytest.approx(-0.641853886)
    assert calibration.llr(np.array([calibration.threshold.score]))[0] == pytest.approx(calibration.threshold.llr)


@pytest.mark.parametrize("kind", ["affine", "isotonic"])
def test_json_round_trip_and_digest(kind, make_trials, tmp_path):
    calibration = fit(make_trials(*uncalibrated(7, 100), checkpoint_sha256="ab" * 32), kind)
    path = tmp_path / "calibration.json"
    calibration.save(path)
    loaded = Calibration.load(path)
    assert loaded == calibration
    scores = np.linspace(-20, 20, 50)
    assert (loaded.llr(scores) == calibration.llr(scores)).all()
    content = json.loads(path.read_text())
    assert content["units"] == "natural-log likelihood ratio, bona fide over spoof"
    assert content["fitted_on"]["n_bonafide"] == 100
    content["threshold"]["score"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="changed since it was fitted"):
        Calibration.load(path)


def test_the_documented_arithmetic_applies_it(make_trials):
    """What another program does with the JSON alone."""
    content = json.loads(fit(make_trials(*uncalibrated(8, 100)), "isotonic").to_json())
    knots = content["parameters"]
    assert knots["scores"] == sorted(knots["scores"])
    assert len(set(knots["scores"])) == len(knots["scores"])
    digest = content.pop("digest")
    assert hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == digest


def test_a_known_fit_keeps_its_digest(make_trials):
    """Cards and score rows name calibrations by it."""
    affine = fit(make_trials(np.array([0.5, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0])), target=Target(far=0.1))
    # The optimiser's last digits are its own, so they stay out of the figure.
    rounded = {name: round(value, 6) for name, value in affine.parameters.items()}
    threshold = dataclasses.replace(affine.threshold, llr=round(affine.threshold.llr, 6))
    fitted_on = {name: value for name, value in affine.fitted_on.items() if name != "score_deciles"}  # came later
    known = dataclasses.replace(affine, parameters=rounded, threshold=threshold, figures={}, fitted_on=fitted_on)
    assert known.digest == "190215aeb0daa57adf70642037bb9eafcbac00afe3d44f69e053091431adfff0"


def test_a_calibration_keeps_the_deciles_of_the_scores_that_it_was_fitted_on(make_trials):
    calibration = fit(make_trials(np.array([4.0, 6, 7, 8, 9, 10]), np.array([0.0, 1, 2, 3, 5])))
    assert calibration.deciles == pytest.approx(range(1, 10))
    assert dataclasses.replace(calibration, fitted_on={"protocol": "older"}).deciles == ()


NAN_TEXTS = ("", "nan", "NaN", "NA")
CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
OTHER_NAME = CELL.filter(lambda name: name.strip() not in (*score_file.NAMES, "filename", "trial_anon", "file"))
# Every float64's own text, and what other software writes for the same number.
SCORE_TEXT = st.floats(-1e6, 1e6).map(repr) | st.integers(-99, 99).map("{:+.3f}".format) | st.sampled_from(NAN_TEXTS)


@st.composite
def score_tables(draw):
    """(header, rows) of a score file with columns of the client's and of nobody's, in any order."""
    known = draw(st.sets(st.sampled_from(["path", "duration_s", "warnings", "llr", "verdict", "calibration_sha256"])))
    others = draw(st.lists(OTHER_NAME.filter(lambda name: not set(name) & set("\r\n")), unique=True, max_size=4))
    header = draw(st.permutations(["utt_id", "score", *known, *others]))
    ids = draw(st.lists(st.text("abc/.", min_size=1, max_size=6), min_size=1, max_size=5, unique=True))
    cells = {"score": SCORE_TEXT}
    return header, [[utt if name == "utt_id" else draw(cells.get(name, CELL)) for name in header] for utt in ids]


def read_cells(path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@given(score_tables())
def test_applying_keeps_every_column_and_value_and_adds_three(calibration, tmp_path_factory, table):
    header, rows = table
    folder = tmp_path_factory.mktemp("applied")
    score_file.write(folder / "s.csv", [dict(zip(header, row, strict=True)) for row in rows])
    assert apply(calibration, folder / "s.csv", folder / "t.csv") == len(rows)
    names, *applied = read_cells(folder / "t.csv")
    added = [name for name in ("calibration_sha256", "llr", "verdict") if name not in header]
    assert names == [*header, *added]
    for before, after in zip(rows, applied, strict=True):
        kept = [index for index, name in enumerate(header) if name not in ("calibration_sha256", "llr", "verdict")]
        assert [after[index] for index in kept] == [before[index] for index in kept]
        answer = dict(zip(names, after, strict=True))
        if answer["score"] in NAN_TEXTS:
            assert (answer["llr"], answer["verdict"], answer["calibration_sha256"]) == ("", "", "")
            continue
        score = float(answer["score"])
        slope, intercept = calibration.parameters["slope"], calibration.parameters["intercept"]
        assert answer["llr"] == number(slope * score + intercept)
        assert answer["verdict"] == ("bona_fide" if score >= calibration.threshold.score else "spoof")
        assert answer["calibration_sha256"] == calibration.digest


def client_rows(**changes) -> list[score_file.Row]:
    """Two rows as the client writes them in sliding mode."""
    run = {
        "model": "toy",
        "version": "3",
        "weights": "custom",
        "checkpoint_sha256": "ab" * 32,
        "window_samples": 16_000,
    }
    run |= {"mode": "sliding", "pool": "p10", "hop_s": 0.5, "identity": "77"}
    windows = {"window_starts_s": (0.0, 0.5, 0.7), "window_scores": (3.0, -1.0, 2.0), "duration_s": 1.7}
    rows = [
        {"utt_id": utt, "score": score, "path": f"x/{utt}.wav", **run, **windows}
        for utt, score in (("a", 1.5), ("b", 9.0))
    ]
    return [score_file.to_row(row | changes) for row in rows]


def test_after_applying_a_sliding_file_is_still_one(calibration, tmp_path):
    any_windows = dataclasses.replace(calibration, fitted_on={"protocol": "of before windows were written down"})
    source, target = tmp_path / "s.csv", tmp_path / "t.csv"
    score_file.write(source, client_rows())
    assert apply(any_windows, source, target) == 2
    assert load_scores(target).mode == load_scores(source).mode == "sliding, p10, hop 0.5 s"
    assert load_window_scores(target, "b").scores.tolist() == [3.0, -1.0, 2.0]
    before, after = score_file.read(source), score_file.read(target)
    assert list(after[0]) == list(score_file.NAMES)
    assert {name for name in before[0] if before[0][name] != after[0][name]} == {"llr", "verdict", "calibration_sha256"}


def test_applying_in_place_and_to_another_column(calibration, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("filename,cm-score,fused\na,1,5\nb,2,\n")
    with pytest.raises(CalibrationError, match=r"fitted on \(score\), found fused"):
        apply(calibration, path, path, "fused")
    of_fused = dataclasses.replace(calibration, fitted_on={**calibration.fitted_on, "score_column": "fused"})
    with pytest.raises(CalibrationError, match=r"fitted on \(fused\), found score"):
        apply(of_fused, path, path)
    calibration = of_fused
    assert apply(calibration, path, path, "fused") == 2
    rows = read_cells(path)
    assert rows[0] == ["filename", "cm-score", "fused", "calibration_sha256", "llr", "verdict"]
    assert rows[1][4] == number(float(calibration.llr(5.0)))
    assert rows[2] == ["b", "2", "", "", "", ""]


def test_one_model_of_several_is_calibrated_alone(calibration, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("utt_id,score,model\na,1,x\na,2,y\n")
    with pytest.raises(ScoreFileError, match="2 models"):
        apply(calibration, path, tmp_path / "t.csv")
    assert apply(calibration, path, tmp_path / "t.csv", model="y") == 1
    assert [row[:3] for row in read_cells(tmp_path / "t.csv")] == [["utt_id", "score", "model"], ["a", "2", "y"]]
    with pytest.raises(ScoreFileError, match="lose the rows of other models than y"):
        apply(calibration, path, path, model="y")


def test_fitting_writes_down_another_column(tmp_path):
    bonafide, spoof = uncalibrated(11, 100)
    lines = [f"t{index},{value},0" for index, value in enumerate(np.concatenate((bonafide, spoof)))]
    other_order = [f"{utt_id},{score},{fused}" for utt_id, fused, score in (line.split(",") for line in lines)]
    part = len(lines) // 3
    files = {
        "s.csv": ["utt_id,fused,score", *lines],
        "s.tsv": [line.replace(",", "\t") for line in ("utt_id,fused,score", *lines)],
        "part1.csv": ["utt_id,Fused,score", *lines[:part]],
        "part2.csv": ["utt_id,score,fused", *other_order[part:]],
    }
    for name, rows in files.items():
        (tmp_path / name).write_text("\n".join(rows))
    labels = [f"t{index},{'bonafide' if index < len(bonafide) else 'spoof'}" for index in range(len(lines))]
    (tmp_path / "p.csv").write_text("\n".join(["utt_id,label", *labels]))
    protocol = load_protocol(tmp_path / "p.csv", "csv")
    for names in (["s.csv"], ["s.tsv"], ["part1.csv", "part2.csv"]):
        read = load_scores([tmp_path / name for name in names], "fused")
        found = fit(join(read, protocol))
        assert found.fitted_on["score_column"].lower() == "fused"
        assert found.parameters == fit(join(load_scores(tmp_path / "s.csv", "fused"), protocol)).parameters
    negated = load_scores(tmp_path / "s.csv", "fused", invert=True)
    with pytest.raises(CalibrationError, match=r"(?i)fitted on \(fused\), found -fused"):
        check_suits(found, negated)


def test_applying_takes_ids_from_the_column_that_is_asked_for(calibration, tmp_path):
    (tmp_path / "s.tsv").write_text("utt_id\tclip\tscore\n1\ta\t1\n2\tb\t2\n")
    apply(calibration, tmp_path / "s.tsv", tmp_path / "t.csv", id_column="clip")
    assert [row[0] for row in read_cells(tmp_path / "t.csv")] == ["utt_id", "a", "b"]


@pytest.mark.parametrize(
    "content",
    [b"a 0.1\nb -2.25\n", b"a A11 spoof 0.1\nb - bonafide -2.25\n", pickle.dumps({"a": 0.1, "b": -2.25})],
)
def test_what_is_no_csv_becomes_csv(calibration, content, tmp_path):
    (tmp_path / "s").write_bytes(content)
    assert apply(calibration, tmp_path / "s", tmp_path / "t.csv") == 2
    rows = read_cells(tmp_path / "t.csv")
    assert rows[0] == ["utt_id", "score", "calibration_sha256", "llr", "verdict"]
    assert rows[1][:4] == ["a", "0.1", calibration.digest, number(float(calibration.llr(0.1)))]
    assert rows[2][:2] == ["b", "-2.25"]


def test_a_score_at_the_threshold_is_bona_fide(calibration, tmp_path):
    cut = calibration.threshold.score
    (tmp_path / "s.csv").write_text(f"utt_id,score\na,{cut!r}\nb,{float(np.nextafter(cut, -np.inf))!r}\n")
    apply(calibration, tmp_path / "s.csv", tmp_path / "t.csv")
    (_, _, _, llr, verdict), below = read_cells(tmp_path / "t.csv")[1:]
    assert (verdict, below[-1]) == ("bona_fide", "spoof")
    assert float(llr) == pytest.approx(calibration.threshold.llr)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_sha256": "cd" * 32}, "the calibration is for abababababab"),
        ({"weights": "random"}, "random weights"),
        ({}, r"expected windows as the calibration was fitted on \(protocol\), found sliding, p10, hop 0.5 s"),
    ],
)
def test_scores_that_it_was_not_fitted_for_are_refused(calibration, changes, message, tmp_path):
    score_file.write(tmp_path / "s.csv", client_rows(**changes))
    with pytest.raises(CalibrationError, match=message):
        apply(calibration, tmp_path / "s.csv", tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_fitting_writes_down_how_recordings_were_cut(make_trials, calibration, tmp_path):
    run = {"mode": "sliding", "pool": "p10", "hop_s": "0.5"}
    sliding = fit(make_trials(*uncalibrated(10, 100), **run))
    assert sliding.fitted_on["windows"] == "sliding, p10, hop 0.5 s"
    assert calibration.fitted_on["windows"] == "protocol"
    assert "windows" not in fit(make_trials(*uncalibrated(10, 100))).fitted_on
    score_file.write(tmp_path / "s.csv", client_rows())
    assert apply(sliding, tmp_path / "s.csv", tmp_path / "t.csv") == 2


def test_windows_of_another_length_are_refused_whatever_both_call_their_mode(make_trials, tmp_path):
    """AntiDeepfake of fixed windows and of whole clips: both are in protocol mode."""
    run = {"mode": "protocol", "pool": "", "hop_s": None}
    clips = fit(make_trials(*uncalibrated(10, 100), mode="protocol", window_samples="208000"))
    assert clips.fitted_on["window_samples"] == "208000"
    score_file.write(tmp_path / "s.csv", client_rows(**run, window_samples=64_600))
    words = (
        r"s.csv: expected windows as the calibration was fitted on \(protocol, at most 208000 samples at once\), found "
        "protocol, at most 64600 samples at once"
    )
    with pytest.raises(CalibrationError, match=words):
        apply(clips, tmp_path / "s.csv", tmp_path / "t.csv")
    for length in (208_000, None):
        score_file.write(tmp_path / "s.csv", client_rows(**run, window_samples=length))
        assert apply(clips, tmp_path / "s.csv", tmp_path / "t.csv") == 2


def test_what_would_mislead_is_refused(make_trials):
    bonafide, spoof = uncalibrated(11, 100)
    with pytest.raises(CalibrationError, match="random weights"):
        fit(make_trials(bonafide, spoof, weights="random"))
    with pytest.raises(CalibrationError, match="polarity"):
        fit(make_trials(-bonafide, -spoof))
    with pytest.raises(CalibrationError, match="infinite"):
        fit(make_trials(bonafide + 100, spoof))
    with pytest.raises(CalibrationError, match="nothing to calibrate"):
        fit(make_trials(np.ones(5), np.ones(5)))
    assert isinstance(fit(make_trials(bonafide + 100, spoof), "isotonic"), Calibration)


def test_what_is_no_calibration_is_named(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(CalibrationError, match="can't be read"):
        Calibration.load(path)
    path.write_text("{}")
    with pytest.raises(CalibrationError, match="expected a calibration with schema"):
        Calibration.load(path)
