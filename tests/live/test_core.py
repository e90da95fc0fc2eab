"""The client's state machine against a server in memory that loses connections at will: each window exactly once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfclient.clips import Clip
from dfclient.errors import (
    AudioError,
    ContractError,
    ModelChanged,
    RequestRefused,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)
from dfclient.live.core import MAX_WINDOWS_IN_FLIGHT, Answer, Connection, LiveCore
from dfclient.retry import RetryPolicy
from dfcontract.card import ModelCard
from dfcontract.windows import SLIDING, Windowing, cut, window_starts
from dfdeploy.backends.live.cutter import Cutter

W, RATE_HZ = 50, 16_000
IDENTITY = 77
CARD = ModelCard.from_parameters(
    "toy",
    "1",
    {"sample_rate_hz": str(RATE_HZ), "window_samples": str(W), "weights": "custom", "identity": str(IDENTITY)},
)
AWAY = ServerUnavailable("gone")


def core_of(hop: int = 10, *, timeout_s: float = 60, pool: str = "mean", **retry: float) -> LiveCore:
    windowing = Windowing.checked(W, RATE_HZ, SLIDING, hop_s=hop / RATE_HZ, pool=pool)
    return LiveCore(CARD, windowing, RATE_HZ, timeout_s, RetryPolicy(**retry))


def answer_of(window, identity: int = IDENTITY) -> Answer:
    """What the server answers to a window of a Cutter."""
    start_s, end_s = window.start / RATE_HZ, window.end / RATE_HZ
    return Answer(
        window.index, start_s, end_s, (0.0, float(window.samples.sum())), float(window.samples.sum()), identity
    )


class MemoryServer:
    """What the live backend does with one connection's messages; a window's score is the sum of its samples."""

    def __init__(self) -> None:
        self.cutter: Cutter | None = None
        self.sequence_id = ""

    def take(self, message) -> list[Answer]:
        if message.is_start:
            assert message.parameters["encoding"] == "fp32"
            self.sequence_id = message.sequence_id
            self.cutter = Cutter(W, message.parameters["hop_samples"], message.parameters["first_window"])
        assert message.sequence_id == self.sequence_id
        found = list(self.cutter.push(np.frombuffer(message.audio, "<f4")))
        found += self.cutter.finish() if message.is_end else []
        return [answer_of(window) for window in found]


def exchange(
    core: LiveCore, connection: Connection, server: MemoryServer, now_s: float, answers_before_loss: int
) -> bool:
    """Send all there is; False when the connection is lost, after so many of the answers have arrived."""
    while (message := core.next_message(connection, now_s)) is not None:
        sent_to = connection.cursor
        assert sent_to <= len(core.scored) * core.hop_samples + W + (MAX_WINDOWS_IN_FLIGHT - 1) * core.hop_samples
        for answer in server.take(message):
            if answers_before_loss == 0:
                return False
            answers_before_loss -= 1
            core.take(answer, now_s)
    return answers_before_loss > 0


@given(
    n_samples=st.integers(1, 900),
    hop=st.integers(1, W),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    losses=st.lists(st.integers(0, 6), max_size=12),
)
def test_losses_at_any_moment_lose_and_repeat_nothing(
    n_samples: int, hop: int, cuts: list[int], losses: list[int]
) -> None:
    waveform = np.arange(n_samples, dtype=np.float32)
    core = core_of(hop)
    lives = iter(losses)
    now_s, read = 0.0, []
    connection, server, left = core.connect(now_s), MemoryServer(), next(lives, 10**6)
    for chunk in [*np.split(waveform, sorted(min(place, n_samples) for place in cuts)), None]:
        if chunk is None:
            core.finish()
        else:
            core.feed(chunk)
        before = len(core.scored)
        while not exchange(core, connection, server, now_s, left) and not core.is_done:
            now_s += 1 + core.lost(AWAY, now_s)
            assert core.failure is None
            assert core.next_message(connection, now_s) is None  # nothing more over the old one
            connection, server, left = core.connect(now_s), MemoryServer(), next(lives, 10**6)
            before = len(core.scored)
        left -= len(core.scored) - before
        left = max(left, 1)
        while core.ready:
            read.append(core.ready.popleft())
        assert core.is_caught_up
    starts = window_starts("sliding", n_samples, W, hop)
    assert [round(window.start_s * RATE_HZ) for window in read] == starts
    assert [window.score for window in read] == [float(cut(waveform, start, W).sum()) for start in starts]
    assert core.is_done
    result = core.result(Clip("a.wav", "a"), 1)
    assert result.windows == tuple(read)
    assert result.duration_s == n_samples / RATE_HZ


def test_kept_is_only_what_may_be_sent_again() -> None:
    core, server = core_of(), MemoryServer()
    connection = core.connect(0)
    for _ in range(1000):
        core.feed(np.zeros(100, np.float32))
        assert exchange(core, connection, server, 0, 10**6)
    assert len(core.scored) == (100_000 - W) // 10 + 1
    assert len(core._kept) <= 4 * (W + 2 * 10)


def test_it_gives_up_after_a_while_and_says_so() -> None:
    core, now_s = core_of(wait_s=60), 0.0
    delays = []
    while core.failure is None:
        core.connect(now_s)
        delays.append(core.lost(AWAY, now_s))
        now_s += delays[-1]
    assert now_s == pytest.approx(60, abs=5)
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert max(delays) == 2.0
    assert str(core.failure).startswith("gone (tried again for 6")


def test_patience_is_the_callers() -> None:
    core = core_of(wait_s=0)
    core.connect(0)
    core.lost(AWAY, 0)
    assert core.failure is AWAY


def test_a_steady_connection_ends_an_outage() -> None:
    core = core_of()
    for now_s in range(0, 1000, 20):  # no window in 1000 s, but each connection held for 20
        core.connect(now_s)
        assert core.lost(AWAY, now_s + 20) <= 0.1
    assert core.failure is None


@pytest.mark.parametrize("error", [RequestRefused("no"), ServerError("no"), ContractError("no")])
def test_what_would_fail_again_is_not_tried_again(error: ServerError) -> None:
    core = core_of()
    core.connect(0)
    core.lost(error, 0)
    assert core.failure is error
    assert core.is_done


def test_an_answer_that_is_owed_for_too_long() -> None:
    core = core_of(timeout_s=5)
    connection = core.connect(0)
    core.feed(np.zeros(W - 1, np.float32))
    core.next_message(connection, 0)
    assert not core.is_overdue(1000)  # no window is complete
    core.feed(np.zeros(1, np.float32))
    core.next_message(connection, 1000)
    assert not core.is_overdue(1005)
    assert core.is_overdue(1005.1)
    core.lost(AWAY, 1005.1)
    assert not core.is_overdue(9999)
    core.connect(1006)
    assert not core.is_overdue(9999)


def test_a_server_that_is_slow_again_and_again_is_given_up() -> None:
    core = core_of(timeout_s=5, slow_attempts=2)
    core.feed(np.zeros(W, np.float32))
    for now_s in (0, 100):
        assert core.failure is None
        core.next_message(core.connect(now_s), now_s)
        core.lost(AWAY, now_s + 5.1)
    assert isinstance(core.failure, ServerSlow)
    assert "no answer within 5 s" in str(core.failure)


@pytest.mark.parametrize(
    ("index", "start_s"),
    [(0, 1.0), (6, 60 / RATE_HZ), (MAX_WINDOWS_IN_FLIGHT, MAX_WINDOWS_IN_FLIGHT * 10 / RATE_HZ), (-1, 0.0)],
)
def test_a_window_that_is_not_due_is_no_detectors(index: int, start_s: float) -> None:
    core = core_of()
    core.feed(np.zeros(100, np.float32))  # windows 0 to 5
    core.connect(0)
    with pytest.raises(ContractError, match="expected window 0 of the stream next"):
        core.take(Answer(index, start_s, start_s + W / RATE_HZ, (0.0, 0.0), 0.0, IDENTITY), 0)


def test_a_window_is_answered_once() -> None:
    core, cutter = core_of(), Cutter(W, 10, 0)
    core.feed(np.zeros(70, np.float32))
    core.connect(0)
    first, second, _ = [answer_of(window) for window in cutter.push(np.zeros(70, np.float32))]
    for answer in (second, first):
        core.take(answer, 0)
    for again in (first, second):
        with pytest.raises(ContractError):
            core.take(again, 0)


@given(st.data())
def test_answers_out_of_order_are_read_in_order(data: st.DataObject) -> None:
    """As far as windows may be unanswered at once; and what came early is asked for again after a loss."""
    core, waveform = core_of(pool="p10"), np.arange(300, dtype=np.float32)
    core.feed(waveform)
    core.finish()
    expected = [answer_of(window) for window in Cutter(W, 10, 0).push(waveform)]
    core.connect(0)
    waiting: list[Answer] = []
    while not core.is_done:
        done = len(core.scored)
        if data.draw(st.booleans()):
            core.lost(AWAY, 0.0)
            assert core.connect(0).first_window == done
            waiting = []
        due = [answer for answer in expected[done : done + MAX_WINDOWS_IN_FLIGHT] if answer not in waiting]
        answer = data.draw(st.sampled_from(due))
        core.take(answer, 0)
        waiting.append(answer)
        assert len(core.scored) == next(
            (n for n, each in enumerate(expected) if n >= done and each not in waiting), len(expected)
        )
    assert [window.score for window in core.ready] == [answer.score for answer in expected]
    assert core.pooled == pytest.approx(np.percentile([answer.score for answer in expected], 10))


@pytest.mark.parametrize("identity", [0, IDENTITY + 1])
def test_another_model_ends_the_stream(identity: int) -> None:
    """At its first window or after a reconnect; what was scored before stays."""
    core, waveform = core_of(), np.zeros(60, np.float32)
    core.feed(waveform)
    core.connect(0)
    first, second = Cutter(W, 10, 0).push(waveform)
    core.take(answer_of(first), 0)
    core.lost(AWAY, 0)
    core.connect(1)
    with pytest.raises(ModelChanged, match=f"expected answers with identity {IDENTITY}") as caught:
        core.take(answer_of(second, identity), 1)
    core.lost(caught.value, 1)
    assert core.failure is caught.value
    assert len(core.scored) == 1


def test_a_window_costs_the_same_however_many_there_were() -> None:
    """No list of all windows is walked for a window, or for the score so far."""
    core = core_of()
    connection = core.connect(0)
    server = MemoryServer()

    class Unwalkable(list):
        def __iter__(self):
            raise AssertionError("walked through all windows")

    core.scored = Unwalkable()
    for _ in range(100):
        core.feed(np.ones(100, np.float32))
        assert exchange(core, connection, server, 0, 10**6)
        assert core.pooled == W
    assert len(core.scored) == (10_000 - W) // 10 + 1


def test_bad_audio() -> None:
    core = core_of()
    with pytest.raises(AudioError, match="NaN"):
        core.feed(np.array([np.nan], np.float32))
    with pytest.raises(AudioError, match="no samples"):
        core.finish()
    with pytest.raises(AudioError, match="no window"):
        core.result(Clip("", "a"), 1)
    assert isinstance(ServerSlow("x"), ServerError)
