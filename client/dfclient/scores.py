"""The score file: its columns, appending rows as they arrive, resuming after a kill. The one owner of that format.

    utt_id,score,path,model,version,weights,checkpoint_sha256,calibration_sha256,mode,pool,hop_s,n_windows,…

CSV with a header, one row a recording, written whole and flushed row by row. Lists are joined by `;`. Scores have the
nine significant digits that bring a float32 back exactly. ASVspoof's own format, `utt_id score` a line without header,
is read and written too; it has no room for provenance, so it can't be resumed and never holds random weights' scores.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dfclient.card import ModelCard
from dfclient.errors import ScoreFileError
from dfclient.results import Failed, Score

# The same in every row of a file.
RUN_COLUMNS = ("model", "version", "weights", "checkpoint_sha256", "calibration_sha256", "mode", "pool", "hop_s")
WINDOW_COLUMNS = ("n_windows", "window_starts_s", "window_scores")
CALIBRATED_COLUMNS = ("llr", "verdict")  # empty without a calibration in the card
AUDIO_COLUMNS = ("duration_s", "sample_rate_hz", "channels", "warnings")
COLUMNS = ("utt_id", "score", "path", *RUN_COLUMNS, *WINDOW_COLUMNS, *CALIBRATED_COLUMNS, *AUDIO_COLUMNS)
ERROR_COLUMNS = ("path", "utt_id", "error")
FORMATS = ("csv", "asvspoof")
LIST_SEPARATOR = ";"


def number(value: float) -> str:
    """The shortest text of at most 9 significant digits; a float32 read from it is the same float32."""
    return f"{value:.9g}"


def row_of(score: Score) -> dict[str, str]:
    """One row of the score file."""
    return {
        "utt_id": score.utt_id,
        "score": number(score.score),
        "path": score.path,
        **run_of(score.card, score.mode, score.pool, score.hop_s),
        "n_windows": str(len(score.windows)),
        "window_starts_s": LIST_SEPARATOR.join(number(window.start_s) for window in score.windows),
        "window_scores": LIST_SEPARATOR.join(number(window.score) for window in score.windows),
        "llr": "" if score.llr is None else number(score.llr),
        "verdict": score.verdict,
        "duration_s": number(score.duration_s),
        "sample_rate_hz": str(score.sample_rate_hz),
        "channels": str(score.channels),
        "warnings": LIST_SEPARATOR.join(score.warnings),
    }


def run_of(card: ModelCard, mode: str, pool: str, hop_s: float | None) -> dict[str, str]:
    """The columns that name model, checkpoint and mode: rows that differ in them don't belong in one file."""
    return {
        "model": card.model,
        "version": card.version,
        "weights": card.weights,
        "checkpoint_sha256": card.checkpoint_sha256,
        "calibration_sha256": "" if card.calibration is None else card.calibration.digest,
        "mode": mode,
        "pool": pool,
        "hop_s": "" if hop_s is None else number(hop_s),
    }


def read(path: str | Path) -> list[dict[str, str]]:
    """Rows of a score file of either format, as text; ASVspoof's have `utt_id` and `score` alone.

    Raises:
        ScoreFileError: it can't be read, or a row has no finite score.
    """
    text = _read_bytes(Path(path)).decode("utf-8-sig", "surrogateescape")
    header = next(csv.reader(io.StringIO(text)), [])
    if {"utt_id", "score"} <= set(header):
        rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(io.StringIO(text))]
    else:
        # A lone id has no score, and what follows a score is no number: both are refused below.
        lines = (line.strip() for line in text.splitlines())
        rows = [dict(zip(("utt_id", "score"), line.split(maxsplit=1), strict=False)) for line in lines if line]
    for line, row in enumerate(rows, start=1):
        if not _is_finite(row.get("score", "")):
            raise ScoreFileError(
                f"{path}, row {line}: expected CSV with the columns utt_id and score, or ASVspoof's lines "
                f"'utt_id score', found {row}"
            )
    return rows


def write_asvspoof(rows: list[dict[str, str]], path: str | Path) -> None:
    """Write rows as ASVspoof's `utt_id score` lines; ScoreFileError for random weights or an utt_id with spaces."""
    text = "".join(_asvspoof_line(row) for row in rows)
    try:
        Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot write it: {error.strerror or error}") from None


@dataclass(frozen=True)
class Opening:
    """What to do about a score file that is already there."""

    resume: bool = False
    overwrite: bool = False


class ScoreFile:
    """Rows appended as they arrive, and beside them `<stem>.errors.csv` for what could not be scored.

    `done` holds the paths that the file has rows for. Failures are not done: resuming tries them again.
    """

    def __init__(
        self, path: str | Path, run: Mapping[str, str], *, file_format: str = "csv", opening: Opening | None = None
    ) -> None:
        """Create the file, or go on with it.

        Raises:
            ScoreFileError: it exists and may be neither resumed nor overwritten, holds another run's rows, or can't
                be written; or the format has no room for what must be said.
        """
        opening = opening or Opening()
        self.path = Path(path)
        self.errors_path = self.path.with_name(f"{self.path.stem}.errors.csv")
        self.done: set[str] = set()
        self._format = file_format
        self._errors: IO[str] | None = None
        self._check(run, opening)
        if opening.resume and self.path.exists():
            self.done = _repaired(self.path, run)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.errors_path.unlink(missing_ok=True)
            self._rows = _append_to(self.path, fresh=not opening.resume)
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write it: {error.strerror or error}") from None
        if file_format == "csv" and self.path.stat().st_size == 0:
            self._write(self._rows, _csv_line(COLUMNS))

    def _check(self, run: Mapping[str, str], opening: Opening) -> None:
        if self._format == "asvspoof" and run["weights"] == "random":
            raise ScoreFileError("the asvspoof format has no room to say that weights are random: use the csv format")
        if self._format == "asvspoof" and opening.resume:
            raise ScoreFileError(
                "the asvspoof format does not say which model made a row: resuming needs the csv format"
            )
        if self.path.is_dir():
            raise ScoreFileError(f"{self.path}: expected a file to write scores to, found a folder")
        if self.path.exists() and self.path.stat().st_size > 0 and not (opening.resume or opening.overwrite):
            raise ScoreFileError(
                f"{self.path} exists already: --resume scores only what it lacks, --overwrite starts it anew"
            )

    def __enter__(self) -> Self:
        """Itself: `close` comes at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both files; every row is in them already."""
        self._rows.close()
        if self._errors is not None:
            self._errors.close()

    def append(self, result: Score | Failed) -> None:
        """Write one row and hand it to the operating system, so that a killed run keeps it."""
        if isinstance(result, Failed):
            if self._errors is None:
                self._errors = _append_to(self.errors_path, fresh=True)
                self._write(self._errors, _csv_line(ERROR_COLUMNS))
            self._write(self._errors, _csv_line((result.path, result.utt_id, str(result.error))))
            return
        row = row_of(result)
        line = _asvspoof_line(row) if self._format == "asvspoof" else _csv_line(tuple(row[name] for name in COLUMNS))
        self._write(self._rows, line)
        self.done.add(result.path)

    def _write(self, file: IO[str], line: str) -> None:
        try:
            file.write(line)
            file.flush()
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write a row: {error.strerror or error}") from None


def _append_to(path: Path, *, fresh: bool) -> IO[str]:
    return path.open("w" if fresh else "a", encoding="utf-8", errors="surrogateescape", newline="")


def _csv_line(values: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _asvspoof_line(row: Mapping[str, str]) -> str:
    if row.get("weights") == "random":
        raise ScoreFileError("the asvspoof format has no room to say that weights are random: use the csv format")
    if len(row["utt_id"].split()) != 1:
        raise ScoreFileError(f"utt_id {row['utt_id']!r} has spaces, which end a field in the asvspoof format: use csv")
    return f"{row['utt_id']} {row['score']}\n"


def _repaired(path: Path, run: Mapping[str, str]) -> set[str]:
    """Drop a last row that a kill left unfinished, check that the rest is this run's, and return its paths."""
    content = _read_bytes(path)
    whole = content[: _whole_records_length(content)]
    rows = list(csv.DictReader(io.StringIO(whole.decode("utf-8", "surrogateescape"))))
    header = next(_records(whole), b"")
    if header and header.decode("utf-8", "replace") != _csv_line(COLUMNS):
        raise ScoreFileError(f"{path}: can't resume: expected the header {','.join(COLUMNS)}, found another")
    if not header and not _csv_line(COLUMNS).encode().startswith(content):
        raise ScoreFileError(f"{path}: can't resume: this is not a score file")
    for line, row in enumerate(rows, start=2):
        _check_same_run(path, line, row, run)
    if len(whole) < len(content):
        try:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        except OSError as error:
            raise ScoreFileError(f"{path}: cannot drop its unfinished last row: {error.strerror or error}") from None
    return {row["path"] for row in rows}


def _check_same_run(path: Path, line: int, row: Mapping[str, str | None], run: Mapping[str, str]) -> None:
    for column in RUN_COLUMNS:
        if row[column] != run[column]:
            raise ScoreFileError(
                f"{path}: can't resume: row {line} was made with {column} {row[column] or 'none'!r}, "
                f"this run has {run[column] or 'none'!r}: use the same settings, or another --out"
            )


def _records(content: bytes) -> Iterator[bytes]:
    """Complete CSV records, line ends included: a line end inside quotes does not end one."""
    start = end = quotes = 0
    while (newline := content.find(b"\n", end)) >= 0:
        quotes += content.count(b'"', end, newline)
        end = newline + 1
        if quotes % 2 == 0:
            yield content[start:end]
            start = end


def _whole_records_length(content: bytes) -> int:
    return sum(len(record) for record in _records(content))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot read it: {error.strerror or error}") from None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
