"""The whole of a live stream but its connection: what to send next, what the answers mean, where to go on after a loss.

No threads, no clock of its own, no gRPC: `engine.py` runs it. Sample numbers are at the model's rate and count from the
recording's start. Windows lie as in sliding mode, see `dfcontract.windows`.

It sends no more than the next few windows need, so that an answer is never far behind its audio. It keeps what may have
to be sent again: everything from the start of the last answered window on. That is enough for the recording's last
window, too: aligned to the end, it begins after any full one.
"""

import math
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dfclient.audio.quality import peak_of, warnings_from_peaks
from dfclient.audio.resample import Resampler
from dfclient.calls import check_identity, check_score
from dfclient.clips import Clip
from dfclient.errors import AudioError, ContractError, ServerError, ServerSlow
from dfclient.results import AudioFacts, Score, WindowScore
from dfclient.retry import RetryPolicy
from dfcontract.card import ModelCard
from dfcontract.live import ENCODING, ENCODINGS, FIRST_WINDOW, HOP_SAMPLES, POOL, VERSION
from dfcontract.tensors import Samples
from dfcontract.windows import Pooler, Windowing, full_window_count, tail_start

MAX_WINDOWS_IN_FLIGHT = 4  # windows that may be unanswered while more audio is sent
MAX_MESSAGE_SAMPLES = 1 << 16  # 256 KB
BACKLOG_S = 120.0  # audio that waits for the server before `send` does: longer than a restart takes
STEADY_S = 10.0  # a connection that held so long was a good one: the next loss is another outage
SENT_AS = "fp32"
SAMPLE_BYTES = ENCODINGS[SENT_AS]


@dataclass(frozen=True)
class Message:
    """One chunk on the wire."""

    sequence_id: str
    audio: bytes  # little-endian float32
    is_start: bool
    is_end: bool
    parameters: Mapping[str, str | int]  # of the first one


@dataclass(frozen=True)
class Answer:
    """One window's answer on the wire."""

    index: int
    start_s: float
    end_s: float
    logits: tuple[float, float]
    score: float
    identity: int  # of the detector's graph; 0 where it states none


@dataclass
class Connection:
    """One attempt at the stream; when it is lost, another one follows, from `first_window` on."""

    since_s: float
    first_window: int
    cursor: int  # the next sample to send
    sequence_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    is_started: bool = False
    is_ended: bool = False
    is_given_up: bool = False
    waiting_since_s: float | None = None  # a window's last sample was sent, and nothing came since
    early: dict[int, Answer] = field(default_factory=dict)  # by index: what came before an earlier window's answer


class LiveCore:
    """State of one stream of one source. Not thread-safe; times are seconds of one monotonic clock.

    Args:
        card: of the model that scores.
        windowing: in sliding mode.
        source_rate_hz: of the audio that is fed.
        timeout_s: for how long the server may owe an answer.
        retry: how lost connections are replaced.
    """

    def __init__(
        self, card: ModelCard, windowing: Windowing, source_rate_hz: int, timeout_s: float, retry: RetryPolicy
    ) -> None:
        self.card, self.windowing, self.hop_samples = card, windowing, windowing.hop_samples
        self.source_rate_hz, self.timeout_s, self.retry = source_rate_hz, timeout_s, retry
        self.scored: list[WindowScore] = []  # all so far
        self.ready: deque[WindowScore] = deque()  # not yet read
        self.failure: Exception | None = None
        self.is_finished = False  # no more audio will come
        self.connection: Connection | None = None
        self._pooler = Pooler(windowing.pool)
        self._resampler = Resampler(source_rate_hz, card.sample_rate_hz)
        self._source_frames = 0
        self._kept = bytearray()  # float32 samples from `_origin` on
        self._origin = 0
        self._peaks: list[float] = []
        self._lost_since_s: float | None = None
        self._losses = 0

    @property
    def n_samples(self) -> int:
        """Audio so far."""
        return self._origin + len(self._kept) // SAMPLE_BYTES

    @property
    def is_caught_up(self) -> bool:
        """Whether every window that the audio so far completes has been answered."""
        return len(self.scored) == self._n_windows()

    @property
    def is_done(self) -> bool:
        """Whether nothing remains to be answered, ever."""
        return self.failure is not None or (self.is_finished and self.is_caught_up)

    @property
    def has_room(self) -> bool:
        """Whether more audio may be fed without hoarding it."""
        return self.n_samples - self._next_start() < BACKLOG_S * self.card.sample_rate_hz + self.card.window_samples

    @property
    def duration_s(self) -> float:
        """Length of the audio so far, by the source's own rate."""
        return self._source_frames / self.source_rate_hz

    def feed(self, chunk: Samples) -> None:
        """More audio: (n,) float32 at the source's rate; AudioError for NaN or infinity."""
        if not np.isfinite(chunk).all():
            raise AudioError("its samples hold NaN or infinity")
        self._source_frames += len(chunk)
        self._keep(self._resampler.push(chunk))

    def finish(self) -> None:
        """The audio has ended; AudioError when there was none."""
        if not self.is_finished:
            self._keep(self._resampler.push(np.empty(0, np.float32), last=True))
            if self.n_samples == 0:
                raise AudioError("it holds no samples")
            self.is_finished = True

    def connect(self, now_s: float) -> Connection:
        """Begin an attempt, where the last one left off."""
        first_window = len(self.scored)
        self.connection = Connection(now_s, first_window, cursor=max(first_window - 1, 0) * self.hop_samples)
        return self.connection

    def next_message(self, connection: Connection, now_s: float) -> Message | None:
        """What to send now, or None while there is nothing to send."""
        if connection is not self.connection or connection.is_ended:
            return None
        limit = self._next_start() + self.card.window_samples + (MAX_WINDOWS_IN_FLIGHT - 1) * self.hop_samples
        stop = min(self.n_samples, limit, connection.cursor + MAX_MESSAGE_SAMPLES)
        is_end = self.is_finished and max(stop, connection.cursor) == self.n_samples
        if stop <= connection.cursor and connection.is_started and not is_end:
            return None
        start, stop = connection.cursor, max(stop, connection.cursor)
        content = bytes(self._kept[(start - self._origin) * SAMPLE_BYTES : (stop - self._origin) * SAMPLE_BYTES])
        parameters = {} if connection.is_started else self._parameters(connection)
        message = Message(connection.sequence_id, content, not connection.is_started, is_end, parameters)
        connection.cursor, connection.is_started, connection.is_ended = stop, True, is_end
        if connection.waiting_since_s is None and (is_end or stop >= self._next_start() + self.card.window_samples):
            connection.waiting_since_s = now_s
        return message

    def farewell(self, connection: Connection) -> Message | None:
        """What makes the server forget a stream that is given up: begun anew under its id, it ends without audio."""
        if connection is not self.connection or connection.is_ended or not connection.is_started:
            return None
        connection.is_ended = True
        return Message(connection.sequence_id, b"", is_start=True, is_end=True, parameters={})

    def take(self, answer: Answer, now_s: float) -> None:
        """One window's answer; one that comes before an earlier window's waits for that.

        Raises:
            ContractError: it is no window that is due.
            ModelChanged: another model than the card's gave it.
        """
        check_identity(self.card, answer.identity)
        check_score(self.card, answer.logits, answer.score)
        connection, index = self.connection, len(self.scored)
        early = {} if connection is None else connection.early
        last = min(index + MAX_WINDOWS_IN_FLIGHT, self._n_windows())
        is_due = index <= answer.index < last and answer.index not in early
        start_s = self._start_of(answer.index) / self.card.sample_rate_hz
        if not is_due or not math.isclose(answer.start_s, start_s):
            raise ContractError(
                f"model {self.card.model!r}: expected window {index} of the stream next, the server answered "
                f"window {answer.index} at {answer.start_s:g} s"
            )
        early[answer.index] = answer
        while (turn := early.pop(len(self.scored), None)) is not None:
            self._score(turn)
        self._lost_since_s, self._losses = None, 0
        if connection is not None:
            behind = connection.cursor >= self._next_start() + self.card.window_samples or connection.is_ended
            connection.waiting_since_s = now_s if behind and not self.is_caught_up else None

    def is_overdue(self, now_s: float) -> bool:
        """Whether the server has owed an answer for longer than the timeout."""
        since_s = None if self.connection is None else self.connection.waiting_since_s
        return since_s is not None and now_s - since_s > self.timeout_s

    def lost(self, error: ServerError, now_s: float) -> float:
        """The connection is gone: seconds to wait before the next attempt; sets `failure` when there is to be none."""
        is_overdue = self.is_overdue(now_s)
        if is_overdue:
            error = ServerSlow(f"no answer within {self.timeout_s:g} s: the server is slow or overloaded")
        # One that owed an answer all the while was held, but was no good one.
        if self.connection is not None and not is_overdue and now_s - self.connection.since_s > STEADY_S:
            self._lost_since_s, self._losses = None, 0
        self.connection = None
        since_s = self._lost_since_s = now_s if self._lost_since_s is None else self._lost_since_s
        self._losses += 1
        self.failure = self.retry.final_error(error, self._losses, now_s - since_s)
        return self.retry.pause_s(self._losses)

    def result(self, clip: Clip, channels: int) -> Score:
        """All windows pooled, as offline scoring answers; AudioError before the first one."""
        if (pooled := self.pooled) is None:
            raise AudioError("no window has been scored yet")
        warnings = self.windowing.notes(self.n_samples) + warnings_from_peaks(self.duration_s, self._peaks)
        facts = AudioFacts(self.duration_s, self.source_rate_hz, channels, warnings)
        return Score.of(clip, self.card, windowing=self.windowing, windows=self.scored, facts=facts, pooled=pooled)

    @property
    def pooled(self) -> float | None:
        """One score from the windows so far; None before the first."""
        return self._pooler.value if self.scored else None

    def _score(self, answer: Answer) -> None:
        """The next window's answer: keep it, and forget the audio that will not be sent again."""
        index = len(self.scored)
        window = WindowScore(answer.start_s, answer.end_s, answer.score, answer.logits)
        self._peaks.append(self._peak(index))
        self._pooler.add(answer.score)
        self.scored.append(window)
        self.ready.append(window)
        self._forget(index * self.hop_samples)

    def _parameters(self, connection: Connection) -> dict[str, str | int]:
        return {
            ENCODING: SENT_AS,
            HOP_SAMPLES: self.hop_samples,
            POOL: self.windowing.pool,
            FIRST_WINDOW: connection.first_window,
            VERSION: int(self.card.version),
        }

    def _n_windows(self) -> int:
        """Windows that the audio so far completes."""
        geometry = self.n_samples, self.card.window_samples, self.hop_samples
        has_tail = self.is_finished and tail_start(*geometry) is not None
        return full_window_count(*geometry) + has_tail

    def _start_of(self, index: int) -> int:
        geometry = self.n_samples, self.card.window_samples, self.hop_samples
        tail = tail_start(*geometry) if self.is_finished else None
        return tail if tail is not None and index == full_window_count(*geometry) else index * self.hop_samples

    def _next_start(self) -> int:
        return len(self.scored) * self.hop_samples

    def _keep(self, samples: Samples) -> None:
        self._kept += samples.astype("<f4").tobytes()

    def _forget(self, before: int) -> None:
        if before > self._origin:
            del self._kept[: (before - self._origin) * SAMPLE_BYTES]
            self._origin = before

    def _peak(self, index: int) -> float:
        start = (self._start_of(index) - self._origin) * SAMPLE_BYTES
        content = bytes(self._kept[start : start + self.card.window_samples * SAMPLE_BYTES])
        return peak_of(np.frombuffer(content, "<f4"))
