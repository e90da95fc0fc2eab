"""`dfclient score`: clips in, rows out, with progress, summary and a clean end whatever happens."""

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field

from dfclient import report
from dfclient.client import Detector
from dfclient.errors import DfclientError, InputError
from dfclient.inputs import Clip, clips_from
from dfclient.progress import Progress
from dfclient.results import Failed, Score
from dfclient.scores import Opening, ScoreFile, run_of
from dfclient.windowing import Windowing


@dataclass
class _Run:
    """One scoring run: what to score, where the rows go, what happened."""

    options: argparse.Namespace
    detector: Detector
    clips: list[Clip]
    rows: ScoreFile | None
    tally: report.Tally = field(default_factory=report.Tally)

    def go(self) -> int:
        """Score everything; the summary is printed however it ends."""
        options, done = self.options, set() if self.rows is None else self.rows.done
        missing = [clip for clip in self.clips if clip.path not in done]
        results = self.detector.score_many(
            missing, mode=options.mode, hop_s=options.hop, pool=options.pool, concurrency=options.concurrency
        )
        progress = Progress(len(missing), results_on_stdout=self.rows is None)
        try:
            with progress:
                for result in results:
                    self._take(result)
                    progress.advance(result.duration_s if isinstance(result, Score) else 0.0)
        except KeyboardInterrupt:
            _say(f"dfclient: interrupted{self._how_to_resume()}")
            return 130
        except DfclientError as error:
            _say(f"dfclient: error: {error}{self._how_to_resume()}")
            return 1
        finally:
            self._sum_up(progress, skipped=len(self.clips) - len(missing))
        return 1 if self.tally.failed else 0

    def _take(self, result: Score | Failed) -> None:
        self.tally.add(result)
        if self.rows is not None:
            self.rows.append(result)
        elif isinstance(result, Score):
            print(report.score_line(result), flush=True)
        else:
            _say(report.score_line(result))

    def _how_to_resume(self) -> str:
        return (
            "" if self.rows is None else "; the rows so far are kept: the same command with --resume goes on from here"
        )

    def _sum_up(self, progress: Progress, skipped: int) -> None:
        card, rows = self.detector.card, self.rows
        path, errors = (rows.path, rows.errors_path) if rows is not None else (None, None)
        _say(report.summary(self.tally, progress, card, skipped=skipped, rows=path, errors=errors))
        if card.is_random:
            _say(report.banner(card))


def run(options: argparse.Namespace) -> int:
    """Run `dfclient score` with its parsed options; the exit code."""
    clips = clips_from(options.paths)
    if options.format == "asvspoof":
        for clip in clips:
            if len(clip.utt_id.split()) != 1:
                raise InputError(f"utt_id {clip.utt_id!r} has spaces, which the asvspoof format can't hold: use csv")
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(options.url, options.model, timeout_s=options.timeout))
        card = detector.card
        windowing = Windowing.checked(card, options.mode, options.hop, options.pool)
        rows = None
        if options.out is None:
            print(report.heading(card), flush=True)
        else:
            opening = Opening(resume=options.resume, overwrite=options.overwrite)
            run_columns = run_of(card, windowing.mode, *windowing.reported(card.sample_rate_hz))
            rows = stack.enter_context(ScoreFile(options.out, run_columns, file_format=options.format, opening=opening))
        return _Run(options, detector, clips, rows).go()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
