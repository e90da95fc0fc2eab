"""The client's state machine against a server in memory that loses connections at will: each window exactly once."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfclient import windows
from dfclient.card import ModelCard
from dfclient.errors import (
    AudioError,
    ContractError,
    RequestRefused,
    ServerBusy,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)
from dfclient.live_core import ABREAST, PATIENCE_S, Answer, Connection, LiveCore
from dfdeploy.backends.live.cutter import Cutter

W, RATE_HZ = 50, 16_000
CARD = ModelCard.from_parameters(
    "toy", "1", {"sample_rate_hz": str(RATE_HZ), "window_samples": str(W), "weights": "custom"}
)
AWAY = ServerUnavailable("gone")


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
        return [Answer(w.index, w.start / RATE_HZ, w.end / RATE_HZ, (0.0, 0.0), float(w.samples.sum())) for w in found]


def exchange(
    core: LiveCore, connection: Connection, server: MemoryServer, now_s: float, answers_before_loss: int
) -> bool:
    """Send all there is; False when the connection is lost, after so many of the answers have arrived."""
    while (message := core.next_message(connection, now_s)) is not None:
        sent_to = connection.cursor
        assert sent_to <= len(core.scored) * core.hop_samples + W + (ABREAST - 1) * core.hop_samples
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
    core = LiveCore(CARD, hop, "mean", RATE_HZ, timeout_s=60)
    lives = iter(losses)
    now_s, read = 0.0, []
    connection, server, left = core.connect(now_s), MemoryServer(), next(lives, 10**6)
    for chunk in [*np.split(waveform, sorted(min(cut, n_samples) for cut in cuts)), None]:
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
    starts = windows.window_starts("sliding", n_samples, W, hop)
    assert [round(window.start_s * RATE_HZ) for window in read] == starts
    assert [window.score for window in read] == [float(windows.cut(waveform, start, W).sum()) for start in starts]
    assert core.is_done
    result = core.result("a", "a.wav", 1)
    assert result.windows == tuple(read)
    assert result.duration_s == n_samples / RATE_HZ


def test_kept_is_only_what_may_be_sent_again() -> None:
    core, server = LiveCore(CARD, 10, "mean", RATE_HZ, 60), MemoryServer()
    connection = core.connect(0)
    for _ in range(1000):
        core.feed(np.zeros(100, np.float32))
        assert exchange(core, connection, server, 0, 10**6)
    assert len(core.scored) == (100_000 - W) // 10 + 1
    assert len(core._kept) <= 4 * (W + 2 * 10)


def test_it_gives_up_after_a_while_and_says_so() -> None:
    core, now_s = LiveCore(CARD, 10, "mean", RATE_HZ, 60), 0.0
    delays = []
    while core.failure is None:
        core.connect(now_s)
        delays.append(core.lost(AWAY, now_s))
        now_s += delays[-1]
    assert now_s == pytest.approx(PATIENCE_S[ServerUnavailable], abs=5)
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert max(delays) == 2.0
    assert str(core.failure) == "gone (tried again for 60 s)"


def test_a_steady_connection_ends_an_outage() -> None:
    core = LiveCore(CARD, 10, "mean", RATE_HZ, 60)
    for now_s in range(0, 1000, 20):  # no window in 1000 s, but each connection held for 20
        core.connect(now_s)
        assert core.lost(AWAY, now_s + 20) <= 0.1
    assert core.failure is None


@pytest.mark.parametrize("error", [RequestRefused("no"), ServerError("no"), ContractError("no")])
def test_what_would_fail_again_is_not_tried_again(error: ServerError) -> None:
    core = LiveCore(CARD, 10, "mean", RATE_HZ, 60)
    core.connect(0)
    core.lost(error, 0)
    assert core.failure is error
    assert core.is_done


def test_a_full_server_is_tried_for_a_shorter_while() -> None:
    assert PATIENCE_S[ServerBusy] < PATIENCE_S[ServerUnavailable]


def test_an_answer_that_is_owed_for_too_long() -> None:
    core = LiveCore(CARD, 10, "mean", RATE_HZ, timeout_s=5)
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


def test_another_window_than_the_next_is_no_detector() -> None:
    core = LiveCore(CARD, 10, "mean", RATE_HZ, 60)
    core.feed(np.zeros(100, np.float32))
    core.connect(0)
    good = Answer(0, 0.0, W / RATE_HZ, (0.0, 0.0), 0.0)
    for bad in (dataclasses.replace(good, index=1), dataclasses.replace(good, start_s=1.0)):
        with pytest.raises(ContractError, match="expected window 0 of the stream next"):
            core.take(bad, 0)


def test_bad_audio() -> None:
    core = LiveCore(CARD, 10, "mean", RATE_HZ, 60)
    with pytest.raises(AudioError, match="NaN"):
        core.feed(np.array([np.nan], np.float32))
    with pytest.raises(AudioError, match="no samples"):
        core.finish()
    with pytest.raises(AudioError, match="no window"):
        core.result("a", "", 1)
    assert isinstance(ServerSlow("x"), ServerError)
