"""`dfclient stream`, as a user runs it."""

import csv
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dfdeploy.embedded import Server

ROOT = Path(__file__).resolve().parents[2]
HUMAN = ROOT / "examples/human.flac"


@pytest.fixture
def dfclient(live_server: Server, tmp_path: Path):
    """dfclient(*arguments, stdin=b"") → (exit code, stdout, stderr)."""

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        command = [sys.executable, "-m", "dfclient", arguments[0], "--url", live_server.grpc_url, *arguments[1:]]
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, timeout=180, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_rows(found: Path, expected: Path, *, but: tuple[str, ...] = ()) -> None:
    for row, offline in zip(rows_of(found), rows_of(expected), strict=True):
        for name in set(offline) - {"score", "window_scores", *but}:
            assert row[name] == offline[name], name
        scores = [np.array(each["window_scores"].split(";"), float) for each in (row, offline)]
        np.testing.assert_allclose(*scores, atol=1e-5)
        assert float(row["score"]) == pytest.approx(float(offline["score"]), abs=1e-5)


def test_a_file_gets_the_row_of_offline_scoring(dfclient, tmp_path: Path) -> None:
    options = ["--model", "tiny_trained", "--hop", "0.5", "--pool", "p10", "--out"]
    code, out, err = dfclient("stream", str(HUMAN), *options, "live.csv")
    assert (code, err) == (0, "")
    lines = re.findall(r"^(\d\d:\d\d\.\d) to (\d\d:\d\d\.\d) +(-?\d+\.\d{4})  (above|below)$", out, re.MULTILINE)
    assert len(lines) == 10
    assert [line[0] for line in lines[:3]] == ["00:00.0", "00:00.5", "00:01.0"]
    assert dfclient("score", str(HUMAN), "--mode", "sliding", *options, "offline.csv")[0] == 0
    assert_same_rows(tmp_path / "live.csv", tmp_path / "offline.csv")


def test_a_recording_at_another_rate_with_two_channels(dfclient, tmp_path: Path, speech) -> None:
    import soundfile

    soundfile.write(tmp_path / "call.wav", np.stack([speech, 0.3 * speech[::-1]], axis=1), 44_100, subtype="FLOAT")
    options = ["call.wav", "--model", "tiny", "--out"]
    assert dfclient("stream", *options, "live.csv")[0] == 0
    assert dfclient("score", "--mode", "sliding", *options, "offline.csv")[0] == 0
    assert_same_rows(tmp_path / "live.csv", tmp_path / "offline.csv")


@pytest.mark.parametrize(
    ("encoding", "subtype", "rate_hz"),
    [("int16", "PCM_16", 16_000), ("fp32", "FLOAT", 48_000), ("mulaw", "ULAW", 8_000)],
)
def test_a_pipe_of_raw_samples(dfclient, tmp_path, speech, encoding: str, subtype: str, rate_hz: int) -> None:
    import soundfile

    for name, container in (("a.raw", "RAW"), ("a.wav", "WAV")):
        soundfile.write(
            tmp_path / name, np.stack([speech, -speech], 1) * 0.5, rate_hz, format=container, subtype=subtype
        )
    raw = ["--rate", str(rate_hz), "--encoding", encoding, "--pipe-channels", "2", "--utt-id", "a"]
    code, out, err = dfclient(
        "stream", "-", "--model", "tiny", *raw, "--out", "live.csv", stdin=(tmp_path / "a.raw").read_bytes()
    )
    assert code == 0
    assert "RANDOM WEIGHTS" in err
    assert out.splitlines()[-1].endswith("silence: all that was scored lies below -80 dBFS]")
    assert dfclient("score", "a.wav", "--mode", "sliding", "--model", "tiny", "--out", "offline.csv")[0] == 0
    assert_same_rows(tmp_path / "live.csv", tmp_path / "offline.csv", but=("path",))


@pytest.mark.parametrize("through_a_pipe", [False, True])
def test_each_channel_is_a_stream_with_a_row_of_its_own(dfclient, tmp_path, speech, through_a_pipe: bool) -> None:
    sides = np.stack([speech, 0.5 * speech[::-1]], 1)
    soundfile.write(tmp_path / "call.wav", sides, 16_000, subtype="PCM_16")
    options = ["--model", "tiny_trained", "--hop", "0.5", "--channels", "each", "--out"]
    assert dfclient("score", "call.wav", "--mode", "sliding", *options, "offline.csv")[0] == 0
    if through_a_pipe:
        raw = (tmp_path / "call.wav").read_bytes()[44:]
        source = ["-", "--pipe-channels", "2", "--utt-id", "call"]
    else:
        raw, source = b"", ["call.wav"]
    code, out, err = dfclient("stream", *source, *options, "live.csv", stdin=raw)
    assert (code, err) == (0, "")
    assert [row["utt_id"] for row in rows_of(tmp_path / "live.csv")] == ["call#1", "call#2"]
    assert_same_rows(tmp_path / "live.csv", tmp_path / "offline.csv", but=("path",) if through_a_pipe else ())
    for number in (1, 2):
        windows = re.findall(rf"^(\d\d:\d\d\.\d) to .*(?:above|below)  #{number}$", out, re.MULTILINE)
        assert len(windows) == 10
        assert windows == sorted(windows)
    if not through_a_pipe:
        code, _, err = dfclient("stream", *source, *options, "live.csv", "--resume")
        assert (code, "live.csv has its row already" in err) == (0, True)


def test_one_channel_of_a_stream(dfclient, tmp_path, speech) -> None:
    soundfile.write(tmp_path / "call.wav", np.stack([speech, 0.5 * speech[::-1]], 1), 16_000, subtype="PCM_16")
    options = ["call.wav", "--model", "tiny_trained", "--channels", "2", "--out"]
    assert dfclient("stream", *options, "live.csv")[0] == 0
    assert dfclient("score", "--mode", "sliding", *options, "offline.csv")[0] == 0
    assert_same_rows(tmp_path / "live.csv", tmp_path / "offline.csv")


def test_a_container_through_a_pipe_is_decoded(dfclient, tmp_path) -> None:
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    options = ["--model", "tiny_trained", "--out"]
    assert dfclient("stream", "-", *options, "live.csv", "--utt-id", "human", stdin=HUMAN.read_bytes())[0] == 0
    assert dfclient("score", str(HUMAN), "--mode", "sliding", *options, "offline.csv")[0] == 0
    assert_same_rows(tmp_path / "live.csv", tmp_path / "offline.csv", but=("path",))


def test_rows_are_added_only_when_asked(dfclient, tmp_path: Path, speech) -> None:
    raw = (speech * 32_768).astype("<i2").tobytes()
    options = ["-", "--model", "tiny_trained", "--out", "calls.csv"]
    assert dfclient("stream", *options, "--utt-id", "one", stdin=raw)[0] == 0
    code, _, err = dfclient("stream", *options, "--utt-id", "two", stdin=raw)
    assert code == 1
    assert "calls.csv exists already" in err
    assert dfclient("stream", *options, "--utt-id", "two", "--resume", stdin=raw)[0] == 0
    assert [row["utt_id"] for row in rows_of(tmp_path / "calls.csv")] == ["one", "two"]


def test_resuming_skips_a_file_that_has_its_row_and_keeps_the_errors_of_others(dfclient, tmp_path: Path) -> None:
    options = ["--model", "tiny_trained", "--out", "a.csv"]
    assert dfclient("stream", "gone.wav", *options)[0] == 1
    assert dfclient("stream", str(HUMAN), *options, "--resume")[0] == 0
    assert [row["path"] for row in rows_of(tmp_path / "a.errors.csv")] == ["gone.wav"]
    before = (tmp_path / "a.csv").read_bytes()
    code, out, err = dfclient("stream", str(HUMAN), *options, "--resume")
    assert (code, out) == (0, "")
    assert "a.csv has its row already" in err
    assert (tmp_path / "a.csv").read_bytes() == before
    soundfile.write(tmp_path / "gone.wav", np.zeros(20_000), 16_000)
    assert dfclient("stream", "gone.wav", *options, "--resume")[0] == 0
    assert not (tmp_path / "a.errors.csv").exists()
    assert [row["utt_id"] for row in rows_of(tmp_path / "a.csv")] == ["human", "gone"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (["gone.wav"], b"", 1, "gone.wav: cannot read it"),
        (["-"], b"", 1, "it holds no samples"),
        (["-"], b"\1\2\3", 1, "ends within a frame: 1 of 2 bytes"),
        (["-"], b"RIFF....WAVE", 1, "found WAV on standard input, not decoded as it comes"),
        (["-", "--rate", "0"], b"", 2, "expected a sample rate"),
        (["a.wav", "--rate", "8000"], b"", 2, "--rate describes raw samples from a pipe"),
        (["a.wav", "--pipe-channels", "2"], b"", 2, "--pipe-channels describes raw samples from a pipe"),
        (["-", "--channels", "3"], b"", 1, "expected channel 3, found 1 channel"),
        (["a.wav", "--channels", "left"], b"", 2, "expected channels mix, each or a number"),
        (["a.wav", "--resume"], b"", 2, "--out FILE, which was not given"),
        (["a.wav", "--hop", "2"], b"", 2, "hop"),
        ([str(ROOT / "examples")], b"", 2, "expected one recording"),
    ],
)
def test_mistakes_get_one_line(dfclient, arguments: list[str], stdin: bytes, code: int, words: str) -> None:
    found, _, err = dfclient("stream", *arguments, "--model", "tiny_trained", stdin=stdin)
    assert words in err
    assert found == code
    assert len(err.splitlines()) == 1


def test_what_cannot_be_scored_is_noted(dfclient, tmp_path: Path) -> None:
    assert dfclient("stream", "gone.wav", "--model", "tiny", "--out", "a.csv")[0] == 1
    assert rows_of(tmp_path / "a.errors.csv")[0]["utt_id"] == "gone"


def test_a_recording_damaged_in_its_middle_ends_the_stream(dfclient, tmp_path: Path, speech) -> None:
    soundfile.write(tmp_path / "hurt.flac", np.tile(speech, 4), 16_000)
    content = bytearray((tmp_path / "hurt.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    (tmp_path / "hurt.flac").write_bytes(content)
    assert dfclient("stream", "hurt.flac", "--model", "tiny", "--out", "a.csv")[0] == 1
    assert "damaged" in rows_of(tmp_path / "a.errors.csv")[0]["error"]


def test_ctrl_c_ends_a_pipe_as_its_end_does(live_server: Server, tmp_path: Path, speech) -> None:
    command = [
        sys.executable,
        "-m",
        "dfclient",
        "stream",
        "-",
        "--url",
        live_server.grpc_url,
        "--model",
        "tiny_trained",
    ]
    with subprocess.Popen(
        [*command, "--out", "a.csv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        process.stdin.write((speech[:24_000] * 32_768).astype("<i2").tobytes())
        process.stdin.flush()
        while b"00:01.0" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == b""
    (row,) = rows_of(tmp_path / "a.csv")
    assert row["window_starts_s"] == "0;0.5"
    assert row["duration_s"] == "1.5"


def test_on_a_terminal_a_line_lives(live_server: Server, tmp_path: Path) -> None:
    """In real time; the line says how much was heard and the score so far, and goes away in the end."""
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "dfclient", "stream", str(HUMAN), "--pace", "realtime", "--model", "tiny_trained"]
    started = time.monotonic()
    with subprocess.Popen([*command, "--url", live_server.grpc_url], stdout=inside, stderr=inside) as process:
        os.close(inside)
        screen = b""
        while select.select([terminal], [], [], 20)[0]:
            try:
                screen += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
    os.close(terminal)
    assert process.returncode == 0
    assert time.monotonic() - started > 5.3
    text = screen.decode()
    assert re.search(r"\r\x1b\[2Klistening 00:00\.\d  no window yet", text)
    assert re.search(r"\r\x1b\[2Klistening 00:0[1-5]\.\d  so far -?\d\.\d{4} below", text)
    assert "listening" not in text.rsplit("\x1b[2K", 1)[1]
