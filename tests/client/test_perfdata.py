"""What perf_analyzer is given is what `dfclient score` would send, and perf_analyzer takes it."""

import base64
import json
import subprocess

import numpy as np
import soundfile

from dfclient.__main__ import main
from dfdeploy import folders
from dfdeploy.bench.perf_analyzer import PerfAnalyzer
from tiny_repository import WINDOW_SAMPLES


def contents_of(path) -> list[np.ndarray]:
    entries = json.loads(path.read_text())["data"]
    assert {tuple(entry["WAVEFORM"]["shape"]) for entry in entries} <= {(WINDOW_SAMPLES,)}
    return [np.frombuffer(base64.b64decode(entry["WAVEFORM"]["content"]["b64"]), "<f4") for entry in entries]


def test_windows_are_those_that_are_scored_and_perf_analyzer_sends_them(
    tiny_server, recording, tmp_path, monkeypatch, capsys
):
    assert folders.perf_analyzer().is_dir(), "run dfdeploy setup --perf-analyzer once"
    monkeypatch.chdir(tmp_path)
    long, short = recording("in/long.wav", 2.5), recording("in/short.wav", 0.4)
    options = ["--model=tiny", f"--url={tiny_server.grpc_url}", "--mode=sliding", "--out=data.json"]
    assert main(["perfdata", "in", *options]) == 0
    windows = contents_of(tmp_path / "data.json")
    samples, _ = soundfile.read(long, dtype="float32")
    for window, start in zip(windows, (0, 16_000, 24_000), strict=False):
        np.testing.assert_array_equal(window, samples[start : start + WINDOW_SAMPLES])
    samples, _ = soundfile.read(short, dtype="float32")
    np.testing.assert_array_equal(windows[3], np.resize(samples, WINDOW_SAMPLES))
    assert len(windows) == 4
    said = capsys.readouterr().err
    assert "4 windows of 2 recordings written to data.json" in said
    command = said.splitlines()[-1].split()
    analyzer = PerfAnalyzer()
    assert command[0] == "perf_analyzer"
    brief = ["--measurement-mode=count_windows", "--measurement-request-count=10", "-s", "10000", "-r", "3"]
    finished = subprocess.run(
        [analyzer.binary, *command[1:], *brief], env=analyzer.variables, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "Throughput: " in finished.stdout


def test_what_is_no_audio_is_left_out_and_said(tiny_server, recording, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recording("in/good.wav")
    (tmp_path / "in" / "bad.wav").write_text("no audio")
    options = ["--model=tiny", f"--url={tiny_server.grpc_url}", "--out=data.json"]
    assert main(["perfdata", "in", *options]) == 1
    assert len(contents_of(tmp_path / "data.json")) == 1
    assert "in/bad.wav: left out: " in capsys.readouterr().err
    (tmp_path / "data.json").unlink()
    assert main(["perfdata", "in/bad.wav", *options]) == 2
    assert "none of 1 recordings could be read" in capsys.readouterr().err
    assert not (tmp_path / "data.json").exists()


def test_a_recording_is_not_written_over(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = recording("in/good.wav").read_bytes()
    assert main(["perfdata", "in", "--model=tiny", "--out=in/good.wav"]) == 2
    assert (tmp_path / "in" / "good.wav").read_bytes() == before
