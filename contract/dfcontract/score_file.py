"""The score file: its columns, appending rows as they arrive, resuming after a kill, reading, adding columns.

    utt_id,score,path,model,version,weights,checkpoint_sha256,…

CSV with a header, one row a recording, written whole and flushed row by row. Lists are joined by `;`. Scores have the
nine significant digits that bring a float32 back exactly. ASVspoof's own format, `utt_id score` a line without header,
is read and written too; it has no room for provenance, so it can't be resumed and never holds random weights' scores.
"""

import contextlib
import csv
import io
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TextIO

from dfcontract.errors import ScoreFileError
from dfcontract.text import number

try:
    import fcntl
except ImportError:  # not on Windows; there, two runs may write one file
    fcntl = None  # type: ignore[assignment]

LIST_SEPARATOR = ";"
FORMATS = ("csv", "asvspoof")
ERROR_COLUMNS = ("path", "utt_id", "error")
# Rows of recordings of many hours have cells beyond the csv module's own limit of 131,072 characters.
csv.field_size_limit(1 << 30)

Row = dict[str, str]


@dataclass(frozen=True)
class Column:
    """One column of the score file.

    Attributes:
        name: in the header.
        kind: ``text``, ``number``, ``whole``, ``numbers`` or ``texts``; the last two are lists.
        meaning: for people.
        is_of_run: whether it is the same in every row of a file, so that rows that differ in it don't belong together.
    """

    name: str
    kind: str
    meaning: str
    is_of_run: bool = False


COLUMNS = (
    Column(
        "utt_id",
        "text",
        "the manifest's id, else the file's stem, else (where stems repeat) its path; with `#1`, `#2` … where each "
        "channel is scored",
    ),
    Column("score", "number", "pooled over the windows; higher sounds more bona fide"),
    Column("path", "text", "as given"),
    Column("model", "text", "its name at the server", True),
    Column("version", "text", "of the model at the server", True),
    Column("weights", "text", "`pretrained`, `custom`, or `random`: then the score means nothing", True),
    Column("checkpoint_sha256", "text", "digest of the weights", True),
    Column("identity", "text", "number of the graph that answered, which each of its answers carries", True),
    Column("precision", "text", "`fp32`, or the fewer bits that the graph computes in", True),
    Column("window_samples", "whole", "length of the model's window", True),
    Column(
        "calibration_sha256", "text", "digest of the calibration that gave `llr` and `verdict`; empty without", True
    ),
    Column("mode", "text", "`protocol` (one window) or `sliding`", True),
    Column("pool", "text", "sliding mode: `mean`, `min` or a percentile", True),
    Column("hop_s", "number", "sliding mode: seconds from window to window", True),
    Column("n_windows", "whole", "windows scored"),
    Column("window_starts_s", "numbers", "where each begins"),
    Column("window_scores", "numbers", "what each scored"),
    Column("llr", "number", "natural-log likelihood ratio, bona fide over spoof, by the model's calibration"),
    Column("verdict", "text", "`bona_fide` or `spoof`, at the calibration's threshold"),
    Column("duration_s", "number", "length of the recording"),
    Column("sample_rate_hz", "whole", "of the recording, before resampling"),
    Column("channels", "whole", "of the recording, before downmixing"),
    Column("warnings", "texts", "what a reader of the score should know about the audio"),
)
NAMES = tuple(column.name for column in COLUMNS)
RUN_NAMES = tuple(column.name for column in COLUMNS if column.is_of_run)
CALIBRATED_NAMES = ("calibration_sha256", "llr", "verdict")
_BY_NAME = {column.name: column for column in COLUMNS}


def to_row(values: Mapping[str, Any]) -> Row:
    """Values of columns as text: None and absent ones are empty, lists are joined.

    Raises:
        ScoreFileError: a column that is not known.
    """
    if unknown := sorted(values.keys() - _BY_NAME.keys()):
        raise ScoreFileError(f"expected the columns {', '.join(NAMES)}, found {', '.join(unknown)}")
    return {column.name: _text(column.kind, values.get(column.name)) for column in COLUMNS}


def from_row(row: Mapping[str, str]) -> dict[str, Any]:
    """The values of a row's known columns: numbers, lists, text; None for an empty number. Others stay text.

    Raises:
        ScoreFileError: a number that is none.
    """
    try:
        return {name: _value(_BY_NAME[name].kind if name in _BY_NAME else "text", text) for name, text in row.items()}
    except ValueError as error:
        raise ScoreFileError(f"expected numbers in the row of {row.get('utt_id', '')!r}: {error}") from None


def _text(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if kind in ("numbers", "texts"):
        return LIST_SEPARATOR.join(map(number, value) if kind == "numbers" else map(str, value))
    return number(value) if kind == "number" else str(value)


def _value(kind: str, text: str) -> Any:
    if kind == "text":
        return text
    if kind in ("numbers", "texts"):
        parts = text.split(LIST_SEPARATOR) if text else []
        return tuple(map(float, parts)) if kind == "numbers" else tuple(parts)
    if not text:
        return None
    return float(text) if kind == "number" else int(text)


def read(path: str | Path) -> list[Row]:
    """Rows of a score file of either format, as text; ASVspoof's have `utt_id` and `score` alone.

    Columns that are not known here are kept.

    Raises:
        ScoreFileError: it can't be read, or a row has no finite score, or more fields than the header.
    """
    text = _read_bytes(Path(path)).decode("utf-8-sig", "surrogateescape")
    header = next(csv.reader(io.StringIO(text, newline="")), [])
    if {"utt_id", "score"} <= set(header):
        lines = csv.reader(io.StringIO(text, newline=""))
        next(lines)
        rows = [_named(path, lines.line_num, tuple(header), cells) for cells in lines if cells]
    else:
        # A line without a score, or with more words after it, is refused below: its second field is no number.
        pairs = (line.strip().split(maxsplit=1) for line in text.splitlines() if line.strip())
        rows = [dict(zip(("utt_id", "score"), pair, strict=False)) for pair in pairs]
    for line, row in enumerate(rows, start=1):
        if not _is_finite(row.get("score", "")):
            raise ScoreFileError(
                f"{path}, row {line}: expected CSV with the columns utt_id and score, or ASVspoof's lines "
                f"'utt_id score', found {row}"
            )
    return rows


def write(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows with all their columns, known or not: those of the first row, then those that others add.

    The file appears whole or not at all.

    Raises:
        ScoreFileError: it can't be written, or a run is writing it.
    """
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    lines = (_csv_line(tuple(row.get(name, "") for name in names)) for row in rows)
    _write_whole(Path(path), _csv_line(names) + "".join(lines))


def rewrite(source: str | Path, target: str | Path, change: Callable[[Row], Row | None]) -> int:
    """Copy a CSV file with a header row by row, each row changed; only one row is in memory.

    Args:
        source: any columns, known or not; their order and every value that `change` leaves alone survive.
        target: appears whole or not at all, and may be the source.
        change: returns the row to write, or None for a row to leave out. Columns that it adds come last.

    Returns:
        Rows written.

    Raises:
        ScoreFileError: a file that can't be read or written, a target that a run is writing, a header that names a
            column twice, a row with more fields than the header has.
    """
    count = 0
    with _csv_rows(Path(source)) as (header, rows), _whole_file(Path(target)) as file:
        names = header
        for row in rows:
            changed = change(row)
            if changed is None:
                continue
            if count == 0:
                names = tuple(changed)
                file.write(_csv_line(names))
            file.write(_csv_line(tuple(map(changed.get, names, repeat("")))))
            count += 1
        if count == 0:
            file.write(_csv_line(names))
    return count


def write_asvspoof(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows as ASVspoof's `utt_id score` lines; ScoreFileError for random weights or an utt_id with spaces."""
    _write_whole(Path(path), "".join(_asvspoof_line(row) for row in rows))


def channel_id(utt_id: str, channel: int) -> str:
    """The name of one channel's row, where each is scored by itself; channels count from 1 on."""
    return f"{utt_id}#{channel}"


def errors_path(path: Path) -> Path:
    """Where what could not be scored is listed, beside a score file."""
    return path.with_name(f"{path.stem}.errors.csv")


@dataclass(frozen=True)
class Opening:
    """What to do about a score file that is already there."""

    resume: bool = False
    overwrite: bool = False


class ScoreFile:
    """Rows appended as they arrive, and beside them `<stem>.errors.csv` for what could not be scored.

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
        if self.path.exists() and self.path.stat().st_size > 0 and not (opening.resume or opening.overwrite):
            raise ScoreFileError(
                f"{self.path} exists already: --resume scores only what it lacks, --overwrite starts it anew"
            )
        if self.errors_path.exists() and _header_of(self.errors_path) not in ((), ERROR_COLUMNS):
            raise ScoreFileError(
                f"{self.errors_path} exists and is no list of errors: move it, or choose another name for {self.path}"
            )

    def _begin(self, opening: Opening) -> None:
        """With the file open and nothing changed yet: lock it, then resume, or start anew."""
        _lock(self.path, self._rows)
        try:
            if opening.resume:
                self.written = _repaired(self.path, self._run)
            else:
                self._rows.truncate(0)
                self.errors_path.unlink(missing_ok=True)
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write it: {error.strerror or error}") from None
        if self._format == "csv" and self.path.stat().st_size == 0:
            self._write_row(_csv_line(NAMES))

    def __enter__(self) -> Self:
        """Itself: `close` comes at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; every row is in it already."""
        self._rows.close()

    @property
    def done(self) -> Collection[str]:
        """Paths of the recordings that have a row."""
        return self.written.keys()

    def has_channels_of(self, path: str, utt_id: str) -> bool:
        """Whether each channel of a recording has its row, where each is scored by itself.

        Raises:
            ScoreFileError: it has a row as a whole.
        """
        rows = self.written.get(path, {})
        if utt_id in rows:
            raise ScoreFileError(
                f"{self.path}: can't resume: {path} has a row as a whole, this run scores each of its channels: "
                "use the same --channels, or another --out"
            )
        count = rows.get(channel_id(utt_id, 1), "")
        return count.isdecimal() and all(channel_id(utt_id, number) in rows for number in range(1, int(count) + 1))

    def has_whole(self, path: str, utt_id: str) -> bool:
        """Whether a recording has its row, where its channels are scored as one.

        Raises:
            ScoreFileError: it has rows of single channels.
        """
        rows = self.written.get(path, {})
        if utt_id not in rows and channel_id(utt_id, 1) in rows:
            raise ScoreFileError(
                f"{self.path}: can't resume: {path} has a row a channel, this run scores it as a whole: "
                "use the same --channels, or another --out"
            )
        return path in self.written

    def retrying(self, paths: Collection[str]) -> None:
        """Forget the earlier errors of recordings that are about to be scored again; those of others stay."""
        failed = _errors_in(self.errors_path)
        kept = [row for row in failed if row[0] not in paths]
        if not kept:
            self.errors_path.unlink(missing_ok=True)
        elif len(kept) < len(failed):
            _write_whole(self.errors_path, "".join(map(_csv_line, [ERROR_COLUMNS, *kept])))

    def append(self, values: Mapping[str, Any]) -> None:
        """Write one row (values of `COLUMNS`) and hand it to the operating system, so that a killed run keeps it."""
        row = to_row(values)
        self._write_row(_asvspoof_line(row) if self._format == "asvspoof" else _csv_line(tuple(row.values())))
        self.written.setdefault(row["path"], {})[row["utt_id"]] = row["channels"]

    def append_error(self, path: str, utt_id: str, error: str) -> None:
        """Write down that a recording could not be scored, and why."""
        try:
            is_new = not self.errors_path.exists()
            with self.errors_path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write((_csv_line(ERROR_COLUMNS) if is_new else "") + _csv_line((path, utt_id, error)))
        except OSError as problem:
            reason = problem.strerror or problem
            raise ScoreFileError(f"{self.errors_path}: cannot write an error: {reason}") from None

    def _write_row(self, line: str) -> None:
        try:
            self._rows.write(line)
            self._rows.flush()
        except OSError as error:
            raise ScoreFileError(f"{self.path}: cannot write a row: {error.strerror or error}") from None


def _lock(path: Path, file: IO[Any]) -> None:
    """Keep an open file to this process until it is closed; ScoreFileError where another one has it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however that ends
    except BlockingIOError:
        raise ScoreFileError(f"{path}: another run is writing it: wait for that one, or choose another file") from None
    except OSError:  # a file system without locks
        return


def _write_whole(path: Path, text: str) -> None:
    with _whole_file(path) as file:
        file.write(text)


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """A file that is there whole or not at all: written under another name, and renamed at the end of the block.

    A run that appends to the file that is replaced would lose every further row, so that file is locked meanwhile.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        with contextlib.ExitStack() as stack:
            if fcntl is not None and path.is_file():
                _lock(path, stack.enter_context(path.open("rb")))
            with scratch.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                yield file
            scratch.replace(path)
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot write it: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def _csv_rows(path: Path) -> Iterator[tuple[tuple[str, ...], Iterator[Row]]]:
    """The header's names and the rows of a CSV file, read as they are asked for."""
    try:
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot read it: {error.strerror or error}") from None
    with file:
        lines = csv.reader(file)
        names = tuple(next(lines, []))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ScoreFileError(f"{path}: its header names the column {twice!r} twice: rename one of them")
        yield names, (_named(path, lines.line_num, names, cells) for cells in lines if cells)


def _named(path: str | Path, line: int, names: tuple[str, ...], cells: list[str]) -> Row:
    if len(cells) > len(names):
        raise ScoreFileError(f"{path}, line {line}: expected {len(names)} fields, found {len(cells)}")
    return dict(zip(names, (*cells, *[""] * (len(names) - len(cells))), strict=True))


def _csv_line(values: tuple[str, ...]) -> str:
    line = io.StringIO()
    # The csv module quotes a field that holds a character of the line's end: with CR LF, a path with either of them.
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _asvspoof_line(row: Mapping[str, str]) -> str:
    if row.get("weights") == "random":
        raise ScoreFileError("the asvspoof format has no room to say that weights are random: use the csv format")
    if len(row["utt_id"].split()) != 1:
        raise ScoreFileError(f"utt_id {row['utt_id']!r} has spaces, which end a field in the asvspoof format: use csv")
    return f"{row['utt_id']} {row['score']}\n"


def _header_of(path: Path) -> tuple[str, ...]:
    return tuple(next(csv.reader(io.StringIO(_read_bytes(path).decode("utf-8", "replace"), newline="")), []))


def _errors_in(path: Path) -> list[tuple[str, ...]]:
    """The rows of an errors file that an earlier run has left."""
    if not path.exists():
        return []
    rows = csv.reader(io.StringIO(_read_bytes(path).decode("utf-8", "surrogateescape"), newline=""))
    return [tuple(row) for row in list(rows)[1:] if len(row) == len(ERROR_COLUMNS)]


def _repaired(path: Path, run: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Drop a last row that a kill left unfinished, check that the rest is this run's, and return what is written."""
    content = _read_bytes(path)
    whole = content[: _whole_records_length(content)]
    rows = list(csv.DictReader(io.StringIO(whole.decode("utf-8", "surrogateescape"), newline="")))
    header = next(_records(whole), b"")
    if header and header.decode("utf-8", "replace") != _csv_line(NAMES):
        raise ScoreFileError(f"{path}: can't resume: expected the header {','.join(NAMES)}, found another")
    if not header and not _csv_line(NAMES).encode().startswith(content):
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
