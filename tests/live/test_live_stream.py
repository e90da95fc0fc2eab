"""One stream at the server: answers in order whatever the detector's pace, and its reply ended exactly once."""

import importlib
import random
import sys
import threading
import time
import types
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

    def send(self, window, answer, pooled) -> None:
        assert not self.ends, "an answer after the end"
        self.windows.append((window.index, answer.score, pooled))

    def fail(self, error) -> None:
        if not self.ends:
            self.ends.append(error)

    def close(self) -> None:
        if not self.ends:
            self.ends.append("closed")


def stream_of(infer, workers: ThreadPoolExecutor, reply: Reply | None = None, **settings) -> Stream:
    chosen = Settings(
        **{"encoding": "fp32", "hop_samples": 10, "pool": "mean", "first_window": 0, "version": -1, **settings}
    )
    return Stream(chosen, W, 16_000, reply or Reply(), submit=workers.submit, infer=infer)


def raw(samples: np.ndarray) -> np.ndarray:
    return np.frombuffer(samples.astype("<f4").tobytes(), np.uint8)


def wait_until_done(stream: Stream) -> None:
    deadline = time.monotonic() + 60
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
        reply = Reply()
        stream = stream_of(infer, pool, reply)
        waveform = np.arange(503)
        for chunk, is_end in zip(np.split(waveform, [130, 131]), (False, False, True), strict=True):
            assert not reply.ends
            stream.push(raw(chunk), is_end=is_end)
        wait_until_done(stream)
    found = reply.windows
    scores = [*range(0, 401, 10), 403]
    assert [(index, score) for index, score, _ in found] == list(enumerate(scores))
    assert [pooled for *_, pooled in found] == pytest.approx([np.mean(scores[: i + 1]) for i in range(len(scores))])
    assert reply.ends == ["closed"]
    assert stream.is_over
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
        reply = Reply()
        stream = stream_of(infer, pool, reply, hop_samples=1, pool=pool_name)
        stream.push(raw(np.arange(len(scores) + W - 1)), is_end=False)
        wait_until_done(stream)
    pooled = [pooled for *_, pooled in reply.windows]
    assert len(pooled) == CountingPooler.n_added == len(scores)
    for count in (1, 2, 77, 1000, 5000):
        assert pooled[count - 1] == pytest.approx(pooled_of(scores[:count]), abs=1e-12)


def test_one_failure_ends_the_stream_once_after_what_went_before() -> None:
    def infer(samples, version):
        time.sleep(0.002)
        if samples[0] == 50:
            raise RuntimeError("the detector says no")
        return Answer(np.zeros(2, np.float32), 0.0)

    with ThreadPoolExecutor(16) as pool:
        reply = Reply()
        stream = stream_of(infer, pool, reply)
        for chunk in np.split(np.arange(400), 4):
            stream.push(raw(chunk), is_end=False)
        wait_until_done(stream)
    assert [index for index, *_ in reply.windows] == [0, 1, 2, 3, 4]
    assert str(reply.ends) == "[RuntimeError('the detector says no')]"
    assert stream.is_over


def test_an_abandoned_stream_lets_go() -> None:
    gate = threading.Event()

    def infer(samples, version):
        gate.wait(10)
        return Answer(np.zeros(2, np.float32), 0.0)

    with ThreadPoolExecutor(16) as pool:
        reply = Reply()
        stream = stream_of(infer, pool, reply)
        stream.push(raw(np.arange(1000)), is_end=False)
        stream.abandon()
        assert (reply.windows, reply.ends) == ([], ["closed"])
        gate.set()
    assert reply.windows == []


def test_audio_that_runs_far_ahead_of_the_detector_is_refused() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        stream = stream_of(lambda samples, version: gate.wait(10) and Answer(np.zeros(2), 0.0), pool, hop_samples=W)
        stream.push(raw(np.zeros(110 * 16_000)), is_end=False)
        with pytest.raises(StreamError, match="120 s of audio wait for the detector") as caught:
            stream.push(raw(np.zeros(11 * 16_000)), is_end=False)
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
        stream = stream_of(infer, pool, reply)
        stream.push(raw(np.arange(10_000)), is_end=False)
        wait_until_done(stream)
    assert len(counted) <= 10 + MAX_WINDOWS_IN_FLIGHT
    assert reply.ends == ["closed"]


def test_a_stream_that_is_owed_an_answer_is_not_idle() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(16) as pool:
        stream = stream_of(lambda samples, version: gate.wait(10) and Answer(np.zeros(2), 0.0), pool)
        assert stream.is_idle_since(time.monotonic())
        stream.push(raw(np.zeros(W)), is_end=False)
        assert not stream.is_idle_since(time.monotonic())
        gate.set()
        wait_until_done(stream)
        assert stream.is_idle_since(time.monotonic())


def test_audio_that_comes_as_the_stream_ends_is_let_go() -> None:
    """It ended in another thread: what the chunk completes is owed to nobody."""
    with ThreadPoolExecutor(1) as pool:
        reply = Reply()
        stream = stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool, reply)
        stream.abandon()
        stream.push(raw(np.zeros(3 * W)), is_end=False)
        assert reply.ends == ["closed"]
        assert not reply.windows
        assert stream.is_idle_since(time.monotonic() + 1)


def test_an_end_without_audio_ends_the_reply() -> None:
    with ThreadPoolExecutor(1) as pool:
        reply = Reply()
        stream = stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool, reply)
        stream.push(raw(np.zeros(0)), is_end=True)
        assert (reply.ends, reply.windows) == (["closed"], [])
        assert stream.is_over


def test_what_is_wrong_with_a_chunk_ends_the_stream_with_that_error() -> None:
    with ThreadPoolExecutor(1) as pool:
        reply = Reply()
        stream = stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool, reply)
        with pytest.raises(StreamError) as caught:
            stream.push(raw(np.full(3, np.nan)), is_end=False)
        stream.fail(caught.value)
        assert reply.ends == [caught.value]
        assert stream.is_over


def test_a_reply_that_can_not_be_sent_ends_the_stream() -> None:
    """Left busy, it would never be swept, and keep its place among the streams for ever."""

    class BrokenReply(Reply):
        def send(self, window, answer, pooled) -> None:
            raise RuntimeError("Triton takes no response")

    with ThreadPoolExecutor(4) as pool:
        reply = BrokenReply()
        stream = stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool, reply)
        stream.push(raw(np.zeros(3 * W)), is_end=False)
        wait_until_done(stream)
        assert stream.is_over
        assert reply.ends == ["closed"]


def test_an_error_that_can_not_be_sent_ends_the_stream() -> None:
    class BrokenReply(Reply):
        def fail(self, error) -> None:
            raise RuntimeError("Triton takes no response")

    with ThreadPoolExecutor(1) as pool:
        stream = stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool, BrokenReply())
        with pytest.raises(RuntimeError):
            stream.fail(ValueError("a chunk that can't be used"))
        assert stream.is_over


@pytest.fixture
def live_model(monkeypatch: pytest.MonkeyPatch):
    """The backend's module, with Triton's own replaced by one that has the flags only."""
    flags = {"SEQUENCE_START": 1, "SEQUENCE_END": 2}
    triton = types.ModuleType("triton_python_backend_utils")
    for name, value in flags.items():
        setattr(triton, f"TRITONSERVER_REQUEST_FLAG_{name}", value)
    triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    monkeypatch.setitem(sys.modules, triton.__name__, triton)
    names = ("live.model", "live.detector", "live.places", "common.tensors")
    for name in names:
        monkeypatch.delitem(sys.modules, f"dfdeploy.backends.{name}", raising=False)
    yield importlib.import_module("dfdeploy.backends.live.model")
    for name in names:
        sys.modules.pop(f"dfdeploy.backends.{name}", None)


def test_the_sweeper_looks_again_before_it_forgets_a_stream(live_model) -> None:
    with ThreadPoolExecutor(1) as pool:
        idle, newer, deserted = (
            stream_of(lambda samples, version: Answer(np.zeros(2, np.float32), 0.0), pool) for _ in range(3)
        )
        deserted.reply.is_wanted = False
        model = object.__new__(live_model.TritonPythonModel)
        model.lock, model.streams = threading.Lock(), {1: idle, 2: newer, 3: deserted}
        model.places, model.idle_timeout_s = live_model.Places("tiny_live", 1), 60.0
        before, after = time.monotonic() - 60, time.monotonic() + 60
        assert not model._forget_if_gone(1, idle, before)  # a chunk has come since it was listed
        assert not model._forget_if_gone(2, idle, after)  # another stream has its id by now
        assert not model._forget_if_gone(4, idle, after)  # its END has come
        assert model.streams == {1: idle, 2: newer, 3: deserted}
        assert not idle.is_over
        assert model._forget_if_gone(1, idle, after)
        assert model._forget_if_gone(3, deserted, before)
        assert model.streams == {2: newer}
        assert idle.is_over
        assert deserted.is_over
