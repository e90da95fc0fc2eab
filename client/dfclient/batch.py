"""A set of recordings into a score file, with resume; and work in threads whose results keep their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from dfclient.audio import EACH, MIX, AudioOptions
from dfclient.clips import Clip
from dfclient.errors import InputError
from dfclient.results import Failed, Score
from dfcontract.score_appending import Opening, ScoreFile

if TYPE_CHECKING:
    from dfclient.detector import Detector
    from dfclient.fused import FusedDetector, FusedScore

Item = TypeVar("Item")
Result = TypeVar("Result")


class Listener(Protocol):
    """Is told how the scoring of a set gets on; a progress bar, for one."""

    def begin(self, n_missing: int, n_done: int) -> None:
        """Scoring begins: so many recordings are to be scored, so many have a row already."""
        ...

    def take(self, result: "Score | FusedScore | Failed") -> None:
        """One more result; its row is in the file."""
        ...


class SetCounts(NamedTuple):
    """What became of a set of recordings."""

    scored: int
    failed: int
    skipped: int  # had a row already


def score_set(
    detector: "Detector | FusedDetector",
    clips: Sequence[Clip],
    out: str | Path | None,
    *,
    file_format: str = "csv",
    opening: Opening | None = None,
    windowing: Any = None,
    concurrency: int | None = None,
    channels: str | int = MIX,
    track: str | int | None = None,
    listener: Listener | None = None,
) -> SetCounts:
    """Score recordings into a file, row by row, in their order; a run that ends early keeps its rows.

    Args:
        detector: that scores, or the members of a fusion.
        clips: what to score.
        out: score file; None tells the listener alone.
        file_format: `csv` or `asvspoof`.
        opening: what to do about a file that is there: by default it is an error, `Opening(resume=True)` scores what
            it lacks, `Opening(overwrite=True)` starts anew, once everything else has been checked.
        windowing: from `detector.windowing`; protocol mode unless given.
        concurrency: windows in flight; the detector's default unless given.
        channels, track: which part of each recording is scored, see `Detector.score`.
        listener: is told of each result.

    Raises:
        InputError: an argument that can't be used; nothing has been written then.
        ScoreFileError: the file can't be written, or holds another run's rows.
        ServerError: the server is away for too long, or another model answers.
    """
    scorer: Any = detector  # each kind takes the windowing that it made
    windowing = windowing or scorer.windowing()
    if file_format == "asvspoof":
        _check_names(clips)
    chosen = AudioOptions(channels, track)
    options = {} if concurrency is None else {"concurrency": concurrency}
    scorer.score_windowed([], windowing, chosen, **options)  # refuses options that can't be used
    with ExitStack() as stack:
        rows = None
        if out is not None:
            run = scorer.run_values(windowing, chosen)
            rows = stack.enter_context(ScoreFile(out, run, file_format=file_format, opening=opening))
        missing = [clip for clip in clips if rows is None or not has_rows(rows, clip, chosen)]
        if rows is not None:
            rows.retrying({clip.path for clip in missing})
        skipped, scored, failed = len(clips) - len(missing), 0, 0
        if listener is not None:
            listener.begin(len(missing), skipped)
        for result in scorer.score_windowed(missing, windowing, chosen, **options):
            if rows is not None and is_written(rows, result):
                continue
            scored, failed = scored + (not isinstance(result, Failed)), failed + isinstance(result, Failed)
            if rows is not None:
                write_result(rows, result)
            if listener is not None:
                listener.take(result)
    return SetCounts(scored, failed, skipped)


def has_rows(rows: ScoreFile, clip: Clip, options: AudioOptions) -> bool:
    """Whether all rows of a recording are in the file."""
    return rows.has_channels_of(clip.path, clip.utt_id) if options.channels == EACH else clip.path in rows.done


def is_written(rows: ScoreFile, result: "Score | FusedScore | Failed") -> bool:
    """Whether an earlier run has written this row: one channel's, of a recording that it did not finish."""
    return bool(result.path) and result.utt_id in rows.written.get(result.path, {})


def write_result(rows: ScoreFile, result: "Score | FusedScore | Failed") -> None:
    """A score as a row; a failure as a line of the errors file."""
    if isinstance(result, Failed):
        rows.append_error(result.path, result.utt_id, str(result.error))
    else:
        rows.append(result.as_dict())


def ordered_map(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """`map(work, items)` run by `pool`; items are taken lazily, at most `ahead` begun and not yet yielded.

    A result is yielded as soon as it and all before it are there. An exception of `work` is raised in its turn; what
    has not begun by then never does.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            while pending and (pending[0].done() or len(pending) >= ahead):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _check_names(clips: Iterable[Clip]) -> None:
    for clip in clips:
        if len(clip.utt_id.split()) != 1:
            raise InputError(f"utt_id {clip.utt_id!r} has spaces, which the asvspoof format can't hold: use csv")
