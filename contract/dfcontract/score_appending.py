"""Appending rows to a score file as they arrive, and going on with it after a kill.

Rows of the format of `dfcontract.score_file`, each written whole and handed to the operating system; ASVspoof's lines
have no room for provenance, so they can't be resumed and never hold random weights' scores.
"""

import csv
import io
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dfcontract.errors import ScoreFileError
from dfcontract.files import lock, read_bytes, write_whole
from dfcontract.score_file import FORMATS, NAMES, RUN_NAMES, asvspoof_line, channel_id, csv_line, to_row

ERROR_COLUMNS = ("path", "utt_id", "error")


def errors_path(path: Path) -> Path:
    """Where what could not be scored is listed: `s.errors.csv` beside `s.csv`, `s.txt.errors.csv` beside `s.txt`."""
    return path.with_name(f"{path.name.removesuffix('.csv')}.errors.csv")


@dataclass(frozen=True)
class Opening:
    """What to do about a score file that is already there."""

    resume: bool = False
    overwrite: bool = False


class ScoreFile:
    """Rows appended as they arrive, and in a file beside them (`errors_path`) what could not be scored.

    `written` says which rows the file has: path → utt_id → channels of the recording. Failures are in none: resuming
    tries them again. While it is open, no other run can write the file.
    """

    def __init__(
        self,
        path: str | Path,
        run: Mapping[str, Any],
        *,
        file_format: str = "csv",
        opening: Opening | None = None,
    ) -> None:
        """Create the file, or go on with it.

        Args:
            path: of the score file.
            run: values of the columns that are the same in every row (`RUN_NAMES`).
            file_format: `csv` or `asvspoof`.
            opening: what to do about a file that is there.

        Raises:
            ScoreFileError: it exists and may be neither resumed nor overwritten, holds another run's rows, is being
                written, or can't be written; or the format has no room for what must be said.
        """
        self.path = Path(path)
        self.errors_path = errors_path(self.path)
        self.written: dict[str, dict[str, str]] = {}
        self._format = file_format
        self._run = {name: text for name, text in to_row(run).items() if name in RUN_NAMES}
        opening = opening or Opening()
        self._check(opening)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rows = self.path.open("a", encoding="utf-8", errors="surrogateescape", newline="")
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write it: {error.strerror or error}") from None
        try:
            self._begin(opening)
        except BaseException:
            self._rows.close()
            raise

    def _check(self, opening: Opening) -> None:
        if self._format not in FORMATS:
            raise ScoreFileError(f"expected the format {' or '.join(FORMATS)}, found {self._format!r}")
        if self._format == "asvspoof" and self._run["weights"] == "random":
            raise ScoreFileError("the asvspoof format has no room to say that weights are random: use the csv format")
        if self._format == "asvspoof" and opening.resume:
            raise ScoreFileError(
                "the asvspoof format does not say which model made a row: resuming needs the csv format"
            )
        if self.path.is_dir():
            raise ScoreFileError(f"{self.path}: expected a file to write scores to, found a folder")
        if self.errors_path.exists() and _header_of(self.errors_path) not in ((), ERROR_COLUMNS):
            raise ScoreFileError(
                f"{self.errors_path} exists and is no list of errors: move it, or choose another name for {self.path}"
            )

    def _begin(self, opening: Opening) -> None:
        """With the file open and nothing changed yet: lock it, then resume, or start anew.

        Whether it has rows is asked under the lock: another run may have written and ended since this one began.
        """
        lock(self.path, self._rows)
        if os.fstat(self._rows.fileno()).st_size > 0 and not (opening.resume or opening.overwrite):
            raise ScoreFileError(
                f"{self.path} exists already: --resume scores only what it lacks, --overwrite starts it anew"
            )
        try:
            if opening.resume:
                self.written = _repaired(self.path, self._run)
            else:
                self._rows.truncate(0)
                self.errors_path.unlink(missing_ok=True)
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write it: {error.strerror or error}") from None
        if self._format == "csv" and self.path.stat().st_size == 0:
            self._write_row(csv_line(NAMES))

    def __enter__(self) -> Self:
        """Itself: `close` comes at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; every row is in it already, unless one could not be written, which has been said."""
        with suppress(OSError):
            self._rows.close()

    @property
    def done(self) -> Collection[str]:
        """Paths of the recordings that have a row."""
        return self.written.keys()

    def has_channels_of(self, path: str, utt_id: str) -> bool:
        """Whether each channel of a recording has its row, where each is scored by itself."""
        rows = self.written.get(path, {})
        count = rows.get(channel_id(utt_id, 1), "")
        return count.isdecimal() and all(channel_id(utt_id, number) in rows for number in range(1, int(count) + 1))

    def retrying(self, paths: Collection[str]) -> None:
        """Forget the earlier errors of recordings that are about to be scored again; those of others stay."""
        failed = _errors_in(self.errors_path)
        kept = [row for row in failed if row[0] not in paths]
        if not kept:
            self.errors_path.unlink(missing_ok=True)
        elif len(kept) < len(failed):
            write_whole(self.errors_path, "".join(map(csv_line, [ERROR_COLUMNS, *kept])))

    def append(self, values: Mapping[str, Any]) -> None:
        """Write one row (values of `COLUMNS`) and hand it to the operating system, so that a killed run keeps it."""
        row = to_row(values)
        self._write_row(asvspoof_line(row) if self._format == "asvspoof" else csv_line(tuple(row.values())))
        self.written.setdefault(row["path"], {})[row["utt_id"]] = row["channels"]

    def append_error(self, path: str, utt_id: str, error: str) -> None:
        """Write down that a recording could not be scored, and why."""
        try:
            is_new = not self.errors_path.exists()
            with self.errors_path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write((csv_line(ERROR_COLUMNS) if is_new else "") + csv_line((path, utt_id, error)))
        except OSError as problem:
            reason = problem.strerror or problem
            raise ScoreFileError(f"{self.errors_path}: cannot write an error: {reason}") from None

    def _write_row(self, line: str) -> None:
        try:
            self._rows.write(line)
            self._rows.flush()
            is_removed = os.fstat(self._rows.fileno()).st_nlink == 0
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write a row: {error.strerror or error}") from None
        if is_removed:  # the system would take rows without end, and keep none
            raise ScoreFileError(f"{self.path}: was removed while it was written: its rows are lost")


def _header_of(path: Path) -> tuple[str, ...]:
    return tuple(next(csv.reader(io.StringIO(read_bytes(path).decode("utf-8", "replace"), newline="")), []))


def _errors_in(path: Path) -> list[tuple[str, ...]]:
    """The rows of an errors file that an earlier run has left."""
    if not path.exists():
        return []
    rows = csv.reader(io.StringIO(read_bytes(path).decode("utf-8", "surrogateescape"), newline=""))
    return [tuple(row) for row in list(rows)[1:] if len(row) == len(ERROR_COLUMNS)]


def _repaired(path: Path, run: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Drop a last row that a kill left unfinished, check that the rest is this run's, and return what is written."""
    content = read_bytes(path)
    whole = content[: _whole_records_length(content)]
    rows = list(csv.DictReader(io.StringIO(whole.decode("utf-8", "surrogateescape"), newline="")))
    header = next(_records(whole), b"")
    if header and header.decode("utf-8", "replace") != csv_line(NAMES):
        raise ScoreFileError(f"{path}: can't resume: expected the header {','.join(NAMES)}, found another")
    if not header and not csv_line(NAMES).encode().startswith(content):
        raise ScoreFileError(f"{path}: can't resume: this is not a score file")
    for line, row in enumerate(rows, start=2):
        _check_same_run(path, line, row, run)
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    written: dict[str, dict[str, str]] = {}
    for row in rows:
        written.setdefault(row["path"], {})[row["utt_id"]] = row["channels"]
    return written


def _check_same_run(path: Path, line: int, row: Mapping[str, str | None], run: Mapping[str, str]) -> None:
    for name in RUN_NAMES:
        if row[name] != run[name]:
            raise ScoreFileError(
                f"{path}: can't resume: row {line} was made with {name} {row[name] or 'none'!r}, "
                f"this run has {run[name] or 'none'!r}: use the same settings, or another --out"
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
