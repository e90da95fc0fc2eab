"""`dfclient stream`: scores while audio plays, a line a window, and at the end the row that `dfclient score` writes."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from dfclient import audio, report
from dfclient.audio import sources
from dfclient.client import Detector
from dfclient.errors import AudioError, DfclientError, InputError
from dfclient.live import LiveStream
from dfclient.results import Failed
from dfclient.scores import Opening, ScoreFile, run_of
from dfclient.windowing import Windowing

DEFAULT_RATE_HZ = 16_000
STATUS_EVERY_S = 0.25


def run(options: argparse.Namespace) -> int:
    """Run `dfclient stream` with its parsed options; the exit code."""
    raw_options = ("rate", "channels", "encoding", "utt_id")
    described = next((name for name in raw_options if getattr(options, name) is not None), None)
    if described and options.source != sources.PIPE:
        raise InputError(f"--{described.replace('_', '-')} describes raw samples from a pipe (-): a file needs none")
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(options.url, options.model, timeout_s=options.timeout))
        card = detector.card
        windowing = Windowing.checked(card, "sliding", options.hop, options.pool)
        rows = None
        if options.out is not None:
            opening = Opening(resume=options.resume, overwrite=options.overwrite)
            run_columns = run_of(card, windowing.mode, *windowing.reported(card.sample_rate_hz))
            rows = stack.enter_context(ScoreFile(options.out, run_columns, opening=opening))
        print(report.heading(card), flush=True)
        code = _listen(options, detector, rows)
    if card.is_random:
        _say(report.banner(card))
    return code


def _listen(options: argparse.Namespace, detector: Detector, rows: ScoreFile | None) -> int:
    try:
        with _source(options) as source:
            live = detector.stream(source.rate_hz, hop_s=options.hop, pool=options.pool)
            chunks = sources.paced(source) if options.pace == "realtime" else source.chunks
            with live:
                _Listening(live, chunks, is_pipe=options.source == sources.PIPE).until_the_end()
                result = live.result(source.clip.utt_id, source.clip.path)
                result = replace(
                    result, channels=source.channels, warnings=(*dict.fromkeys(source.warnings), *result.warnings)
                )
    except AudioError as error:
        failed = Failed(options.utt_id or Path(options.source).stem, options.source, error)
        _say(report.score_line(failed))
        if rows is not None:
            rows.append(failed)
        return 1
    print(report.score_line(replace(result, path=result.path or result.utt_id)), flush=True)
    if rows is not None:
        rows.append(result)
    return 0


def _source(options: argparse.Namespace) -> AbstractContextManager[sources.Source]:
    if options.source != sources.PIPE:
        return sources.recording(options.source)
    rate_hz = DEFAULT_RATE_HZ if options.rate is None else options.rate
    channels = 1 if options.channels is None else options.channels
    return sources.pipe(options.utt_id or "stdin", rate_hz, channels, options.encoding or "int16")


@dataclass
class _Listening:
    """One thread sends what the source gives, this one prints what the server answers."""

    live: LiveStream
    chunks: Iterator[audio.Samples]
    is_pipe: bool
    trouble: DfclientError | None = None  # with the source
    is_interrupted: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def until_the_end(self) -> None:
        """Returns when all is scored. Ctrl-C ends what comes through a pipe, as the recorder's own end does."""
        sender = threading.Thread(target=self._send, daemon=True)  # it may sit in a read that never returns
        sender.start()
        status = threading.Thread(target=self._show_status)
        status.start()
        try:
            with _on_interrupt(self._interrupt) if self.is_pipe else nullcontext():
                self._print_windows()
        finally:
            self.ended.set()
            status.join()
        if self.trouble is not None:
            raise self.trouble

    def _send(self) -> None:
        try:
            for chunk in self.chunks:
                self.live.send(chunk)
            self.live.end()
        except Exception as error:  # of a decoder, too: whoever waits for the windows must hear of it
            if not self.is_interrupted:
                self.trouble = error if isinstance(error, DfclientError) else AudioError(f"damaged: {error}")
                self.live.close()

    def _interrupt(self) -> None:
        self.is_interrupted = True
        try:
            self.live.end()
        except AudioError as error:  # nothing was heard yet
            self.trouble = error
            self.live.close()

    def _print_windows(self) -> None:
        for window in self.live.follow():
            _clear_status()
            print(report.window_line(window, self.live.card), flush=True)

    def _show_status(self) -> None:
        """On a terminal, a line that lives: how much was heard, the score so far, whether the server is there."""
        if not sys.stderr.isatty():
            return
        while not self.ended.wait(STATUS_EVERY_S):
            sys.stderr.write(f"\r\x1b[2K{report.status_line(self.live)}")
            sys.stderr.flush()
        _clear_status()


@contextmanager
def _on_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C runs the action, the next one is as ever.

    In a thread: a signal's handler may interrupt the main thread while it holds the stream's lock.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        threading.Thread(target=action).start()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _clear_status() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
