"""`dfclient stream`: scores while audio plays, a line a window, and at the end the row that `dfclient score` writes."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import FrameType

from dfclient.audio import sources
from dfclient.batch import write_result
from dfclient.cli import report
from dfclient.cli.console import detector_of, opening_of, say
from dfclient.clips import Clip
from dfclient.detector import Detector
from dfclient.errors import AudioError, DfclientError, InputError
from dfclient.live.stream import LiveStream
from dfclient.results import Failed, run_values
from dfcontract.live import DEFAULT_ENCODING
from dfcontract.score_file import ScoreFile
from dfcontract.tensors import SAMPLE_RATE_HZ, Samples
from dfcontract.windows import SLIDING

STATUS_EVERY_S = 0.25


def run(options: argparse.Namespace) -> int:
    """Run `dfclient stream` with its parsed options; the exit code."""
    opening = opening_of(options)
    clip, raw = _source_named(options)
    with ExitStack() as stack:
        detector = stack.enter_context(detector_of(options))
        windowing = detector.windowing(SLIDING, options.hop, options.pool)
        rows = None
        if options.out is not None:
            rows = stack.enter_context(ScoreFile(options.out, run_values(detector.card, windowing), opening=opening))
            if raw is None and clip.path in rows.done:
                say(f"{clip.path}: {options.out} has its row already")
                return 0
            rows.retrying({clip.path} if raw is None else set())
        print(report.heading(detector.card), flush=True)
        source = sources.recording(clip) if raw is None else sources.pipe(raw)
        code = _listen(options, clip, source, detector, rows)
        if detector.card.is_random:
            say(report.banner(detector.card))
    return code


def _source_named(options: argparse.Namespace) -> tuple[Clip, sources.RawFormat | None]:
    """The recording's name, and how its samples lie where it comes through a pipe."""
    if options.source != sources.PIPE:
        raw_options = ("rate", "channels", "encoding", "utt_id")
        described = next((name for name in raw_options if getattr(options, name) is not None), None)
        if described:
            option = described.replace("_", "-")
            raise InputError(f"--{option} describes raw samples from a pipe (-): a file needs none")
        return sources.one_clip(options.source), None
    raw = sources.RawFormat(
        rate_hz=SAMPLE_RATE_HZ if options.rate is None else options.rate,
        channels=1 if options.channels is None else options.channels,
        encoding=options.encoding or DEFAULT_ENCODING,
    )
    return Clip("", options.utt_id or "stdin"), raw


def _listen(
    options: argparse.Namespace,
    clip: Clip,
    opening: AbstractContextManager[sources.Source],
    detector: Detector,
    rows: ScoreFile | None,
) -> int:
    try:
        with opening as source:
            live = detector.stream(source.rate_hz, hop_s=options.hop, pool=options.pool)
            chunks = sources.paced(source) if options.pace == "realtime" else source.chunks
            with live:
                _Listening(live, chunks, is_pipe=options.source == sources.PIPE).until_the_end()
                result = live.result(clip.utt_id, clip.path)
                result = replace(
                    result, channels=source.channels, warnings=(*dict.fromkeys(source.warnings), *result.warnings)
                )
    except AudioError as error:
        failed = Failed(clip.utt_id, clip.path or options.source, error)
        say(report.score_line(failed))
        if rows is not None:
            write_result(rows, failed)
        return 1
    print(report.score_line(replace(result, path=result.path or result.utt_id)), flush=True)
    if rows is not None:
        write_result(rows, result)
    return 0


@dataclass
class _Listening:
    """One thread sends what the source gives, this one prints what the server answers."""

    live: LiveStream
    chunks: Iterator[Samples]
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
