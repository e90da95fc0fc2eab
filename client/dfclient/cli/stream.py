"""`dfclient stream`: scores while audio plays, a line a window, and at the end the row that `dfclient score` writes."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import FrameType

from dfclient.audio import EACH, AudioOptions, sources
from dfclient.batch import has_rows, is_written, write_result
from dfclient.cli import report
from dfclient.cli.console import audio_options_of, check_out, check_windowing, detector_of, notice, opening_of, say
from dfclient.clips import Clip
from dfclient.detector import Detector
from dfclient.errors import AudioError, DfclientError, InputError
from dfclient.live.stream import LiveStream
from dfclient.results import Failed, Score, run_values
from dfcontract.live import DEFAULT_ENCODING
from dfcontract.score_appending import ScoreFile
from dfcontract.score_file import channel_id
from dfcontract.tensors import SAMPLE_RATE_HZ, Samples
from dfcontract.windows import SLIDING

STATUS_EVERY_S = 0.25


def run(options: argparse.Namespace) -> int:
    """Run `dfclient stream` with its parsed options; the exit code."""
    opening = opening_of(options)
    clip, raw = _source_named(options)
    chosen = audio_options_of(options)
    check_windowing(SLIDING, options)
    check_out(options.out, [clip.path])
    with ExitStack() as stack:
        detector = stack.enter_context(detector_of(options))
        windowing = detector.windowing(SLIDING, options.hop, options.pool)
        rows = None
        if options.out is not None:
            run = run_values(detector.card, windowing, chosen)
            rows = stack.enter_context(ScoreFile(options.out, run, opening=opening))
            if raw is None and has_rows(rows, clip, chosen):
                notice(f"{clip.path}: {options.out} has its row already")
                return 0
            rows.retrying({clip.path} if raw is None else set())
        print(report.heading(detector.card, SLIDING), flush=True)
        source = sources.recording(clip, chosen) if raw is None else sources.pipe(raw, chosen)
        code = _listen(options, clip, source, detector, rows)
        if detector.card.is_random:
            say(report.banner(detector.card))
    return code


def _source_named(options: argparse.Namespace) -> tuple[Clip, sources.RawFormat | None]:
    """The recording's name, and how its samples lie where it comes through a pipe."""
    if options.source != sources.PIPE:
        raw_options = ("rate", "pipe_channels", "encoding", "utt_id")
        described = next((name for name in raw_options if getattr(options, name) is not None), None)
        if described:
            option = described.replace("_", "-")
            raise InputError(f"--{option} describes raw samples from a pipe (-): a file needs none")
        return sources.one_clip(options.source), None
    raw = sources.RawFormat(
        rate_hz=SAMPLE_RATE_HZ if options.rate is None else options.rate,
        channels=1 if options.pipe_channels is None else options.pipe_channels,
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
        with opening as source, ExitStack() as stack:
            lives = [
                stack.enter_context(detector.stream(source.rate_hz, hop_s=options.hop, pool=options.pool))
                for _ in range(source.outputs)
            ]
            chunks = sources.paced(source) if options.pace == "realtime" else source.chunks
            numbered = options.channels == EACH
            _Listening(lives, chunks, numbered, is_pipe=options.source == sources.PIPE).until_the_end()
            results = [
                _result(live, clip, source, number if numbered else None, audio_options_of(options))
                for number, live in enumerate(lives, 1)
            ]
    except AudioError as error:
        failed = Failed(clip.utt_id, clip.path or options.source, error)
        say(report.score_line(failed))
        if rows is not None:
            write_result(rows, failed)
        return 1
    for result in results:
        print(report.score_line(replace(result, path=result.path or clip.utt_id)), flush=True)
        if rows is not None and not is_written(rows, result):
            write_result(rows, result)
    return 0


def _result(live: LiveStream, clip: Clip, source: sources.Source, channel: int | None, chosen: AudioOptions) -> Score:
    """The row of a stream that has ended: its windows, and what the source says of the recording."""
    utt_id = clip.utt_id if channel is None else channel_id(clip.utt_id, channel)
    result = live.result(utt_id, clip.path)
    warnings = (*dict.fromkeys(source.warnings), *result.warnings)
    return replace(result, channels=source.channels, channel=channel, choice=chosen, warnings=warnings)


@dataclass
class _Listening:
    """One thread sends what the source gives, to a stream for each output; others print what the server answers."""

    lives: Sequence[LiveStream]
    chunks: Iterator[Samples]
    numbered: bool  # lines say of which channel they are
    is_pipe: bool
    trouble: DfclientError | None = None  # with the source, or another stream than the first
    is_interrupted: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    printing: threading.Lock = field(default_factory=threading.Lock)

    def until_the_end(self) -> None:
        """Returns when all is scored. Ctrl-C ends what comes through a pipe, as the recorder's own end does."""
        sender = threading.Thread(target=self._send, daemon=True)  # it may sit in a read that never returns
        sender.start()
        status = threading.Thread(target=self._show_status)
        status.start()
        others = [threading.Thread(target=self._read, args=(at,), daemon=True) for at in range(1, len(self.lives))]
        for reader in others:
            reader.start()
        try:
            with _on_interrupt(self._interrupt) if self.is_pipe else nullcontext():
                self._print_windows(0)
                for reader in others:
                    reader.join()
        finally:
            self.ended.set()
            status.join()
        if self.trouble is not None:
            raise self.trouble

    def _send(self) -> None:
        try:
            for chunk in self.chunks:
                for output, live in enumerate(self.lives):
                    live.send(chunk[:, output])
            for live in self.lives:
                live.end()
        except Exception as error:  # of a decoder, too: whoever waits for the windows must hear of it
            if not self.is_interrupted:
                self._give_up(error if isinstance(error, DfclientError) else AudioError(f"damaged: {error}"))

    def _interrupt(self) -> None:
        self.is_interrupted = True
        try:
            for live in self.lives:
                live.end()
        except AudioError as error:  # nothing was heard yet
            self._give_up(error)

    def _read(self, at: int) -> None:
        try:
            self._print_windows(at)
        except DfclientError as error:
            self._give_up(error)

    def _give_up(self, error: DfclientError) -> None:
        self.trouble = error
        for live in self.lives:
            live.close()

    def _print_windows(self, at: int) -> None:
        live, channel = self.lives[at], at + 1 if self.numbered else None
        for window in live.follow():
            with self.printing:
                _clear_status()
                print(report.window_line(window, live.card, channel), flush=True)

    def _show_status(self) -> None:
        """On a terminal, a line that lives: how much was heard, the score so far, whether the server is there."""
        if not sys.stderr.isatty():
            return
        while not self.ended.wait(STATUS_EVERY_S):
            sys.stderr.write(f"\r\x1b[2K{report.status_line(self.lives)}")
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
