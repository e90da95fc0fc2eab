"""One stream: its settings, its audio, and its windows on their way to the detector, answered in order."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from dfcontract import live, windows
from dfcontract.errors import ErrorCode, WindowError
from dfcontract.tensors import Samples
from dfdeploy.backends.live.cutter import Cutter, Stretch, Window
from dfdeploy.backends.live.errors import StreamError, bad_stream
from dfdeploy.backends.live.telephony import Decoder

# Of one stream at the detector at once: a file that is sent at full speed leaves room for the other streams.
MAX_WINDOWS_IN_FLIGHT = 4


@dataclass(frozen=True)
class Answer:
    """What the detector says of one window: (2,) logits, the score, and its identity, 0 where it states none."""

    logits: npt.NDArray[np.float32]
    score: float
    identity: int = 0


class Reply(Protocol):
    """Where a stream's answers go: to its first request, which stays open for as long as the stream does."""

    @property
    def is_wanted(self) -> bool:
        """False once the client's call is gone."""

    def send(self, window: Window, answer: Answer, pooled: float) -> None:
        """One window's answer."""

    def fail(self, error: Exception) -> None:
        """End it with an error, unless it has ended."""

    def close(self) -> None:
        """End it, unless it has ended."""


@dataclass(frozen=True)
class Settings:
    """What the first request of a stream says of it.

    Attributes:
        encoding: of its audio.
        hop_samples: from window to window.
        pool: how the windows' scores make one.
        first_window: of the recording, that this stream is to answer: 0, or where a lost one is taken up again.
        version: of the detector; -1 is the newest.
    """

    encoding: str
    hop_samples: int
    pool: str
    first_window: int
    version: int

    @classmethod
    def checked(cls, parameters: Mapping[str, object], window_samples: int) -> Self:
        """From a request's parameters.

        Raises:
            StreamError: says which one can't be used, and what was expected.
        """
        hop_samples = whole(parameters, live.HOP_SAMPLES, window_samples)
        if not 1 <= hop_samples <= window_samples:
            raise bad_stream(f"{live.HOP_SAMPLES}: expected 1 to {window_samples} (the window), found {hop_samples}")
        try:
            pool = windows.check_pool(str(parameters.get(live.POOL, windows.DEFAULT_POOL)))
        except WindowError as error:
            raise bad_stream(str(error)) from None
        encoding = str(parameters.get(live.ENCODING, live.DEFAULT_ENCODING))
        version = whole(parameters, live.VERSION, 0) or -1
        return cls(encoding, hop_samples, pool, whole(parameters, live.FIRST_WINDOW, 0), version)


def whole(parameters: Mapping[str, object], name: str, default: int) -> int:
    """A whole number from 0 among the parameters; StreamError when it is none."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad_stream(f"{name}: expected a whole number from 0, found {value!r}")
    return value


@dataclass
class Job:
    """A window and what the detector says of it: an exception where it fails."""

    window: Window
    answer: Answer | Exception | None = None


class Stream:
    """The state of one stream. All of it is bounded, and gone once the stream has ended, failed or been abandoned.

    Args:
        settings: how it is read and cut.
        window_samples, rate_hz: the detector's.
        reply: where all its answers go. (Triton 24.10 writes the answers of one request in order, those of several
            requests from two threads, now and then the later one first.)
        submit: ``submit(function, job)`` runs the function in another thread.
        infer: ``infer(samples, version)`` answers one window, or raises; called in those threads.
        pre_emphasis, least_samples: the detector's, see `windows.cut`.
    """

    def __init__(
        self,
        settings: Settings,
        window_samples: int,
        rate_hz: int,
        reply: Reply,
        *,
        submit: Callable[[Callable[[Job], None], Job], Any],
        infer: Callable[[Samples, int], Answer],
        pre_emphasis: float = 0.0,
        least_samples: int | None = None,
    ) -> None:
        self.settings = settings
        self.decoder = Decoder(settings.encoding, rate_hz)
        self.cutter = Cutter(window_samples, settings.hop_samples, settings.first_window, pre_emphasis, least_samples)
        self.max_ahead_samples = live.MAX_AHEAD_S * rate_hz + window_samples
        self.reply, self.submit, self.infer = reply, submit, infer
        self.lock = threading.Lock()
        self.waiting: deque[Iterator[Window]] = deque()  # one for each request that completed any
        self.begun: deque[Job] = deque()  # at the detector, or their answers wait for an earlier one's
        self.in_flight = 0
        self.pooler = windows.Pooler(settings.pool)
        self.has_end = False  # no more audio will come
        self.is_over = False
        self.last_active_s = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether windows are still to be answered."""
        return bool(self.begun or self.waiting)

    def is_idle_since(self, moment_s: float) -> bool:
        """Whether nothing has come, and nothing has been owed, since that moment of the monotonic clock."""
        return self.last_active_s < moment_s and not self.is_busy

    def push(self, chunk: npt.NDArray[np.uint8], *, is_end: bool) -> None:
        """Take (m,) bytes of audio; each window that they complete will be answered.

        Raises:
            StreamError: the stream can't go on.
        """
        samples = self.decoder.push(chunk)
        stretches = [self.cutter.push(samples)]
        if is_end:
            stretches += [self.cutter.push(self.decoder.flush()), self.cutter.finish()]
        with self.lock:
            self.last_active_s = time.monotonic()
            if self.is_over:  # in another thread, since the caller looked
                return
            if any(map(len, stretches)):
                self._check_ahead(stretches)
                self.waiting.append(itertools.chain(*stretches))
            self.has_end = is_end
            self._go_on()

    def fail(self, error: Exception) -> None:
        """End the stream with an error."""
        with self.lock:
            try:
                self.reply.fail(error)
            finally:
                self._end()

    def abandon(self) -> None:
        """Forget everything; answers that the detector still owes are thrown away."""
        with self.lock:
            self._end()

    def _go_on(self) -> None:
        """Begin the windows whose turn has come; end the stream when all are answered and no more audio will come."""
        while self.in_flight < MAX_WINDOWS_IN_FLIGHT and (window := self._next()):
            job = Job(window)
            self.begun.append(job)
            self.in_flight += 1
            self.submit(self._work, job)
        if self.has_end and not self.is_busy:
            self._end()

    def _next(self) -> Window | None:
        while self.waiting:
            if window := next(self.waiting[0], None):
                return window
            self.waiting.popleft()
        return None

    def _check_ahead(self, stretches: list[Stretch]) -> None:
        if self.begun:
            oldest = self.begun[0].window.start
        else:
            oldest = next(start for stretch in stretches for start in stretch.starts)
        if self.cutter.end - oldest > self.max_ahead_samples:
            raise StreamError(
                ErrorCode.TOO_FAR_AHEAD,
                f"{live.MAX_AHEAD_S} s of audio wait for the detector: send no faster than the answers come",
            )

    def _work(self, job: Job) -> None:
        try:
            if not self.reply.is_wanted:
                self.abandon()
            elif not self.is_over:
                job.answer = self.infer(job.window.samples, self.settings.version)
        except Exception as error:
            job.answer = error
        with self.lock:
            self.in_flight -= 1
            try:
                if not self.is_over:
                    self._answer()
                if not self.is_over:
                    self._go_on()
            except Exception:  # a reply that can't be sent: a stream left busy would keep its place for ever
                self._end()
                raise

    def _answer(self) -> None:
        """Send what is answered, as far as it is next in order."""
        while self.begun and (answer := self.begun[0].answer) is not None:
            job = self.begun.popleft()
            if isinstance(answer, Exception):
                self.reply.fail(answer)
                self._end()
                return
            self.pooler.add(answer.score)
            self.reply.send(job.window, answer, self.pooler.value)
            self.last_active_s = time.monotonic()

    def _end(self) -> None:
        self.is_over = True
        self.begun.clear()
        self.waiting.clear()
        self.reply.close()
