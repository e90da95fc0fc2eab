"""The command line as a user meets it, in processes of its own where signals and exits matter."""

import csv
import os
import pty
import re
import signal
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
import soundfile

from dfclient.__main__ import main
from dfclient.cli import report
from dfclient.cli.progress import Progress

LOADING = (grpc.StatusCode.UNAVAILABLE, "Server not ready")
COMMAND = [sys.executable, "-m", "dfclient"]


@pytest.fixture
def dfclient(tiny_server, tmp_path, monkeypatch, capsys):
    """dfclient(*arguments) → (exit code, stdout, stderr) of a command against the tiny server, run in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([arguments[0], "--url", tiny_server.grpc_url, *arguments[1:]])
        return code, *capsys.readouterr()

    return run


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_rows(dfclient, recording, tmp_path):
    for number in range(5):
        recording(f"in/{number}.wav", 0.6 + number / 2, seed=number)
    code, out, err = dfclient("score", "in", "--model", "tiny_trained", "--out", "s.csv")
    assert (code, out) == (0, "")
    rows = rows_of(tmp_path / "s.csv")
    assert [row["utt_id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["model"] for row in rows} == {"tiny_trained"}
    assert "5 scored, 0 failed" in err
    assert "x real time" in err
    assert "rows: s.csv" in err
    assert "above 0.25, the threshold set on" in err
    assert "4 longer than the window: only the first 1.00 s counted" in err
    assert "RANDOM" not in err


def test_random_weights_cannot_be_missed(dfclient, recording, tmp_path):
    recording("a.wav")
    code, out, err = dfclient("score", "a.wav", "--model", "tiny", "--out", "s.csv")
    assert code == 0
    assert "RANDOM WEIGHTS" in err
    assert "NOTHING" in err
    assert rows_of(tmp_path / "s.csv")[0]["weights"] == "random"
    code, out, err = dfclient("score", "a.wav", "--model", "tiny")
    assert "weights random" in out
    assert "RANDOM WEIGHTS" in err
    assert "above" not in out.splitlines()[-1]


def test_without_out_there_are_lines_to_read(dfclient, recording):
    recording("a.wav", 1.2)
    recording("b.wav", 0.2)
    code, out, err = dfclient("score", "a.wav", "b.wav", "--model", "tiny_trained")
    assert code == 0
    head, meaning, first, second = out.splitlines()
    assert head == "model tiny_trained version 1, weights custom"
    assert "higher sounds more bona fide" in meaning
    assert re.fullmatch(r" +-?\d+\.\d{4}  (above|below) +1\.20 s  a\.wav", first)
    assert second.endswith("b.wav  [short: 0.200 s of audio, under 0.5 s]")
    assert not re.search(r"\b(fake|real)\b(?! time)", out + err)


def test_bad_files_get_a_row_and_exit_1_and_stop_nothing(dfclient, recording, tmp_path):
    for name in ("a.wav", "z.wav"):
        recording(f"in/{name}")
    (tmp_path / "in/empty.wav").touch()
    (tmp_path / "in/text.wav").write_text("hello\n" * 100)
    soundfile.write(tmp_path / "in/none.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "in/nan.wav", np.full(9, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "in/silent.wav", np.zeros(16000), 16000)
    code, _, err = dfclient("score", "in", "gone.wav", "--model", "tiny_trained", "--out", "out/s.csv")
    assert code == 1
    assert "3 scored, 5 failed" in err
    assert "out/s.errors.csv" in err
    rows = rows_of(tmp_path / "out/s.csv")
    assert [row["utt_id"] for row in rows] == ["a", "silent", "z"]
    assert "silence" in rows[1]["warnings"]
    errors = {row["path"]: row["error"] for row in rows_of(tmp_path / "out/s.errors.csv")}
    assert set(errors) == {"in/empty.wav", "in/text.wav", "in/none.wav", "in/nan.wav", "gone.wav"}
    assert "empty" in errors["in/empty.wav"]
    assert "No such file" in errors["gone.wav"]


def test_resume_does_only_what_is_missing(dfclient, recording, tmp_path):
    for number in range(4):
        recording(f"in/{number}.wav", seed=number)
    arguments = ("in", "--model", "tiny_trained", "--out", "s.csv")
    assert dfclient("score", *arguments)[0] == 0
    whole = (tmp_path / "s.csv").read_bytes()
    code, _, err = dfclient("score", *arguments)
    assert code == 1
    assert "--resume" in err
    assert "--overwrite" in err
    (tmp_path / "s.csv").write_bytes(whole[: whole.rindex(b"tiny_trained")])  # in the midst of the last row
    code, _, err = dfclient("score", *arguments, "--resume")
    assert code == 0
    assert "1 scored, 0 failed, 3 already there" in err
    assert (tmp_path / "s.csv").read_bytes() == whole
    code, _, err = dfclient("score", "in", "--model", "tiny", "--out", "s.csv", "--resume")
    assert code == 1
    assert "made with model 'tiny_trained'" in err
    code, _, err = dfclient("score", *arguments, "--resume", "--mode", "sliding")
    assert code == 1
    assert "mode 'protocol'" in err
    assert (tmp_path / "s.csv").read_bytes() == whole


def test_asvspoof_format(dfclient, recording, tmp_path):
    recording("LA_1.flac")
    assert dfclient("score", "LA_1.flac", "--model", "tiny_trained", "--out", "s.txt", "--format", "asvspoof")[0] == 0
    assert re.fullmatch(r"LA_1 -?[\d.e-]+\n", (tmp_path / "s.txt").read_text())
    recording("a b.wav")
    code, _, err = dfclient("score", "a b.wav", "--model", "tiny_trained", "--out", "t.txt", "--format", "asvspoof")
    assert code == 2
    assert "spaces" in err
    code, _, err = dfclient("score", "LA_1.flac", "--model", "tiny", "--out", "u.txt", "--format", "asvspoof")
    assert code == 1
    assert "random" in err
    assert not (tmp_path / "u.txt").exists()


def test_models_and_health(dfclient):
    code, out, _ = dfclient("models")
    assert code == 0
    assert re.search(r"^tiny +1 +1\.000 s +16000 Hz +RANDOM", out, re.MULTILINE)
    assert re.search(r"^tiny_trained .* custom ", out, re.MULTILINE)
    code, out, _ = dfclient("models", "--full")
    assert code == 0
    assert "tiny, version 1: tiny with RANDOM weights\n" in out
    assert re.search(r"^  threshold +0\.25, set on a made-up set$", out, re.MULTILINE)
    code, out, _ = dfclient("health")
    assert code == 0
    assert "live, ready" in out
    assert "NOT" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["score", "x.wav", "--model", "nope"], 1, "no model 'nope'.*it serves: tiny, tiny_trained"),
        (["score", "@gone.txt", "--model", "tiny"], 2, "gone.txt: cannot read"),
        (["score", "x.wav", "--model", "tiny", "--resume"], 2, "--out FILE"),
        (["score", "x.wav", "--model", "tiny", "--hop", "1"], 2, "sliding"),
        (["score", "x.wav", "--model", "tiny", "--mode", "sliding", "--hop", "9"], 2, "hop"),
        (["score", "x.wav", "--model", "tiny", "--concurrency", "0"], 2, "concurrency"),
        (["score", "x.wav", "--model", "tiny", "--timeout", "-1"], 2, "timeout"),
        (["score", "x.wav", "--model", "tiny", "--wait", "-1"], 2, "--wait: expected seconds"),
        (["score", "x.wav", "--model", "tiny", "--format", "asvspoof"], 2, "--out FILE"),
        (["score", "x.wav", "--model", "tiny", "--channels", "left"], 2, "expected channels mix, each or a number"),
        (["score", "x.wav", "--model", "tiny", "--track", "0"], 2, "expected a track's number"),
        (["score", "x.wav", "--model", "tiny_live"], 1, "name 'tiny', for dfclient score and dfclient stream alike"),
        (["score", "@/dev/zero", "--model", "tiny"], 2, "found a folder or a device"),
    ],
)
def test_mistakes_get_one_line(dfclient, arguments, code, words):
    found, _, err = dfclient(*arguments)
    assert found == code
    last = err.splitlines()[-1] if code == 2 else next(line for line in err.splitlines() if "error" in line)
    assert re.match(rf"dfclient: error: .*{words}", last)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "x.wav", "--hop", "1"], "sliding"),
        (["score", "x.wav", "--mode", "sliding", "--hop", "-1"], "a hop in seconds, above 0"),
        (["score", "x.wav", "--mode", "sliding", "--pool", "p200"], "p0 to p100"),
        (["score", "x.wav", "--out", "."], "found a folder"),
        (["score", "x.wav", "--url", "127.0.0.1:80010"], "HOST:PORT"),
        (["stream", "x.wav", "--pool", "median"], "p0 to p100"),
    ],
)
def test_what_no_server_can_put_right_is_found_without_one(capsys, arguments, words):
    command, *others = arguments
    assert main([command, "--url", "127.0.0.1:9", "--model", "toy", *others]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "x.wav", "--model", "toy", "--wait", "0"],
        ["stream", "x.wav", "--model", "toy", "--wait", "0"],
        ["models"],
        ["health"],
    ],
)
def test_a_server_that_is_away(faulty_server, capsys, arguments):
    server = faulty_server()
    server.stop()
    assert main([arguments[0], "--url", server.url, *arguments[1:]]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"dfclient: error: no Triton server answers at {server.url} .*dfdeploy serve.*\n", err)


def test_a_server_that_is_away_is_waited_for_with_a_word(faulty_server, recording, tmp_path):
    path = recording("a.wav")
    server = faulty_server(lambda number, name, request: LOADING if number <= 3 and name == "ModelInfer" else None)
    command = [*COMMAND, "score", path.name, "--url", server.url, "--model", "toy", "--out", "s.csv"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert finished.returncode == 0
    notices = [line for line in finished.stderr.splitlines() if "trying again" in line]
    assert len(notices) == 1
    assert "model 'toy' is being loaded or unloaded" in notices[0]


def start(url: str, *arguments: str, cwd) -> subprocess.Popen:
    command = [
        *COMMAND,
        "score",
        "in",
        "--url",
        url,
        "--model",
        "toy",
        "--out",
        "s.csv",
        "--concurrency",
        "2",
        *arguments,
    ]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(path, n_rows: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < n_rows + 1:
        assert time.monotonic() < deadline, "no rows came"
        time.sleep(0.01)


@pytest.fixture
def slow_run(faulty_server, recording, tmp_path):
    """A server that takes 50 ms a window, and 40 recordings to score."""
    for number in range(40):
        recording(f"in/{number:02}.wav", 0.6, seed=number)
    return faulty_server(lambda number, name, request: time.sleep(0.05) if name == "ModelInfer" else None)


def finish(server, tmp_path) -> list[dict[str, str]]:
    resumed = start(server.url, "--resume", cwd=tmp_path)
    assert resumed.wait(60) == 0, resumed.stderr.read()
    return rows_of(tmp_path / "s.csv")


def test_ctrl_c_keeps_the_rows_and_says_how_to_go_on(slow_run, tmp_path):
    process = start(slow_run.url, cwd=tmp_path)
    wait_for_rows(tmp_path / "s.csv", 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "--resume" in err
    assert "Traceback" not in err
    kept = rows_of(tmp_path / "s.csv")
    assert 3 <= len(kept) < 40
    rows = finish(slow_run, tmp_path)
    assert rows[: len(kept)] == kept
    assert [row["utt_id"] for row in rows] == [f"{number:02}" for number in range(40)]


def test_kill_9_loses_nothing(slow_run, tmp_path):
    process = start(slow_run.url, cwd=tmp_path)
    wait_for_rows(tmp_path / "s.csv", 3)
    process.kill()
    process.wait(60)
    kept = rows_of(tmp_path / "s.csv")
    assert len(kept) >= 3
    asked = slow_run.triton.calls["ModelInfer"]
    rows = finish(slow_run, tmp_path)
    assert rows[: len(kept)] == kept
    assert [row["utt_id"] for row in rows] == [f"{number:02}" for number in range(40)]
    assert slow_run.triton.calls["ModelInfer"] - asked == 40 - len(kept)


def test_a_server_that_dies_in_mid_run_keeps_the_rows(slow_run, tmp_path):
    process = start(slow_run.url, "--wait", "1", cwd=tmp_path)
    wait_for_rows(tmp_path / "s.csv", 3)
    slow_run.stop()
    _, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert re.search(r"^dfclient: error: no Triton server answers.*rows so far are kept.*--resume", err, re.MULTILINE)
    assert "Traceback" not in err
    assert len(rows_of(tmp_path / "s.csv")) >= 3


def test_a_terminal_sees_a_bar(slow_run, tmp_path):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "score", "in", "--url", slow_run.url, "--model", "toy", "--out", "s.csv"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 4096)
        except OSError:
            break
    assert process.wait(60) == 0
    assert re.search(rb"40/40", seen)
    assert b"clips/s" in seen
    assert b"x real time" in seen


def test_the_bar_leaves_piped_results_alone(slow_run, tmp_path):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "score", "in/00.wav", "in/01.wav", "--url", slow_run.url, "--model", "toy"]
    found = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True).stdout
    seen = os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    assert [line.split()[-1] for line in found.splitlines()[2:]] == ["in/00.wav", "in/01.wav"]
    assert b"in/00.wav" not in seen
    assert b"2/2" in seen


def test_the_reader_of_our_output_may_leave(tiny_server, recording, tmp_path):
    for number in range(20):
        recording(f"in/{number}.wav", seed=number)
    command = f"{sys.executable} -m dfclient score in --url {tiny_server.grpc_url} --model tiny | head -n 1"
    found = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "model tiny" in found.stdout
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["score", "a.wav", "--mode", "sliding", "--hop", "9"],
        ["score", "a.wav", "--mode", "sliding", "--concurrency", "0"],
        ["score", "a.wav", "@gone.txt", "--mode", "sliding"],
        ["score", "a.wav", "--mode", "sliding", "--model", "nope"],
        ["score", "a.wav", "--mode", "sliding", "--url", "127.0.0.1:1", "--wait", "0"],
        ["stream", "a.wav", "--hop", "9"],
        ["stream", "a.wav", "--rate", "8000"],
        ["stream", "-", "--rate", "0"],
        ["stream", "-", "--channels", "0"],
        ["stream", "a.wav", "--model", "nope"],
        ["stream", "a.wav", "--url", "127.0.0.1:1", "--wait", "0"],
    ],
)
def test_overwriting_empties_nothing_before_all_is_known_to_be_well(dfclient, recording, tmp_path, wrong):
    recording("a.wav", 1.2)
    right = ["score", "a.wav", "--mode", "sliding", "--model", "tiny_trained", "--out", "s.csv"]
    assert dfclient(*right)[0] == 0
    (tmp_path / "s.errors.csv").write_text("path,utt_id,error\nold.wav,old,why\n")
    before = (tmp_path / "s.csv").read_bytes()
    command, *others = wrong
    assert dfclient(command, "--model", "tiny_trained", *others, "--out", "s.csv", "--overwrite")[0] != 0
    assert (tmp_path / "s.csv").read_bytes() == before
    assert "old.wav" in (tmp_path / "s.errors.csv").read_text()
    assert dfclient(*right, "--overwrite")[0] == 0
    assert not (tmp_path / "s.errors.csv").exists()


def test_resuming_keeps_the_errors_of_others(dfclient, recording, tmp_path):
    recording("a.wav")
    arguments = ("--model", "tiny_trained", "--out", "s.csv")
    assert dfclient("score", "a.wav", "gone.wav", "away.wav", *arguments)[0] == 1
    assert dfclient("score", "a.wav", "gone.wav", *arguments, "--resume")[0] == 1
    errors = [row["path"] for row in rows_of(tmp_path / "s.errors.csv")]
    assert errors == ["away.wav", "gone.wav"]
    recording("gone.wav")
    assert dfclient("score", "a.wav", "gone.wav", *arguments, "--resume")[0] == 0
    assert [row["path"] for row in rows_of(tmp_path / "s.errors.csv")] == ["away.wav"]


def test_another_model_behind_the_same_name_ends_the_run(faulty_server, recording, tmp_path, capsys, monkeypatch):
    """A server that is restarted with another checkpoint: no row with the wrong digest, and one clear line."""
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        recording(f"in/{number:02}.wav", seed=number)

    def exchange(number, name, request):
        if name == "ModelInfer" and number > 8:
            server.triton.identity = server.triton.answers_as = 22

    server = faulty_server(exchange)
    server.triton.identity = server.triton.answers_as = 11
    arguments = ["score", "in", "--url", server.url, "--model", "toy", "--out", "s.csv", "--concurrency", "1"]
    assert main(arguments) == 1
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert "expected answers with identity 11, found 22" in line
    assert line.endswith("the rows so far are kept, all of the earlier model")
    assert "8 scored" in err
    rows = rows_of(tmp_path / "s.csv")
    assert [row["utt_id"] for row in rows] == [f"{number:02}" for number in range(8)]
    assert {row["identity"] for row in rows} == {"11"}
    assert main([*arguments, "--resume"]) == 1
    assert "made with identity '11', this run has '22'" in capsys.readouterr().err
    assert rows_of(tmp_path / "s.csv") == rows


def test_each_channel_has_a_row(dfclient, speechlike, tmp_path):
    frames = np.stack([speechlike(20000, 16000, seed) for seed in (1, 2)], 1)
    soundfile.write(tmp_path / "call.wav", frames, 16000)
    options = ["call.wav", "--model", "tiny_trained"]
    assert dfclient("score", *options, "--channels", "each", "--out", "s.csv")[0] == 0
    rows = rows_of(tmp_path / "s.csv")
    assert [(row["utt_id"], row["path"], row["channels"]) for row in rows] == [
        ("call#1", "call.wav", "2"),
        ("call#2", "call.wav", "2"),
    ]
    code, _, err = dfclient("score", *options, "--channels", "each", "--out", "s.csv", "--resume")
    assert (code, "0 scored, 0 failed, 1 already there" in err) == (0, True)
    code, out, _ = dfclient("score", *options, "--channels", "each")
    assert code == 0
    assert re.findall(r"call\.wav #\d", out) == ["call.wav #1", "call.wav #2"]
    assert dfclient("score", *options, "--channels", "2", "--out", "t.csv")[0] == 0
    assert rows_of(tmp_path / "t.csv")[0]["score"] == rows[1]["score"]
    code, _, err = dfclient("score", *options, "--channels", "3")
    assert (code, "expected channel 3, found 2 channels" in err) == (1, True)


def test_names_that_no_file_can_have_cost_their_own_row_alone(tiny_server, recording, tmp_path):
    """As a process, whose output must take names that are no text."""
    odd, lines = os.fsdecode(b"in/caf\xe9.wav"), "in/two\nlines\x1b[2J.wav"
    recording("in/a.wav")
    for name in (odd, lines):
        recording("x.wav").rename(tmp_path / name)
    long, gone = "y" * 5000 + ".wav", os.fsdecode(b"gone\xe9.wav")
    listed = ["path", "in/a.wav", odd, f'"{lines}"', long, gone, "nul\0l.wav"]
    (tmp_path / "m.csv").write_bytes(os.fsencode("\n".join(listed) + "\n"))
    command = [sys.executable, "-m", "dfclient", "score", "m.csv", "--url", tiny_server.grpc_url]
    command += ["--model", "tiny_trained"]
    for more in (["--out", "s.csv"], ["--out", "s.csv", "--resume"], []):
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, timeout=180, check=False)
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stderr + done.stdout
    assert [line.split("  ")[-1] for line in done.stdout.decode().splitlines()[2:]] == [
        "in/a.wav",
        r"in/caf\udce9.wav",
        r"in/two\nlines\x1b[2J.wav",
    ]
    with (tmp_path / "s.csv").open(newline="", errors="surrogateescape") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["in/a.wav", odd, lines]
    with (tmp_path / "s.errors.csv").open(newline="", errors="surrogateescape") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [long, gone, "nul\0l.wav"]


def test_a_line_says_how_many_files_of_a_folder_were_passed_over(dfclient, recording, tmp_path):
    recording("in/a.wav")
    (tmp_path / "in/notes.txt").touch()
    code, out, err = dfclient("score", "in", "--model", "tiny_trained")
    assert code == 0
    assert err.splitlines()[0] == "dfclient: in: 1 file of other kinds passed over"
    assert "notes" not in out


def test_a_folder_of_every_container_is_scored(dfclient, speechlike, tmp_path):
    (tmp_path / "in").mkdir()
    for suffix, container in (("w64", "W64"), ("aifc", "AIFF"), ("sph", "NIST"), ("caf", "CAF"), ("rf64", "RF64")):
        soundfile.write(tmp_path / f"in/a.{suffix}", speechlike(20000, 16000), 16000, format=container)
    assert dfclient("score", "in", "--model", "tiny_trained", "--out", "s.csv")[0] == 0
    rows = rows_of(tmp_path / "s.csv")
    assert len(rows) == 5
    assert len({row["score"] for row in rows}) == 1


def test_a_server_can_not_speak_to_the_terminal(faulty_server, recording, tmp_path, capsys, monkeypatch):
    """Its words are printed, its escape codes are not obeyed: in errors, notices and tables alike."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        recording(f"in/{number}.wav", seed=number)
    waiting = (grpc.StatusCode.UNAVAILABLE, "Server not ready \x1b[2J")
    denied = (grpc.StatusCode.UNAUTHENTICATED, "no \x1b[2J key")
    server = faulty_server(
        lambda number, name, request: {1: waiting, 3: denied}.get(number) if name == "ModelInfer" else None
    )
    server.triton.states.append(("other\x1b[2J", "1", "UNAVAILABLE", "broken\x1b[2J"))
    score = ["score", "in", "--url", server.url, "--model", "toy", "--out", "s.csv", "--concurrency", "1"]
    for arguments in (score, ["health", "--url", server.url], ["health", "--url", f"{server.url},127.0.0.1:1"]):
        assert main(arguments) == 1
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert r"\x1b[2J" in out + err
        assert not [line for line in err.splitlines() if line.startswith("dfclient: error: ") and "\x1b" in line]
    assert "dfclient: error: " in err


def test_a_card_can_not_either(card):
    """What it states stands above the scores, below them, and in the table of models."""
    told = card(threshold_source="a set\x1b[2J\nverdict: bona fide", licence="free\x1b[2J")
    tally, progress = report.Tally(scored=1, judged=1), Progress(1, results_on_stdout=True)
    threshold = f"0, the threshold set on {told.threshold_source}"
    row = report.model_row(told, takes_streams=True)
    for text, n_lines in (
        (report.heading(told), 2),
        (report.summary(tally, progress, [told], threshold, skipped=0, rows=None), 3),
        (report.table(report.MODEL_HEADER, [row]), 2),
    ):
        assert "\x1b" not in text
        assert r"\x1b[2J" in text
        assert len(text.splitlines()) == n_lines
