"""Many recordings: a set into a score file, with resume; a frame into a frame, for clusters; results in their order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from dfclient.audio import EACH, MIX, AudioOptions
from dfclient.calls import DEFAULT_TIMEOUT_S
from dfclient.clips import Clip
from dfclient.errors import InputError, ModelChanged
from dfclient.results import Failed, Score
from dfclient.retry import RetryPolicy
from dfcontract.score_appending import Opening, ScoreFile
from dfcontract.score_file import COLUMNS, NAMES, channel_id, to_row
from dfcontract.windows import PROTOCOL

if TYPE_CHECKING:
    import pandas as pd

    from dfclient.credentials import Credentials
    from dfclient.detector import Detector
    from dfclient.fused import FusedDetector, FusedScore

ERROR = "error"  # a frame's column beside those of the score file: why a recording has no score
MAX_OPEN_DETECTORS = 8  # that a process keeps for the frames to come

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
        channels: which of each recording are scored, see `Detector.score`.
        track: which of each recording is scored, see `Detector.score`.
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


def score_frame(
    frame: "pd.DataFrame",
    *,
    url: str,
    model: str,
    version: str = "",
    identity: int | None = None,
    path_column: str = "path",
    mode: str = PROTOCOL,
    hop_s: float | None = None,
    pool: str | None = None,
    channels: str | int = MIX,
    track: str | int | None = None,
    concurrency: int | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    retry: RetryPolicy | None = None,
    credentials: "Credentials | None" = None,
) -> "pd.DataFrame":
    """Score a frame's recordings: one frame in, one out, nothing else; for the workers of Ray, Spark and the like.

    A frame's result does not depend on other frames, so a batch that is lost with its worker may simply be scored
    again. The connection to the server is kept for the process's next frame, unless another graph answered.

    Args:
        frame: a row a recording.
        url, model, version, timeout_s, retry: see `Detector`.
        identity: of the graph that all workers have to get their answers from (`detector.card.identity`), so that a
            server that is given another checkpoint meanwhile ends the job, and does not mix two in one result.
        path_column: which column holds the paths; also `s3://bucket/a.wav` and whatever else fsspec knows.
        mode, hop_s, pool: see `Detector.windowing`.
        channels, track: see `Detector.score_many`; with `each` there is a row for each channel.
        concurrency: windows in flight, of each worker; the detector's default unless given.
        credentials: TLS. The key is taken from this process's DFSERVE_API_KEY where it is not among them: a key in the
            arguments would lie in the cluster's logs and job store.

    Returns:
        The columns of the score file (lists as text, as there), then `error` (empty where there is a score), then the
        frame's other columns. `utt_id` is the frame's, else the path. `to_csv(index=False)` of the rows without error
        is a score file.

    Raises:
        InputError: no such column, a column that would be overwritten, an option that can't be used.
        ModelChanged: another graph answers than the one with that `identity`, or than before in this process; without
            an `identity` the next frame begins anew with the one that answers now.
        ServerError: the server is away for too long.
    """
    others = _other_columns(list(frame.columns), path_column)
    kept = _kept_detector(url, model=model, version=version, timeout_s=timeout_s, retry=retry, credentials=credentials)
    detector = kept.opened()
    if identity is not None and detector.card.identity != identity:
        kept.drop(detector)  # its card may be of before the job
        detector = kept.opened()
    if identity is not None and detector.card.identity != identity:
        raise ModelChanged(
            f"model {model!r}: expected the graph with identity {identity}, found {detector.card.identity}: the server "
            "was given another checkpoint or build since the job began"
        )
    windowing, options = detector.windowing(mode, hop_s, pool), AudioOptions(channels, track)
    paths = [str(path) if isinstance(path, Path) else path for path in frame[path_column]]
    names = [str(name) for name in (frame["utt_id"] if "utt_id" in frame.columns else paths)]
    # A row's number is its recording's name on the way, so that each result finds its row again.
    clips = [Clip(path, str(row)) for row, path in enumerate(paths) if isinstance(path, str)]
    in_flight: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}
    try:
        results = list(detector.score_windowed(clips, windowing, options, **in_flight))
    except ModelChanged:
        kept.drop(detector)  # else each of the process's frames to come would fail
        raise
    results += [_no_path(row, path) for row, path in enumerate(paths) if not isinstance(path, str)]
    placed = sorted(((int(result.utt_id.partition("#")[0]), result) for result in results), key=lambda pair: pair[0])
    run = detector.run_values(windowing, options)
    values = [_frame_values(result, names[row], run) for row, result in placed]
    columns = {name: [value[name] for value in values] for name in (*NAMES, ERROR)}
    scored = frame.iloc[[row for row, _ in placed]].assign(**columns)
    return scored.astype({name: FRAME_TYPES[kind] for name, kind in _KINDS.items()})[[*NAMES, ERROR, *others]]


def spark_schema(more: str = "") -> str:
    """Spark's schema of what `score_frame` returns, for `mapInPandas`.

    Args:
        more: the schema of the frame's other columns, such as `label string`.
    """
    ours = (f"{name} {SPARK_TYPES[kind]}" for name, kind in _KINDS.items())
    return ", ".join((*ours, more) if more else ours)


# Kind of a score file's column → its type in a frame. Whole numbers may be missing, which NumPy's integers can't say.
FRAME_TYPES = {"text": "str", "texts": "str", "numbers": "str", "number": "float64", "whole": "Int64"}
SPARK_TYPES = {"text": "string", "texts": "string", "numbers": "string", "number": "double", "whole": "bigint"}
_KINDS = {column.name: column.kind for column in COLUMNS} | {ERROR: "text"}


class _Kept:
    """A detector that this process keeps for its frames; one that is dropped closes when nobody uses it any more."""

    def __init__(self, open_one: "Callable[[], Detector]") -> None:
        self._open_one, self._lock = open_one, threading.Lock()
        self._detector: Detector | None = None

    def opened(self) -> "Detector":
        """The one that is kept, else a new one."""
        with self._lock:
            if self._detector is None:
                self._detector = self._open_one()
            return self._detector

    def drop(self, detector: "Detector") -> None:
        """Keep it no longer."""
        with self._lock:
            if self._detector is detector:
                self._detector = None


@lru_cache(MAX_OPEN_DETECTORS)
def _kept_detector(
    url: str,
    *,
    model: str,
    version: str,
    timeout_s: float,
    retry: RetryPolicy | None,
    credentials: "Credentials | None",
) -> _Kept:
    """The place of one detector of this process, with its connection."""
    from dfclient.credentials import api_key_of_environment
    from dfclient.detector import Detector

    if credentials is not None and credentials.tls and not credentials.api_key:
        credentials = replace(credentials, api_key=api_key_of_environment())
    way: dict[str, Any] = {"timeout_s": timeout_s, "retry": retry, "credentials": credentials}
    return _Kept(partial(Detector, url, model, version=version, **way))


def _other_columns(columns: list[str], path_column: str) -> list[str]:
    """The frame's columns that the score file does not have, in their order."""
    if path_column not in columns:
        raise InputError(f"expected the column {path_column!r} with paths, found {', '.join(map(str, columns))}")
    ours = {*NAMES, ERROR} - {path_column, "utt_id"}
    if taken := [name for name in columns if name in ours]:
        raise InputError(f"the frame has the columns {', '.join(taken)} already, which scores need: rename them")
    return [name for name in columns if name not in (*NAMES, ERROR)]


def _no_path(row: int, found: object) -> Failed:
    return Failed(str(row), "", InputError(f"expected a path, found {found!r}"))


def _frame_values(result: Score | Failed, name: str, run: dict[str, Any]) -> dict[str, Any]:
    """The values of one row: numbers as numbers, all else as the score file writes it."""
    _, mark, number = result.utt_id.partition("#")
    named = {"utt_id": channel_id(name, int(number)) if mark else name, "path": result.path}
    if isinstance(result, Failed):
        values, error = {**run, **named}, str(result.error)
    else:
        values, error = {**result.as_dict(), **named}, ""
    texts = to_row(values)
    plain = {key: values.get(key) for key, kind in _KINDS.items() if FRAME_TYPES[kind] != "str"}
    return {**texts, **plain, ERROR: error}


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
