"""A real server and real faults: no wrong row, no lost row, and nobody's leaving ends the server.

DFSERVE_FAULT_REQUESTS sets the size of the campaigns; 20,000 unless given.
"""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

import tiny_repository
from dfclient import Detector, ServerError
from dfclient.errors import ModelChanged, ServerSlow
from dfclient.transport import Transport
from dfcontract import score_file
from dfdeploy.embedded import Server
from dfexport.card import identity
from dfexport.signals import wave

pytestmark = pytest.mark.faults
W, RATE_HZ = tiny_repository.WINDOW_SAMPLES, 16_000
N_REQUESTS = int(os.environ.get("DFSERVE_FAULT_REQUESTS", "20000"))
N_STREAMS = max(N_REQUESTS // 20, 1)
OTHER_IDENTITY = identity(tiny_repository.SPEC, "cd" * 32, "onnx", "fp32", reduce_range=False)
RECORDING_SAMPLES = 2_000  # the client repeats it until it fills a window


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short recordings, each another one, in 16 bits."""
    folder = tmp_path_factory.mktemp("recordings")
    whole = np.round(np.clip(wave(1, RECORDING_SAMPLES + N_REQUESTS), -1, 1) * 32767).astype("<i2")
    first = io.BytesIO()
    soundfile.write(first, whole[:RECORDING_SAMPLES], RATE_HZ, subtype="PCM_16", format="WAV")
    header = first.getvalue()[: -2 * RECORDING_SAMPLES]
    for number in range(N_REQUESTS):
        (folder / f"{number:06}.wav").write_bytes(header + whole[number : number + RECORDING_SAMPLES].tobytes())
    return folder


def scoring(url: str, recordings: Path, out: Path) -> subprocess.Popen[str]:
    options = [f"--url={url}", "--model=tiny", f"--out={out}", "--concurrency=4"]
    command = [sys.executable, "-m", "dfclient", "score", str(recordings), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_rows(out: Path, n_rows: int) -> None:
    deadline_s = time.monotonic() + 300
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
        assert float(row["score"]) == pytest.approx(tiny_repository.logits_of(np.resize(samples, W))[1], abs=1e-5)
    return len(rows)


@pytest.mark.parametrize("n_kills", [1, 3])
def test_a_server_that_is_killed_in_the_middle_costs_no_row(serving, recordings: Path, tmp_path: Path, n_kills) -> None:
    out = tmp_path / "s.csv"
    client = scoring(serving.url, recordings, out)
    for number in range(1, n_kills + 1):
        wait_for_rows(out, N_REQUESTS // 5 * number)
        serving.wait_for_start(number)
        serving.triton().kill()
    printed, _ = client.communicate(timeout=600)
    assert client.returncode == 0, printed
    assert serving.n_starts == n_kills + 1
    assert check_rows(out, recordings, tiny_repository.DIGESTS["tiny"]) == N_REQUESTS
    assert not (tmp_path / "s.errors.csv").exists()


@pytest.fixture
def exchange(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """exchange(serving): the server dies, and comes back with another checkpoint under the same name."""
    monkeypatch.setitem(tiny_repository.DIGESTS, "tiny", "cd" * 32)
    monkeypatch.setitem(tiny_repository.IDENTITIES, "tiny", OTHER_IDENTITY)
    other = tiny_repository.write(tmp_path / "other")
    monkeypatch.undo()

    def run(serving) -> None:
        (tiny_models / "tiny").rename(tmp_path / "first")
        (other / "tiny").rename(tiny_models / "tiny")
        serving.triton().kill()

    yield run
    (tiny_models / "tiny").rename(other / "tiny")
    (tmp_path / "first").rename(tiny_models / "tiny")


def test_a_server_that_is_exchanged_in_the_middle_gives_no_row(
    serving, exchange, recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.csv"
    client = scoring(serving.url, recordings, out)
    wait_for_rows(out, N_REQUESTS // 5)
    exchange(serving)
    printed, _ = client.communicate(timeout=600)
    assert client.returncode not in (0, 130), printed
    assert f"found {OTHER_IDENTITY}" in printed
    assert "Traceback" not in printed
    assert N_REQUESTS // 5 <= check_rows(out, recordings, tiny_repository.DIGESTS["tiny"]) < N_REQUESTS


def test_a_server_that_is_exchanged_in_the_middle_of_a_live_stream_gives_no_window(serving, exchange) -> None:
    audio = np.clip(wave(1, 40 * W), -1, 1)
    chunks = np.split(audio, 40)
    answered = []
    with Detector(serving.url, "tiny") as detector, detector.stream() as live:
        for chunk in chunks[:20]:
            live.send(chunk)
            answered += list(live)
        exchange(serving)
        with pytest.raises(ModelChanged, match=f"found {OTHER_IDENTITY}"):
            for chunk in chunks[20:]:
                live.send(chunk)
                answered += list(live)
            live.end()
            answered += list(live)
    assert len(answered) >= 20
    assert {window.start_s for window in answered} == {float(second) for second in range(len(answered))}
    for window, chunk in zip(answered, chunks, strict=False):
        assert window.score == pytest.approx(tiny_repository.logits_of(chunk)[1], abs=1e-5)


def test_deadlines_that_expire_cost_nobody_else_a_row(serving, recordings: Path, tmp_path: Path) -> None:
    """An expired deadline cancels its call, which ends a server of release 24.10 now and then: it comes back."""
    window, stopped = np.float32(np.clip(wave(1, W), -1, 1)), threading.Event()

    def expire(_number: int) -> int:
        n_expired = 0
        hasty = Transport(serving.url, timeout_s=0.004)
        try:
            while not stopped.is_set():
                try:
                    hasty.infer("tiny", "1", window)
                except ServerSlow:
                    n_expired += 1
                except ServerError:
                    stopped.wait(0.1)
        finally:
            hasty.close()
        return n_expired

    out = tmp_path / "s.csv"
    with ThreadPoolExecutor(2) as pool:
        expiring = [pool.submit(expire, number) for number in range(2)]
        try:
            printed, _ = (client := scoring(serving.url, recordings, out)).communicate(timeout=900)
        finally:
            stopped.set()
    assert sum(future.result() for future in expiring) > N_REQUESTS // 100
    assert client.returncode == 0, printed
    assert check_rows(out, recordings, tiny_repository.DIGESTS["tiny"]) == N_REQUESTS


def test_live_streams_that_are_opened_and_left_do_no_harm(serving) -> None:
    """By our client, each after one answer."""
    audio = np.clip(wave(1, W + 5_000), -1, 1)
    with Detector(serving.url, "tiny") as detector:

        def leave(_number: int) -> None:
            with detector.stream() as live:
                live.send(audio)
                next(iter(live))

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(leave, range(N_STREAMS)))
        with detector.stream() as live:
            live.send(audio)
            live.end()
            assert len(list(live)) == 2
    assert serving.n_starts == 1, serving.said


def test_requests_that_are_given_up_do_no_harm(serving) -> None:
    """Every tenth is one of a client that closes in the middle."""
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
            list(pool.map(ask, range(N_REQUESTS)))
    assert given_up[0] > 0
    assert serving.n_starts == 1, serving.said


def test_of_three_servers_one_dies_and_one_drains_and_no_row_is_lost(
    tiny_models: Path, recordings: Path, tmp_path: Path
) -> None:
    """Neither comes back: a third of the servers has all the work in the end."""
    out = tmp_path / "s.csv"
    with Server(tiny_models) as dies, Server(tiny_models) as drains, Server(tiny_models) as stays:
        client = scoring(f"{dies.grpc_url},{drains.grpc_url},{stays.grpc_url}", recordings, out)
        wait_for_rows(out, N_REQUESTS // 5)
        psutil.Process(dies.backend_pids[0]).parent().kill()
        wait_for_rows(out, N_REQUESTS * 2 // 5)
        drains.stop()
        printed, _ = client.communicate(timeout=600)
        assert client.returncode == 0, printed
    assert check_rows(out, recordings, tiny_repository.DIGESTS["tiny"]) == N_REQUESTS
    assert not (tmp_path / "s.errors.csv").exists()


def test_a_live_stream_moves_to_another_server_when_its_own_drains_or_dies(tiny_models: Path) -> None:
    """It was at one of two: whichever goes, every window comes once, in order, with its score."""
    samples = wave(1, 20 * W)
    with (
        Server(tiny_models) as one,
        Server(tiny_models) as other,
        Detector(f"{one.grpc_url},{other.grpc_url}", "tiny") as detector,
        detector.stream(hop_s=0.5) as live,
    ):
        seen = []
        for number, start in enumerate(range(0, len(samples), W)):
            live.send(samples[start : start + W])
            seen += list(live)
            if number == 5:
                one.stop()
            if number == 10:
                one.start()
            if number == 15:
                psutil.Process(other.backend_pids[0]).parent().kill()
        live.end()
        seen += list(live)
    expected = [logits_at(samples, start) for start in range(0, len(samples) - W + 1, W // 2)]
    assert [window.start_s for window in seen] == [number * 0.5 for number in range(len(expected))]
    np.testing.assert_allclose([window.score for window in seen], expected, atol=1e-5)


def logits_at(samples: np.ndarray, start: int) -> float:
    """The score of the window that begins there."""
    return float(tiny_repository.logits_of(samples[start : start + W])[1])
