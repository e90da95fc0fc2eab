"""`Detector.stream` and `stream_async` on a real server: the windows of offline scoring, whatever happens meanwhile."""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny_repository
from dfclient import Detector, RetryPolicy
from dfclient.errors import AudioError, InputError, ServerBusy, ServerError
from dfcontract.score_file import to_row
from dfdeploy.embedded import Server

W = tiny_repository.WINDOW_SAMPLES


@pytest.fixture(scope="module")
def detector(live_server: Server):
    with Detector(live_server.grpc_url, "tiny") as detector:
        yield detector


def assert_same(found, expected) -> None:
    assert [(w.start_s, w.end_s) for w in found] == [(w.start_s, w.end_s) for w in expected]
    np.testing.assert_allclose([w.score for w in found], [w.score for w in expected], atol=1e-5)
    np.testing.assert_allclose([w.logits for w in found], [w.logits for w in expected], atol=1e-5)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n_samples=st.integers(3, 80_000),  # at 44.1 kHz, fewer are none at 16
    hop_ms=st.integers(50, 1000),
    rate_hz=st.sampled_from([8_000, 16_000, 44_100]),
    cuts=st.lists(st.integers(0, 80_000), max_size=20),
)
def test_it_scores_as_offline(detector, speech, n_samples: int, hop_ms: int, rate_hz: int, cuts: list[int]) -> None:
    waveform, hop_s = speech[:n_samples], hop_ms / 1000
    offline = detector.score(waveform, rate_hz, mode="sliding", hop_s=hop_s)
    with detector.stream(rate_hz, hop_s=hop_s) as live:
        windows = []
        for chunk in np.split(waveform, sorted(min(cut, n_samples) for cut in cuts)):
            live.send(chunk)
            windows += live
        live.end()
        windows += live
        result = live.result(offline.utt_id, offline.path)
    assert_same(windows, offline.windows)
    assert live.windows == tuple(windows)
    row, expected = to_row(result.as_dict()), to_row(offline.as_dict())
    for name in set(expected) - {"score", "window_scores"}:
        assert row[name] == expected[name], name
    assert result.score == pytest.approx(offline.score, abs=1e-5)


def test_integers_and_channels_are_taken_as_offline(detector, speech) -> None:
    frames = np.round(np.stack([speech, speech[::-1]], axis=1) * 32767).astype(np.int16)
    offline = detector.score(frames, 16_000, mode="sliding", hop_s=0.5, pool="min")
    with detector.stream(hop_s=0.5, pool="min") as live:
        live.send(frames[:9999])
        live.send(frames[9999:])
        live.end()
        assert_same(list(live), offline.windows)
        assert live.pooled == pytest.approx(offline.score, abs=1e-5)
        assert live.result().channels == 2


def test_reading_waits_for_what_was_sent_and_for_no_more(detector, speech) -> None:
    with detector.stream() as live:
        live.send(speech[: W - 1])
        assert list(live) == []
        live.send(speech[W - 1 : 2 * W])
        assert len(list(live)) == 2
        assert list(live) == []


def test_one_thread_sends_another_follows(detector, speech) -> None:
    offline = detector.score(speech, 16_000, mode="sliding", hop_s=0.1)
    with detector.stream(hop_s=0.1) as live:

        def send() -> None:
            for start in range(0, len(speech), 800):
                live.send(speech[start : start + 800])
                time.sleep(0.002)
            live.end()

        sender = threading.Thread(target=send)
        sender.start()
        assert_same(list(live.follow()), offline.windows)
        sender.join()


def test_closing_ends_every_wait(detector) -> None:
    with detector.stream() as live:
        reader = threading.Thread(target=lambda: list(live.follow()))
        reader.start()
        time.sleep(0.1)
        live.close()
        reader.join(60)
        assert not reader.is_alive()


def test_asyncio_answers_the_same(detector, speech) -> None:
    offline = detector.score(speech, 16_000, mode="sliding", hop_s=0.2)

    async def one() -> list:
        async with detector.stream_async(hop_s=0.2) as live:

            async def send() -> None:
                for start in range(0, len(speech), 5000):
                    await live.send(speech[start : start + 5000])
                    await asyncio.sleep(0.001)
                await live.end()

            sending = asyncio.create_task(send())
            windows = [window async for window in live.follow()]
            await sending
            return windows

    async def chunk_by_chunk() -> list:
        windows = []
        async with detector.stream_async(hop_s=0.2) as live:
            for start in range(0, len(speech), 9000):
                await live.send(speech[start : start + 9000])
                windows += [window async for window in live]
            await live.end()
            return windows + [window async for window in live]

    async def many() -> list:
        return await asyncio.gather(*(one() for _ in range(10)), chunk_by_chunk())

    for windows in asyncio.run(many()):
        assert_same(windows, offline.windows)


def test_mistakes(detector, speech) -> None:
    with pytest.raises(InputError, match="hop"):
        detector.stream(hop_s=2.0)
    with pytest.raises(InputError, match="pool"):
        detector.stream(pool="max")
    with pytest.raises(InputError, match="sample rate"):
        detector.stream(-5)
    with detector.stream() as live:
        with pytest.raises(AudioError, match="no samples"):
            live.end()
        with pytest.raises(AudioError, match="NaN"):
            live.send([0.0, np.nan])
        with pytest.raises(InputError, match="expected a waveform"):
            live.send(np.zeros((2, 2, 2)))
        live.send(speech[:100])
        live.end()
        assert len(list(live)) == 1
        with pytest.raises(InputError, match="the stream has ended"):
            live.send(speech[:100])


def test_a_full_model_is_a_clear_error(live_server: Server) -> None:
    with Detector(live_server.grpc_url, "tiny_trained", retry=RetryPolicy(busy_s=1.0)) as detector:
        taken = [detector.stream() for _ in range(3)]
        for live in taken:
            live.__enter__()
            live.send(np.zeros(W, np.float32))
            assert len(list(live)) == 1
        with (
            detector.stream() as refused,
            pytest.raises(ServerBusy, match=r"3 streams are open.*tried again for"),
        ):
            list(refused.follow())
        for live in taken:
            live.end()
            list(live)
            live.close()


def test_a_repository_without_live_models_is_a_clear_error(tmp_path: Path) -> None:
    import shutil

    models = tiny_repository.write(tmp_path / "models")
    for name in ("tiny_live", "tiny_trained_live", "tiny_trained"):
        shutil.rmtree(models / name)
    with Server(models) as server, Detector(server.grpc_url, "tiny") as detector, detector.stream() as live:
        live.send(np.zeros(W, np.float32))
        with pytest.raises(ServerError, match="no model 'tiny_live'"):
            list(live)


def test_an_idle_stream_goes_on_when_audio_comes_again(brief_server: Server, speech) -> None:
    """The server forgets it after 2 s of silence on the wire; it is begun anew."""
    with Detector(brief_server.grpc_url, "tiny") as detector:
        offline = detector.score(speech, 16_000, mode="sliding", hop_s=0.3)
        with detector.stream(hop_s=0.3) as live:
            live.send(speech[:40_000])
            time.sleep(3.2)
            live.send(speech[40_000:])
            live.end()
            assert_same(list(live), offline.windows)


@pytest.mark.parametrize("way", ["kill -9", "stop"])
def test_a_server_that_dies_or_restarts_loses_no_window_of_eight_streams(live_models: Path, speech, way: str) -> None:
    """While audio flows, and back a while later: every window of each stream exactly once."""
    server = Server(live_models)
    server.start()
    try:
        with Detector(server.grpc_url, "tiny") as detector:
            waveforms = [np.roll(speech, 5000 * number) for number in range(8)]
            offline = [detector.score(w, 16_000, mode="sliding", hop_s=0.25) for w in waveforms]
            found: list = [None] * 8
            halfway = threading.Barrier(9, timeout=30)

            def play(number: int) -> None:
                with detector.stream(hop_s=0.25) as live:

                    def send() -> None:
                        waveform = waveforms[number]
                        for start in range(0, len(waveform), 1600):
                            live.send(waveform[start : start + 1600])
                            time.sleep(0.05)
                            if start == 32_000:
                                halfway.wait()
                        live.end()

                    sender = threading.Thread(target=send)
                    sender.start()
                    found[number] = list(live.follow())
                    sender.join()

            players = [threading.Thread(target=play, args=(number,)) for number in range(8)]
            for player in players:
                player.start()
            halfway.wait()
            time.sleep(0.2)
            if way == "kill -9":
                os.kill(server.pid, signal.SIGKILL)
                time.sleep(2)
            server.stop()
            server.start()
            for player in players:
                player.join(60)
            for number in range(8):
                assert_same(found[number], offline[number].windows)
    finally:
        server.stop()


def test_a_stream_that_is_given_up_is_forgotten_at_once(live_server: Server) -> None:
    """Three streams are all that ``tiny_trained`` takes, and they would expire after 30 s."""
    with Detector(live_server.grpc_url, "tiny_trained") as detector:
        for _ in range(7):
            with detector.stream() as live:
                live.send(np.zeros(W + 100, np.float32))
                assert len(list(live)) == 1


def test_streams_that_are_left_with_windows_unanswered_do_not_end_the_server(live_models: Path, speech) -> None:
    """A worker that asked after a request which another thread had just ended did, within some 400 streams."""

    def leave(detector: Detector, count: int) -> None:
        for _ in range(count):
            with detector.stream(hop_s=0.1) as live:
                live.send(speech[: 2 * W])
                next(iter(live))

    with Server(live_models) as server, Detector(server.grpc_url, "tiny") as detector:
        threads = [threading.Thread(target=leave, args=(detector, 250)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.failure() == ""
        assert detector.score(speech, 16_000).score


def test_a_dead_live_backend_is_noticed(live_models: Path) -> None:
    """Its detector would go on as if nothing were wrong; `dfdeploy serve` restarts a server that has failed."""
    import psutil

    with Server(live_models) as server:
        assert server.failure() == ""
        victim = next(pid for pid in server.backend_pids if psutil.Process(pid).cmdline()[-1].endswith("/live"))
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not server.failure() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.failure() == f"backend process {victim} has died"
