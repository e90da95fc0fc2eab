"""Segment metrics against a reference that looks at every millisecond, and the labels' formats."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from dfeval.__main__ import main
from dfeval.errors import EvalError, OneClassError, ProtocolError
from dfeval.metrics.eer import eer
from dfeval.segment_labels import load_segment_labels
from dfeval.segments import Frames, frames_of, range_eer, segment_figures
from dfeval.window_scores import WindowScores


def _made_up(seed: int) -> tuple[WindowScores, np.ndarray]:
    """Overlapping windows whose last is aligned to the end, and three spoof parts; all times are whole milliseconds."""
    random = np.random.default_rng(seed)
    duration_ms, window_ms, hop_ms = int(random.integers(1500, 2500)), 400, int(random.integers(90, 400))
    starts = [*range(0, duration_ms - window_ms, hop_ms), duration_ms - window_ms]
    edges = np.sort(random.choice(np.arange(1, duration_ms), 6, replace=False)).reshape(3, 2)
    scores = random.normal(size=len(starts))
    return WindowScores(f"u{seed}", np.array(starts) / 1000, scores, duration_ms / 1000, 0.0), edges / 1000


def _by_millisecond(recording: WindowScores, spoof: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    moments = np.arange(round(1000 * recording.duration_s)) / 1000 + 0.0005
    scores = np.array(
        [
            recording.scores[(recording.starts_s <= t) & (t < recording.starts_s + recording.window_s)].mean()
            for t in moments
        ]
    )
    return scores, np.array([any(start <= t < end for start, end in spoof) for t in moments])


@pytest.mark.parametrize("resolution_ms", [20, 160])
def test_frames_and_both_eers_are_those_of_a_look_at_every_millisecond(resolution_ms):
    recordings = [_made_up(seed) for seed in range(4)]
    scores, bonafide_ms, spoof_ms = [], [], []
    for recording, spoof in recordings:
        moment_scores, moment_is_spoof = _by_millisecond(recording, spoof)
        for start in range(0, len(moment_scores), resolution_ms):
            frame = slice(start, start + resolution_ms)
            scores.append(moment_scores[frame].mean())
            spoof_ms.append(moment_is_spoof[frame].sum())
            bonafide_ms.append((~moment_is_spoof[frame]).sum())
    labels = {recording.utt_id: spoof for recording, spoof in recordings}
    ((found,), notes) = segment_figures([recording for recording, _ in recordings], labels, [resolution_ms / 1000])
    scores, bonafide_ms, spoof_ms = map(np.array, (scores, bonafide_ms, spoof_ms))
    assert notes == []
    assert (found.n_bonafide, found.n_spoof) == ((spoof_ms == 0).sum(), (spoof_ms > 0).sum())
    assert (found.bonafide_s, found.spoof_s) == pytest.approx((bonafide_ms.sum() / 1000, spoof_ms.sum() / 1000))
    gaps = [
        (abs(frr - far), (frr + far) / 2)
        for threshold in (*np.unique(scores), np.inf)
        for frr, far in [
            (
                bonafide_ms[scores < threshold - 1e-9].sum() / bonafide_ms.sum(),
                spoof_ms[scores >= threshold - 1e-9].sum() / spoof_ms.sum(),
            )
        ]
    ]
    assert found.range.value == pytest.approx(min(gaps)[1], abs=1e-9)
    rounded = scores.round(9)  # sums in another order differ by less
    assert found.point.value == pytest.approx(eer(rounded[spoof_ms == 0], rounded[spoof_ms > 0]).value, abs=1e-12)


def test_where_labels_fit_the_frames_range_and_point_eer_are_the_same():
    random = np.random.default_rng(0)
    is_spoof = random.random(500) < 0.3
    scores = random.normal(size=500) - is_spoof
    found = range_eer(Frames(scores, np.where(is_spoof, 0, 0.02), np.where(is_spoof, 0.02, 0)))
    assert found.value == pytest.approx(eer(scores[~is_spoof], scores[is_spoof]).value, abs=1e-12)
    rejected, accepted = (scores[~is_spoof] < found.threshold).mean(), (scores[is_spoof] >= found.threshold).mean()
    assert found.value == pytest.approx((rejected + accepted) / 2, abs=1e-12)


def test_the_range_eer_weighs_seconds_and_not_frames():
    # Below 0.5 lie 1 s bona fide and 3 s spoof; above 2 s bona fide and 1 s spoof: 1/3 rejected, 1/4 accepted.
    frames = Frames(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([3.0, 1.0]))
    assert range_eer(frames).value == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert range_eer(frames).threshold == 1.0


def test_a_perfect_and_an_inverted_localiser():
    for sign, expected in ((1.0, 0.0), (-1.0, 1.0)):
        recording = WindowScores("u", np.arange(4) * 0.5, sign * np.array([1.0, -1.0, -1.0, 1.0]), 2.0, 0.0)
        (found,), _ = segment_figures([recording], {"u": np.array([[0.5, 1.5]])}, [0.02])
        assert (found.point.value, found.range.value) == (expected, expected)


def test_what_no_window_covers_is_no_frame():
    recording = WindowScores("u", np.array([0.0, 1.5]), np.array([1.0, 2.0]), 2.0, 0.0)  # a hop of three windows
    frames = frames_of(recording, np.array([[0.1, 0.2]]), 0.25)
    assert frames.scores.tolist() == [1.0, 1.0, 2.0, 2.0]
    assert frames.spoof_s.tolist() == pytest.approx([0.1, 0, 0, 0])


def _write_labels(folder, kind):
    path = folder / {"rttm": "x.rttm", "parts": "x.txt", "partialspoof": "eval_seglab_0.02.npy"}[kind]
    if kind == "rttm":
        lines = [
            *("SPEAKER a 1 0.0 0.04 <NA> <NA> bonafide <NA> <NA>", "SPEAKER a 1 0.04 0.02 <NA> <NA> spoof <NA> <NA>"),
            *("SPEAKER a 1 0.06 0.04 <NA> <NA> spoof <NA> <NA>", "SPEAKER b 1 0 0.06 <NA> <NA> bonafide <NA> <NA>"),
        ]
        path.write_text("\n".join(lines))
    elif kind == "parts":
        path.write_text("a 0.1 spoof 0.00-0.04-bonafide 0.04-0.06-spoof 0.06-0.10-spoof\nb 0.06 bonafide\n")
    else:
        np.save(path, {"a": np.array(list("11000")), "b": np.array(list("111"))}, allow_pickle=True)
    return path


@pytest.mark.parametrize("kind", ["rttm", "parts", "partialspoof"])
def test_each_format_says_the_same(tmp_path, kind):
    path = _write_labels(tmp_path, kind)
    for chosen in (kind, None):
        parts = load_segment_labels(path, chosen)
        assert list(parts) == ["a", "b"]
        np.testing.assert_allclose(parts["a"], [[0.04, 0.1]])
        assert parts["b"].shape == (0, 2)


class _Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("hostile", [_Runs(), {"a": _Runs()}, {"a": np.array([_Runs()], dtype=object)}])
def test_nothing_of_an_npy_runs(tmp_path, monkeypatch, hostile):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "eval_seglab_0.02.npy"
    np.save(path, np.array(hostile, dtype=object), allow_pickle=True)
    with pytest.raises(ProtocolError, match=r"refused: it asks for (posix|nt)\.system"):
        load_segment_labels(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.txt", "a 0.1 spoof 0.0-0.1\n", "line 1: expected start-end-label, found '0.0-0.1'"),
        ("x.txt", "a 0.1 spoof 0.0-nan-spoof\n", "expected seconds from 0 on"),
        ("x.txt", "a 0.1 spoof 0.0-0.1-odd\n", "label 'odd' is not one of"),
        ("x.rttm", "SPEAKER a 1 0.0 0.04\n", "expected 8 fields of RTTM"),
        ("x.txt", "", r"expected labels of parts \(parts\), found none"),
        ("x.npy", "\x93NUMPY", "resolution in its name"),
        ("x_0.02.npy", "\x93NUMPY junk", "is no readable .npy"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ProtocolError, match=expected):
        load_segment_labels(tmp_path / name)


def test_an_npy_of_numbers_or_with_other_digits_is_refused(tmp_path):
    path = tmp_path / "x_0.02.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ProtocolError, match="expected one dict of label arrays"):
        load_segment_labels(path)
    np.save(path, {"a": np.array(["2"])}, allow_pickle=True)
    with pytest.raises(ProtocolError, match="a has the label '2', expected 1"):
        load_segment_labels(path)
    path.write_bytes(path.read_bytes()[:80] + pickle.dumps({}))
    with pytest.raises(ProtocolError):
        load_segment_labels(path)


def test_the_command_prints_both_resolutions_and_names_what_is_left_out(tmp_path, capsys):
    rows = ["utt_id,score,mode,window_samples,window_starts_s,window_scores,duration_s"]
    for seed in range(3):
        recording, _ = _made_up(seed)
        starts, scores = (";".join(map(repr, values.tolist())) for values in (recording.starts_s, recording.scores))
        rows.append(f"u{seed},0,sliding,6400,{starts},{scores},{recording.duration_s}")
    rows.append("long,0,protocol,6400,0,1.0,9.0")
    (tmp_path / "s.csv").write_text("\n".join(rows))
    (tmp_path / "l.txt").write_text("u0 2 spoof 0.2-0.5-spoof\nu1 2 bonafide\nu9 2 spoof\n")
    command = ["segments", str(tmp_path / "s.csv"), "--labels", str(tmp_path / "l.txt")]
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr()
    expected, _ = segment_figures(
        [_made_up(0)[0], _made_up(1)[0]], {"u0": np.array([[0.2, 0.5]]), "u1": np.empty((0, 2))}
    )
    found = json.loads(printed.out)
    assert [one["range"]["value"] for one in found] == [one.range.value for one in expected]
    assert [one["resolution_s"] for one in found] == [0.02, 0.16]
    assert "1 scored recordings have no labels and are left out (u2, …)" in printed.err
    assert "1 labelled recordings have no windows" in printed.err
    assert "long was scored in protocol mode" in printed.err
    assert main(command) == 0
    assert "160 ms" in capsys.readouterr().out


def test_what_cannot_be_judged_is_said():
    recording, spoof = _made_up(0)
    with pytest.raises(EvalError, match="expected labels of the 1 scored recordings"):
        segment_figures([recording], {"other": spoof})
    with pytest.raises(OneClassError):
        segment_figures([recording], {"u0": np.empty((0, 2))})
    with pytest.raises(EvalError, match=r"resolutions of 0\.001 to 10 seconds, found 0"):
        segment_figures([recording], {"u0": spoof}, [0.0])


def test_labels_beyond_a_recordings_end_and_random_weights_are_noted():
    recording, spoof = _made_up(0)
    assert segment_figures([recording], {"u0": spoof})[1] == []
    beyond = np.append(spoof, [[recording.duration_s - 0.1, recording.duration_s + 30]], axis=0)
    found, notes = segment_figures([replace(recording, is_random=True)], {"u0": beyond})
    assert len(found) == 2
    assert notes[0].startswith("RANDOM WEIGHTS")
    assert notes[1] == "labels of 1 recordings end long after them (u0, …): are the labels theirs, and in seconds?"
