"""The score file: its columns, reading and writing it whole, adding columns. `score_appending` writes it row by row.

    utt_id,score,path,model,version,weights,checkpoint_sha256,…

CSV with a header, one row a recording. Lists are joined by `;`; in a list of texts, a `;` that belongs to a text has a
backslash before it. Scores have the nine significant digits that bring a float32 back exactly. ASVspoof's own format,
`utt_id score` a line without header, is read and written too.
"""

import contextlib
import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from dfcontract.errors import ScoreFileError
from dfcontract.files import read_bytes, whole_file, write_whole
from dfcontract.text import number

LIST_SEPARATOR = ";"
# In a list of texts: what is escaped, an escaped character, and one text with the separator that ends it.
_SPECIAL, _ESCAPED = re.compile(r"[;\\]"), re.compile(r"\\(.)", re.DOTALL)
_PART = re.compile(r"((?:[^;\\]|\\.)*);", re.DOTALL)
FORMATS = ("csv", "asvspoof")
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
    Column(
        "window_samples", "whole", "length of the model's window; of one that scores whole clips, the longest", True
    ),
    Column(
        "calibration_sha256", "text", "digest of the calibration that gave `llr` and `verdict`; empty without", True
    ),
    Column("fusion_sha256", "text", "digest of the fusion that gave `score`, `llr` and `verdict`; empty without", True),
    Column("members", "texts", "names of the models whose scores were fused; empty without a fusion", True),
    Column("mode", "text", "`protocol` (one window) or `sliding`", True),
    Column("pool", "text", "sliding mode: `mean`, `min` or a percentile", True),
    Column("hop_s", "number", "sliding mode: seconds from window to window", True),
    Column("channel_choice", "text", "`mix`, `each`, or the number of the one channel that was scored", True),
    Column("track", "text", "number or language of the audio track asked for; empty: each file's default", True),
    Column("n_windows", "whole", "windows scored"),
    Column("window_starts_s", "numbers", "where each begins"),
    Column("window_scores", "numbers", "what each scored"),
    Column("member_scores", "numbers", "each member's own score, in the order of `members`"),
    Column(
        "llr", "number", "natural-log likelihood ratio, bona fide over spoof, by the model's calibration or a fusion"
    ),
    Column("verdict", "text", "`bona_fide` or `spoof`, at the calibration's or the fusion's threshold"),
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
    if not values.keys() <= _BY_NAME.keys():
        unknown = sorted(values.keys() - _BY_NAME.keys())
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
    if kind == "numbers":
        return LIST_SEPARATOR.join(map(number, value))
    if kind == "texts":
        return LIST_SEPARATOR.join(_SPECIAL.sub(r"\\\g<0>", text) for text in value)
    return number(value) if kind == "number" else str(value)


def _value(kind: str, text: str) -> Any:
    if kind == "text":
        return text
    if kind == "numbers":
        return tuple(map(float, text.split(LIST_SEPARATOR))) if text else ()
    if kind == "texts":
        return tuple(_ESCAPED.sub(r"\1", part) for part in _PART.findall(text + LIST_SEPARATOR)) if text else ()
    if not text:
        return None
    return float(text) if kind == "number" else int(text)


def read(path: str | Path) -> list[Row]:
    """Rows of a score file of either format, as text; ASVspoof's have `utt_id` and `score` alone.

    Columns that are not known here are kept.

    Raises:
        ScoreFileError: it can't be read, or a row has no finite score, or more fields than the header.
    """
    text = read_bytes(Path(path)).decode("utf-8-sig", "surrogateescape")
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
    lines = (csv_line(tuple(row.get(name, "") for name in names)) for row in rows)
    write_whole(Path(path), csv_line(names) + "".join(lines))


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
    with _csv_rows(Path(source)) as (header, rows), whole_file(Path(target)) as file:
        names = header
        for row in rows:
            changed = change(row)
            if changed is None:
                continue
            if count == 0:
                names = tuple(changed)
                file.write(csv_line(names))
            file.write(csv_line(tuple(map(changed.get, names, repeat("")))))
            count += 1
        if count == 0:
            file.write(csv_line(names))
    return count


def channel_id(utt_id: str, channel: int) -> str:
    """The name of one channel's row, where each is scored by itself; channels count from 1 on."""
    return f"{utt_id}#{channel}"


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


def csv_line(values: tuple[str, ...]) -> str:
    """One line of a CSV file, line end included; cells with separators, quotes or line ends are quoted."""
    line = io.StringIO()
    # The csv module quotes a field that holds a character of the line's end: with CR LF, a path with either of them.
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue().removesuffix("\r\n") + "\n"


def asvspoof_line(row: Mapping[str, str]) -> str:
    """A row as ASVspoof's `utt_id score`; ScoreFileError for random weights or an utt_id with spaces."""
    if row.get("weights") == "random":
        raise ScoreFileError("the asvspoof format has no room to say that weights are random: use the csv format")
    if len(row["utt_id"].split()) != 1:
        raise ScoreFileError(f"utt_id {row['utt_id']!r} has spaces, which end a field in the asvspoof format: use csv")
    return f"{row['utt_id']} {row['score']}\n"


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
