"""One stream: its settings, its audio, and its windows on their way to the detector, answered in order."""

import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass

import windows
from cutter import Cutter
from telephony import BadAudio, Decoder

ABREAST = 4  # windows of one stream at the detector at once: a file sent at full speed leaves room for the others
MAX_AHEAD_S = 120  # audio of one stream that waits for the detector: 7.7 MB


@dataclass(frozen=True)
class Settings:
    """What the first request of a stream says of it."""

    encoding: str
    hop_samples: int
    pool: str
    first_window: int
    version: int  # of the detector; -1 is the newest

    @classmethod
    def checked(cls, parameters, window_samples):
        """From a request's parameters; BadAudio says which one can't be used, and what was expected."""
        hop_samples = whole(parameters, "hop_samples", window_samples)
        if not 1 <= hop_samples <= window_samples:
            raise BadAudio(f"hop_samples: expected 1 to {window_samples} (the window), found {hop_samples}")
        try:
            pool = windows.check_pool(str(parameters.get("pool", "mean")))
        except ValueError as error:
            raise BadAudio(str(error)) from None
        encoding = str(parameters.get("encoding", "int16"))
        version = whole(parameters, "version", 0) or -1
        return cls(encoding, hop_samples, pool, whole(parameters, "first_window", 0), version)


def whole(parameters, name, default):
    """A whole number from 0 among the parameters."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadAudio(f"{name}: expected a whole number from 0, found {value!r}")
    return value


class Job:
    """A window, the request whose chunk completed it, and what the detector says."""

    def __init__(self, window, reply, is_last):
        self.window, self.reply, self.is_last = window, reply, is_last
        self.answer = None  # (logits, score), or the exception in their place


class LiveStream:
    """The state of one stream. All of it is bounded, and gone once the stream has ended, failed or been abandoned.

    Args:
        settings: how it is read and cut.
        window_samples, rate_hz: the detector's.
        submit: ``submit(function, job)`` runs the function in another thread.
        infer: ``infer(samples, version)`` → (logits, score), or raises; called in those threads.
    """

    def __init__(self, settings, window_samples, rate_hz, submit, infer):
        self.settings = settings
        self.decoder = Decoder(settings.encoding, rate_hz)
        self.cutter = Cutter(window_samples, settings.hop_samples, settings.first_window)
        self.max_ahead_samples = MAX_AHEAD_S * rate_hz + window_samples
        self.submit, self.infer = submit, infer
        self.lock = threading.Lock()
        self.waiting = deque()  # an iterator of jobs for each request
        self.begun = deque()  # jobs at the detector, or whose answer waits for an earlier one's
        self.at_detector = 0
        self.scores = []
        self.is_over = False
        self.last_active_s = time.monotonic()

    @property
    def is_busy(self):
        """Whether windows are still to be answered."""
        return bool(self.begun or self.waiting)

    def is_idle_since(self, moment_s):
        """Whether nothing has come, and nothing has been owed, since that moment of the monotonic clock."""
        return self.last_active_s < moment_s and not self.is_busy

    def push(self, chunk, reply, *, is_end):
        """Take (m,) uint8 of audio; each window that it completes is answered to ``reply``.

        Raises:
            BadAudio: the stream can't go on.
        """
        samples = self.decoder.push(chunk)
        stretches = [self.cutter.push(samples)]
        if is_end:
            stretches += [self.cutter.push(self.decoder.flush()), self.cutter.finish()]
        count = sum(map(len, stretches))
        with self.lock:
            self.last_active_s = time.monotonic()
            # It may have ended in another thread since the caller looked: nobody would answer these windows.
            if count == 0 or self.is_over:
                reply.close()
                return
            self._check_ahead(stretches)
            self.waiting.append(jobs_of(itertools.chain(*stretches), reply, count))
            self._begin()

    def abandon(self):
        """Forget everything; what is at the detector comes back to nobody."""
        with self.lock:
            self._end()

    def _begin(self):
        while self.at_detector < ABREAST and (job := self._next()):
            self.begun.append(job)
            self.at_detector += 1
            self.submit(self._work, job)

    def _next(self):
        while self.waiting:
            if job := next(self.waiting[0], None):
                return job
            self.waiting.popleft()
        return None

    def _check_ahead(self, stretches):
        oldest = (
            self.begun[0].window.start if self.begun else next(start for each in stretches for start in each.starts)
        )
        if self.cutter.end - oldest > self.max_ahead_samples:
            raise BadAudio(f"{MAX_AHEAD_S} s of audio wait for the detector: send no faster than the answers come")

    def _work(self, job):
        try:
            if not job.reply.is_wanted:
                self.abandon()
            elif not self.is_over:
                job.answer = self.infer(job.window.samples, self.settings.version)
        except Exception as error:
            job.answer = error
        with self.lock:
            self.at_detector -= 1
            if not self.is_over:
                self._answer()
                self._begin()

    def _answer(self):
        while self.begun and self.begun[0].answer is not None:
            job = self.begun.popleft()
            if isinstance(job.answer, Exception):
                job.reply.fail(job.answer)
                self._end()
                return
            self.scores.append(job.answer[1])
            pooled = windows.pool_scores(self.scores, self.settings.pool)
            job.reply.send(job.window, *job.answer, pooled, is_last=job.is_last)
            self.last_active_s = time.monotonic()

    def _end(self):
        self.is_over = True
        replies = [job.reply for job in self.begun] + [job.reply for jobs in self.waiting for job in jobs]
        self.begun.clear()
        self.waiting.clear()
        for reply in replies:
            reply.close()


def jobs_of(stretch, reply, count):
    """A job for each of ``count`` windows; the last one's answer ends the request."""
    for number, window in enumerate(stretch, 1):
        yield Job(window, reply, number == count)
