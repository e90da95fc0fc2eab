"""A real server and real faults: no wrong row, no lost row, and nobody's leaving ends the server."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tiny_repository
from dfclient import Detector, ServerError
from dfcontract import score_file
from dfexport.card import identity
from dfexport.signals import wave

pytestmark = pytest.mark.faults
W, RATE_HZ = tiny_repository.WINDOW_SAMPLES, 16_000
N_RECORDINGS = 2_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 recordings of one window, in 16 bits."""
    folder = tmp_path_factory.mktemp("recordings")
    whole = np.clip(wave(1, W + 10 * N_RECORDINGS), -1, 1)
    for number in range(N_RECORDINGS):
        soundfile.write(folder / f"{number:04}.wav", whole[10 * number : 10 * number + W], RATE_HZ, subtype="PCM_16")
    return folder


def scoring(url: str, recordings: Path, out: Path) -> subprocess.Popen[str]:
    options = [f"--url={url}", "--model=tiny", f"--out={out}", "--concurrency=4"]
    command = [sys.executable, "-m", "dfclient", "score", str(recordings), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_rows(out: Path, n_rows: int) -> None:
    deadline_s = time.monotonic() + 120
    while not out.is_file() or out.read_bytes().count(b"\n") <= n_rows:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def check_rows(out: Path, recordings: Path, sha256: str) -> int:
    """Each row is its own recording's score by the one checkpoint; how many there are."""
    rows = score_file.read(out)
    assert len({row["utt_id"] for row in rows}) == len(rows)
    assert {row["checkpoint_sha256"] for row in rows} <= {sha256}
    for row in rows:
        samples, _ = soundfile.read(recordings / f"{row['utt_id']}.wav", dtype="float32")
        assert float(row["score"]) == pytest.approx(tiny_repository.logits_of(samples)[1], abs=1e-5)
    return len(rows)


@pytest.mark.parametrize("n_kills", [1, 3])
def test_a_server_that_is_killed_in_the_middle_costs_no_row(serving, recordings: Path, tmp_path: Path, n_kills) -> None:
    out = tmp_path / "s.csv"
    client = scoring(serving.url, recordings, out)
    for number in range(1, n_kills + 1):
        wait_for_rows(out, 400 * number)
        serving.wait_for_start(number)
        serving.triton().kill()
    printed, _ = client.communicate(timeout=300)
    assert client.returncode == 0, printed
    assert serving.n_starts == n_kills + 1
    assert check_rows(out, recordings, tiny_repository.DIGESTS["tiny"]) == N_RECORDINGS
    assert not (tmp_path / "s.errors.csv").exists()


def test_a_server_that_is_exchanged_in_the_middle_gives_no_row(
    serving, recordings: Path, tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, and restarted by its supervisor with another checkpoint under the same name."""
    other_identity = identity(tiny_repository.SPEC, "cd" * 32, "onnx", "fp32", reduce_range=False)
    monkeypatch.setitem(tiny_repository.DIGESTS, "tiny", "cd" * 32)
    monkeypatch.setitem(tiny_repository.IDENTITIES, "tiny", other_identity)
    other = tiny_repository.write(tmp_path / "other")
    monkeypatch.undo()
    out = tmp_path / "s.csv"
    client = scoring(serving.url, recordings, out)
    wait_for_rows(out, 400)
    (tiny_models / "tiny").rename(tmp_path / "first")
    try:
        (other / "tiny").rename(tiny_models / "tiny")
        serving.triton().kill()
        printed, _ = client.communicate(timeout=300)
    finally:
        (tiny_models / "tiny").rename(other / "tiny")
        (tmp_path / "first").rename(tiny_models / "tiny")
    assert client.returncode not in (0, 130), printed
    assert f"found {other_identity}" in printed
    assert "Traceback" not in printed
    assert 400 <= check_rows(out, recordings, tiny_repository.DIGESTS["tiny"]) < N_RECORDINGS


def test_a_thousand_live_streams_that_are_opened_and_left_do_no_harm(serving) -> None:
    """By our client, each after one answer."""
    audio = np.clip(wave(1, W + 5_000), -1, 1)
    with Detector(serving.url, "tiny") as detector:

        def leave(_number: int) -> None:
            with detector.stream() as live:
                live.send(audio)
                next(iter(live))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(leave, range(1_000)))
        with detector.stream() as live:
            live.send(audio)
            live.end()
            assert len(list(live)) == 2
    assert serving.n_starts == 1, serving.said


def test_requests_that_are_given_up_do_no_harm(serving) -> None:
    """2,000 requests; every tenth is one of a client that closes in the middle."""
    window = np.clip(wave(1, W), -1, 1)
    expected = tiny_repository.logits_of(window)[1]
    given_up, numbers, lock = [0], count(), threading.Lock()
    with Detector(serving.url, "tiny") as good:

        def ask(_number: int) -> None:
            with lock:
                number = next(numbers)
            if number % 10:
                assert good.score(window, RATE_HZ).score == pytest.approx(expected, abs=1e-5)
                return
            try:
                with Detector(serving.url, "tiny") as hasty:
                    leaver = threading.Timer(0.005, hasty.close)
                    leaver.start()
                    for _ in range(20):
                        hasty.score(window, RATE_HZ)
            except ServerError:
                given_up[0] += 1

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(2_000)))
    assert given_up[0] > 0
    assert serving.n_starts == 1, serving.said
