"""Tables of text into pandas.

`dfcontract.text_table` finds out how a file is written, pandas reads its 600,000 rows.
"""

import io
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from dfcontract.text_table import ID_NAMES, Layout, Line, TextTableError, layout_of, rows_of
from dfeval.unpacking import as_text

START_BYTES = 65_536  # enough to find out how a file is written
MAX_FILE_BYTES = 4 << 30  # the largest published score file has 50 MB
# `utt_id` and the published data sets' own names first: a file may have a `path` or an `id` that mean something else.
ID_COLUMNS = tuple(dict.fromkeys(("utt_id", "filename", "trial_anon", "file", *ID_NAMES)))
WHITESPACE = r"\s+"


class RaggedRowError(TextTableError):
    """A row that has more fields than the first one."""


@dataclass(frozen=True)
class Table:
    """A file whose layout is known.

    Attributes:
        path: of the file.
        layout: of its text.
        is_headed: whether its first row names the columns.
        start: its first `START_BYTES`.
        content: all of its text, where the file itself is packed (see `dfeval.unpacking`); else None.
        n_added: lines at the start of the text that a packed file does not have.
    """

    path: Path
    layout: Layout
    is_headed: bool
    start: bytes
    content: bytes | None = None
    n_added: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed of its encoding."""
        return tuple(f"{self.path.name}: {note}" for note in self.layout.notes)

    def by_whitespace(self) -> "Table":
        """The same file with the delimiter that was found in it taken for a part of its fields."""
        text = self.start.decode(self.layout.encoding, "replace")
        first = next(islice(io.StringIO(text, newline=""), self.layout.n_skipped, None))
        return replace(self, layout=replace(self.layout, delimiter=None, first=tuple(first.split())))

    def first_lines(self, n_lines: int) -> list[Line]:
        """At most its first `n_lines` rows, a header included."""
        text = self.start.decode(self.layout.encoding, "replace")
        whole = text[: text.rfind("\n") + 1] if len(self.start) == START_BYTES else text
        return list(islice(self._rows_of(whole), n_lines))

    def lines(self) -> Iterator[Line]:
        """Its rows without a header, read one by one: slow, but each knows its line."""
        content = self.path.read_bytes() if self.content is None else self.content
        text = content.decode(layout_of(content, str(self.path)).encoding, "replace")
        rows = islice(self._rows_of(text), int(self.is_headed), None)
        return (replace(line, number=line.number - self.n_added) for line in rows)

    def _rows_of(self, text: str) -> Iterator[Line]:
        return rows_of(text.encode(), str(self.path), replace(self.layout, encoding="utf-8"))[1]

    def read(
        self, columns: Sequence[int], dtypes: Mapping[int, str], na_values: Mapping[Any, Sequence[str]] | None = None
    ) -> tuple[pd.DataFrame, "Table"]:
        """Columns by their places, and the table as it was read: its encoding may show only far behind the start.

        Raises:
            RaggedRowError: a row has more fields than the first one.
            TextTableError: there is no row below the header.
            ValueError: a field is not of its type, or a quote doesn't end.
        """
        if not self._has_rows():  # pandas has no columns of such a file, and fails on their types
            raise TextTableError(f"{self.path}: has a header and no row below it")
        try:
            return self._read(columns, dtypes, na_values, "strict"), self
        except UnicodeDecodeError:
            content = self.path.read_bytes() if self.content is None else self.content
            found = layout_of(content, str(self.path))
            whole = replace(self, layout=replace(self.layout, encoding=found.encoding, notes=found.notes))
            return whole._read(columns, dtypes, na_values, "replace"), whole

    def _has_rows(self) -> bool:
        below = self.start.decode(self.layout.encoding, "replace").splitlines()
        below = below[self.layout.n_skipped + int(self.is_headed) :]
        return len(self.start) == START_BYTES or any(line.strip() for line in below)

    def _open(self, encoding_errors: str) -> TextIO:
        if self.content is None:
            return self.path.open(encoding=self.layout.encoding, errors=encoding_errors, newline="")
        return io.TextIOWrapper(io.BytesIO(self.content), self.layout.encoding, encoding_errors, newline="")

    def _read(
        self,
        columns: Sequence[int],
        dtypes: Mapping[int, str],
        na_values: Mapping[Any, Sequence[str]] | None,
        encoding_errors: str,
    ) -> pd.DataFrame:
        n_fields = len(self.layout.first)
        beyond = n_fields  # pandas passes over surplus fields in silence, so one column more is read to see them
        with self._open(encoding_errors) as file:
            for _ in range(self.layout.n_skipped + int(self.is_headed)):
                file.readline()
            mark = self.layout.delimiter or " "
            header = mark.join(map(str, range(n_fields + 1))) + "\n"
            table = pd.read_csv(
                _UnderHeader(file, header),
                sep=self.layout.delimiter or WHITESPACE,
                header=0,
                names=range(n_fields + 1),
                usecols=[*columns, beyond],
                index_col=False,
                dtype={**dtypes, beyond: "category"},
                skipinitialspace=True,
                keep_default_na=False,
                na_values=na_values or {},
            )
        if any(table[beyond].cat.categories):
            raise RaggedRowError(f"{self.path}: rows have more than the {n_fields} fields of the first one")
        table = table.drop(columns=beyond)
        if self.layout.delimiter is not None:
            for place, dtype in dtypes.items():
                if dtype == "str":
                    table[place] = pd.Series(list(map(str.strip, table[place].tolist())), dtype="str")
        return table


class _UnderHeader(io.TextIOBase):
    """A file behind a header of our own: pandas refuses to read a column that neither header nor rows have."""

    def __init__(self, file: TextIO, header: str) -> None:
        self._file, self._header = file, header

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        header, self._header = self._header, ""
        return header or self._file.read(-1 if size is None else size)


def check_file(path: Path) -> None:
    """Refuse what can't be read to its end, and more than once: a device may have none, a pipe is read once.

    Raises:
        OSError: it is not there.
        TextTableError: no file, or too large a one.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise TextTableError(f"{path}: expected a file, found a folder, a pipe or a device")
    if status.st_size > MAX_FILE_BYTES:
        raise TextTableError(
            f"{path}: expected at most {MAX_FILE_BYTES >> 30} GiB, found {status.st_size / (1 << 30):.1f}"
        )


def open_table(path: Path, headers: Sequence[str]) -> Table:
    """Find out how a file is written; its first row is a header where it has one of the names `headers`.

    Raises:
        OSError: it can't be read.
        TextTableError: it is empty, no text, damaged, or no file that ends.
    """
    check_file(path)
    packed = as_text(path)
    if packed is not None:
        start = packed.content[:START_BYTES]
    else:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    layout = layout_of(start, str(path))
    content, n_added = (packed.content, packed.n_added) if packed else (None, 0)
    return Table(path, layout, layout.column(headers) is not None, start, content, n_added)


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, the repeated ones numbered as pandas numbers them: ``a``, ``a.1``."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        numbered.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return numbered
