"""`dfclient score`: recordings in, rows or lines out, with progress, a summary and a clean end whatever happens."""

import argparse
from pathlib import Path

from dfclient.batch import score_set
from dfclient.cli import report
from dfclient.cli.console import (
    audio_options_of,
    check_out,
    check_windowing,
    detector_of,
    fused_of,
    notice,
    opening_of,
    say,
)
from dfclient.cli.progress import Progress
from dfclient.clips import clips_from
from dfclient.detector import Detector, checked_concurrency
from dfclient.errors import DfserveError, InputError, ModelChanged
from dfclient.fused import FusedDetector, FusedScore
from dfclient.results import Failed, Score
from dfcontract.startup import EXIT_INTERRUPTED
from dfcontract.text import printable

RESUME_HINT = "; the rows so far are kept: the same command with --resume goes on from here"


class _Screen:
    """Prints results, or how many there are, as they come; a summary at the end."""

    def __init__(self, detector: Detector | FusedDetector, out: Path | None, mode: str) -> None:
        self.detector, self.out, self.mode = detector, out, mode
        self.tally = report.Tally()
        self.progress: Progress | None = None
        self.n_done = 0

    def begin(self, n_missing: int, n_done: int) -> None:
        """Show the bar, or a heading above the lines."""
        if self.out is None:
            print(_heading(self.detector, self.mode), flush=True)
        self.n_done = n_done
        self.progress = Progress(n_missing, results_on_stdout=self.out is None)
        self.progress.start()

    def take(self, result: Score | FusedScore | Failed) -> None:
        """Count it, and show it."""
        self.tally.add(result)
        if self.out is None and isinstance(result, Failed):
            say(report.score_line(result))
        elif self.out is None:
            print(report.score_line(result), flush=True)
        if self.progress is not None:
            self.progress.advance(0.0 if isinstance(result, Failed) else result.duration_s)

    def stop(self) -> None:
        """Leave the bar as it is."""
        if self.progress is not None:
            self.progress.stop()

    def sum_up(self) -> None:
        """A few lines, unless nothing began."""
        if self.progress is None:
            return
        cards = [self.detector.card] if isinstance(self.detector, Detector) else self.detector.cards
        threshold = report.threshold_of(self.detector)
        say(report.summary(self.tally, self.progress, cards, threshold, skipped=self.n_done, rows=self.out))
        if isinstance(self.detector, Detector) and self.detector.card.is_random:
            say(report.banner(self.detector.card))


def _heading(detector: Detector | FusedDetector, mode: str) -> str:
    return report.heading(detector.card, mode) if isinstance(detector, Detector) else report.fused_heading(detector)


def run(options: argparse.Namespace) -> int:
    """Run `dfclient score` with its parsed options; the exit code."""
    opening = opening_of(options)
    if options.out is None and options.format != "csv":
        raise InputError("--format says how to write --out FILE, which was not given")
    audio_options = audio_options_of(options)
    check_windowing(options.mode, options)
    check_out(options.out, [path.removeprefix("@") for path in options.paths])
    clips = clips_from(options.paths, notice)
    check_out(options.out, [clip.path for clip in clips])
    concurrency = checked_concurrency(options.concurrency)
    if bool(options.model) == bool(options.fusion):
        raise InputError("expected --model NAME, or --fusion FILE for several models, one of the two")
    with fused_of(options) if options.fusion else detector_of(options) as detector:
        windowing = detector.windowing(options.mode, options.hop, options.pool)
        screen = _Screen(detector, options.out, options.mode)
        try:
            counts = score_set(
                detector,
                clips,
                options.out,
                file_format=options.format,
                opening=opening,
                windowing=windowing,
                concurrency=concurrency,
                channels=audio_options.channels,
                track=audio_options.track,
                listener=screen,
            )
        except KeyboardInterrupt:
            screen.stop()
            say(f"dfclient: interrupted{RESUME_HINT if options.out else ''}")
            return EXIT_INTERRUPTED
        except DfserveError as error:
            screen.stop()
            if screen.progress is None:  # nothing has begun
                raise
            say(f"dfclient: error: {printable(str(error))}{_what_is_kept(options.out, error)}")
            return 1
        finally:
            screen.stop()
            screen.sum_up()
        return 1 if counts.failed else 0


def _what_is_kept(out: Path | None, error: DfserveError) -> str:
    if out is None:
        return ""
    return "; the rows so far are kept, all of the earlier model" if isinstance(error, ModelChanged) else RESUME_HINT
