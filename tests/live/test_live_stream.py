"""One stream at the server: answers in order whatever the detector's pace, and each request ended exactly once."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dfcontract import windows
from dfcontract.errors import ErrorCode
from dfdeploy.backends.live.errors import StreamError
from dfdeploy.backends.live.stream import MAX_WINDOWS_IN_FLIGHT, Answer, Settings, Stream

W = 100


class Reply:
    def __init__(self) -> None:
        self.windows, self.ends = [], []
        self.is_wanted = True

    def send(self, window, answer, pooled, *, is_last) -> None:
        assert not self.ends, "an answer after the end"
        self.windows.append((window.index, answer.score, pooled))
        if is_last:
            self.ends.append("last")

    def fail(self, error) -> None:
        self.ends.append(error)

    def close(self) -> None:
        if not self.ends:
            self.ends.append("closed")


def stream_of(infer, workers: ThreadPoolExecutor, **settings) -> Stream:
    chosen = Settings(
        **{"encoding": "fp32", "hop_samples": 10, "pool": "mean", "first_window": 0, "version": -1, **settings}
    )
    return Stream(chosen, W, 16_000, workers.submit, infer)


def raw(samples: np.ndarray) -> np.ndarray:
    return np.frombuffer(samples.astype("<f4").tobytes(), np.uint8)


def wait_until_done(stream: Stream) -> None:
    deadline = time.monotonic() + 20
    while stream.is_busy:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_answers_come_in_order_and_pooled() -> None:
    rng, busy, most = random.Random(1), [0], [0]
    lock = threading.Lock()

    def infer(samples, version):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(rng.uniform(0, 0.01))
        with lock:
            busy[0] -= 1
        return Answer(np.zeros(2, np.float32), float(samples[0]))

    with ThreadPoolExecutor(16) as pool:
        stream, replies = stream_of(infer, pool), [Reply() for _ in range(3)]
        waveform = np.arange(503)
        for chunk, reply, is_end in zip(np.split(waveform, [130, 131]), replies, (False, False, True), strict=True):
            stream.push(raw(chunk), reply, is_end=is_end)
        wait_until_done(stream)
    found = [window for reply in replies for window in reply.windows]
    scores = [*range(0, 401, 10), 403]
    assert [(index, score) for index, score, _ in found] == list(enumerate(scores))
    assert [pooled for *_, pooled in found] == pytest.approx([np.mean(scores[: i + 1]) for i in range(len(scores))])
    assert [reply.ends for reply in replies] == [["last"], ["closed"], ["last"]]
    assert most[0] <= MAX_WINDOWS_IN_FLIGHT


class CountingPooler(windows.Pooler):
    """Counts the scores that it is given."""

    n_added = 0

    def add(self, score: float) -> None:
        type(self).n_added += 1
        super().add(score)


@pytest.mark.parametrize(
    ("pool_name", "pooled_of"),
    [("mean", np.mean), ("min", np.min), ("p10", lambda scores: np.percentile(scores, 10))],
)
def test_a_long_stream_pools_each_score_once(pool_name: str, pooled_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "Pooler", CountingPooler)
    monkeypatch.setattr(CountingPooler, "n_added", 0)
    scores = np.random.default_rng(4).standard_normal(5000)
    with ThreadPoolExecutor(4) as pool:
        infer = lambda samples, version: Answer(np.zeros(2), float(scores[int(samples[0])]))  # noqa: E731
        stream, reply = stream_of(infer, pool, hop_samples=1, pool=pool_name), Reply()
        stream.push(raw(np.arange(len(scores) + W - 1)), reply, is_end=False)
        wait_until_done(stream)
    pooled = [pooled for *_, pooled in reply.windows]
    assert len(pooled) == CountingPooler.n_added == len(scores)
    for count in (1, 2, 77, 1000, 5000):
        assert pooled[count - 1] == pytest.approx(pooled_of(scores[:count]), abs=1e-12)


def test_one_failure_ends_the_stream_and_every_request_once() -> None:
    def infer(samples, version):
        time.sleep(0.002)
        if samples[0] == 50:
            raise RuntimeError("the detector says no")
        return Answer(np.zeros(2, np.float32), 0.0)

    with ThreadPoolExecutor(16) as pool:
        stream, replies = stream_of(infer, pool), [Reply() for _ in range(4)]
        for chunk, reply in zip(np.split(np.arange(400), 4), replies, strict=True):
            stream.push(raw(chunk), reply, is_end=False)
        wait_until_done(stream)
    assert [len(reply.windows) for reply in replies] == [1, 4, 0, 0]
    assert str(replies[1].ends) == "[RuntimeError('the detector says no')]"
    assert [reply.ends for reply in replies[2:]] == [["closed"], ["closed"]]
    assert stream.is_over


def test_an_abandoned_stream_lets_every_request_go() -> None:
    gate = threading.Event()

    def infer(samples, version):
        gate.wait(10)
        return Answer(np.zeros(2, np.float32), 0.0)

    with ThreadPoolExecutor(16) as pool:
        stream, reply = stream_of(infer, pool), Reply()
        stream.push(raw(np.arange(1000)), reply, is_end=False)
        stream.abandon()
        assert (reply.windows, reply.ends) == ([], ["closed"])
        gate.set()
    assert reply.windows == []


def test_audio_that_runs_far_ahead_of_the_detector_is_refused() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        stream = stream_of(lambda samples, version: gate.wait(10) and Answer(np.zeros(2), 0.0), pool, hop_samples=W)
        stream.push(raw(np.zeros(110 * 16_000)), Reply(), is_end=False)
        with pytest.raises(StreamError, match="120 s of audio wait for the detector") as caught:
            stream.push(raw(np.zeros(11 * 16_000)), Reply(), is_end=False)
        assert caught.value.code == ErrorCode.TOO_FAR_AHEAD
        stream.abandon()
        gate.set()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"hop_samples": 0}, "hop_samples: expected 1 to 100 .the window., found 0"),
        ({"hop_samples": 101}, "found 101"),
        ({"hop_samples": "ten"}, "expected a whole number from 0, found 'ten'"),
        ({"first_window": True}, "first_window"),
        ({"pool": "max"}, "expected pool mean, min or a percentile"),
    ],
)
def test_settings_are_checked(parameters: dict, words: str) -> None:
    with pytest.raises(StreamError, match=words) as caught:
        Settings.checked(parameters, W)
    assert caught.value.code == ErrorCode.BAD_STREAM
    assert str(caught.value).startswith("DF_BAD_STREAM: ")


def test_settings_have_defaults() -> None:
    assert Settings.checked({}, W) == Settings("int16", W, "mean", 0, -1)


def test_a_client_that_hangs_up_costs_no_more_windows() -> None:
    counted, reply = [], Reply()

    def infer(samples, version):
        counted.append(samples[0])
        reply.is_wanted = len(counted) < 10
        return Answer(np.zeros(2, np.float32), 0.0)

    with ThreadPoolExecutor(16) as pool:
        stream = stream_of(infer, pool)
        stream.push(raw(np.arange(10_000)), reply, is_end=False)
        wait_until_done(stream)
    assert len(counted) <= 10 + MAX_WINDOWS_IN_FLIGHT
    assert reply.ends == ["closed"]


def test_a_stream_that_is_owed_an_answer_is_not_idle() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        stream = stream_of(lambda samples, version: gate.wait(10) and Answer(np.zeros(2), 0.0), pool)
        assert stream.is_idle_since(time.monotonic())
        stream.push(raw(np.zeros(W)), Reply(), is_end=False)
        assert not stream.is_idle_since(time.monotonic())
        gate.set()
        wait_until_done(stream)
        assert stream.is_idle_since(time.monotonic())


def test_audio_that_comes_as_the_stream_ends_is_let_go() -> None:
    """It ended in another thread: what the chunk completes is owed to nobody, and the request is closed."""
    with ThreadPoolExecutor(1) as pool:
        stream, reply = stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool), Reply()
        stream.abandon()
        stream.push(raw(np.zeros(3 * W)), reply, is_end=False)
        assert reply.ends == ["closed"]
        assert not reply.windows
        assert stream.is_idle_since(time.monotonic() + 1)
