"""Tables of text as people have them, such as labels, protocols, lists and manifests: how one is written, and its rows.

Found out from the content, never from the file's name: the encoding (UTF-8 with or without a byte order mark, UTF-16,
else Latin-1, which is said), Excel's `sep=` line, blank lines at the start, and the delimiter (comma, semicolon, tab,
bar, else runs of spaces). Fields may be quoted and may have spaces around them; lines may end in CR LF.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dfcontract.errors import DfserveError

# Columns that say which recording a row is of, wherever one is wanted; compared without regard to case.
ID_NAMES = ("utt_id", "path", "file", "filename", "file_name", "id", "trial_anon", "relative_path")
DELIMITERS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A lone NUL may stand in a field, which is then at fault alone; beside these there is no text at all.
_BINARY = re.compile(r"\0\0|[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_SEP_LINE = re.compile(r"sep=([^\r\n])\s*", re.IGNORECASE)
# The csv module's own limit is 131,072 characters a field; a recording of many hours has more window scores.
csv.field_size_limit(1 << 30)


class TextTableError(DfserveError):
    """A file that is no table of text, or a field that is not what it should be."""


class DecimalCommaError(TextTableError):
    """A number with a decimal comma: what such a file means can't be told from its delimiters, so it is refused."""

    def __init__(self, found: str) -> None:
        super().__init__(f"found {found!r}: write decimal points, not commas")


@dataclass(frozen=True)
class Layout:
    """How a file is written.

    Attributes:
        encoding: Python's name of it.
        delimiter: one of `DELIMITERS`, or None for runs of spaces and tabs.
        n_skipped: physical lines before the first row: blank ones and Excel's `sep=`.
        first: the fields of the first row, which may be a header.
        notes: what a reader should know, such as an encoding that had to be guessed.
    """

    encoding: str
    delimiter: str | None
    n_skipped: int
    first: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def column(self, names: Sequence[str]) -> int | None:
        """The place of the first of `names` that the first row has, whatever its case; None without one."""
        fields = [field.lower() for field in self.first]
        return next((fields.index(name.lower()) for name in names if name.lower() in fields), None)


@dataclass(frozen=True)
class Line:
    """One row: its fields, without quotes and the spaces around them, and the physical line that it begins on."""

    number: int
    fields: tuple[str, ...]


def layout_of(content: bytes, where: str) -> Layout:
    """Find out how a file is written, from the whole of it or from its first some thousand bytes.

    Args:
        content: of the file.
        where: what errors call it.

    Raises:
        TextTableError: it is empty, or no text.
    """
    encoding, notes = _encoding_of(content)
    text = content.decode(encoding, "replace")
    if _BINARY.search(text) and "\0" in text:
        raise TextTableError(f"{where}: expected text, found binary data")
    stated = ""
    for n_skipped, line in enumerate(io.StringIO(text, newline="")):
        if found := _SEP_LINE.fullmatch(line):
            stated = found[1]
        elif line.strip():
            delimiter = stated or _delimiter_of(line)
            return Layout(encoding, delimiter, n_skipped, _fields(line, delimiter), notes)
    raise TextTableError(f"{where}: is empty")


def rows_of(content: bytes, where: str, layout: Layout | None = None) -> tuple[Layout, Iterator[Line]]:
    """How a file is written, and its rows, the first one (which may be a header) included; blank ones are left out.

    Args:
        content: the whole of it.
        where: what errors call it.
        layout: of the file, where it is known already.

    Raises:
        TextTableError: it is empty, no text, or not in the encoding that its first bytes state; while iterating, a row
            whose quotes don't end.
    """
    layout = layout or layout_of(content, where)
    return layout, _rows(text_of(content, layout, where), layout, where)


def text_of(content: bytes, layout: Layout, where: str) -> str:
    """All of a file's text; bytes of another encoding survive as `surrogateescape` has it.

    Raises:
        TextTableError: it is not in the encoding that its first bytes state.
    """
    try:
        return content.decode(layout.encoding, "surrogateescape")
    except UnicodeDecodeError as error:  # UTF-16 whose end is missing, say
        raise TextTableError(f"{where}: begins as {layout.encoding}, and is not: {error}; save it as UTF-8") from None


def number_of(text: str) -> float:
    """A number; NaN where the field says that there is none.

    Raises:
        TextTableError: it is none.
        DecimalCommaError: it is written with a decimal comma.
    """
    if text.strip().lower() in ("", "nan", "na", "none", "null"):
        return float("nan")
    try:
        return float(text)
    except ValueError:
        if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", text):
            raise DecimalCommaError(text) from None
        raise TextTableError(f"expected a number, found {text[:80]!r}") from None


def _rows(text: str, layout: Layout, where: str) -> Iterator[Line]:
    lines = io.StringIO(text, newline="")
    for _ in range(layout.n_skipped):
        lines.readline()
    if layout.delimiter is None:
        for number, line in enumerate(lines, layout.n_skipped + 1):
            if line.strip():
                yield Line(number, tuple(line.split()))
        return
    reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
    began = layout.n_skipped + 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield Line(began, tuple(field.strip() for field in fields))
            began = layout.n_skipped + reader.line_num + 1
    except csv.Error as error:
        raise TextTableError(f"{where}, line {began}: not a row of fields: {error}") from None


def _encoding_of(content: bytes) -> tuple[str, tuple[str, ...]]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding, ()
    even, odd = content[0::2], content[1::2]
    # In UTF-16 without a mark, plain letters have a zero byte each: before them or behind them.
    if odd and odd.count(0) > len(odd) // 2:
        return "utf-16-le", ("read as UTF-16, which it does not state",)
    if even and even.count(0) > len(even) // 2:
        return "utf-16-be", ("read as UTF-16, which it does not state",)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)  # a character may be cut at the end of a first part
    except UnicodeDecodeError:
        # A file list may hold one name of another encoding: that is no reason to misread all the others.
        text = content.decode("utf-8", "surrogateescape")
        n_stray = len(re.findall("[\udc80-\udcff]", text))
        if len(re.findall("[\x80-\ud7ff\ue000-\U0010ffff]", text)) > n_stray:
            return "utf-8", (f"{n_stray:,} bytes in it are not UTF-8",)
        return "latin-1", ("read as Latin-1: it is not UTF-8",)
    return "utf-8", ()


def _delimiter_of(line: str) -> str | None:
    outside_quotes = re.sub(r'"[^"]*"', "", line)
    return next((mark for mark in DELIMITERS if mark in outside_quotes), None)


def _fields(line: str, delimiter: str | None) -> tuple[str, ...]:
    if delimiter is None:
        return tuple(line.split())
    return tuple(field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))
