"""Tables that are no plain text, as text: gzip, JSON records and lines, columns as JSON, Parquet.

Everything becomes CSV with a header, or without where there is none, which `dfeval.tables` reads as it reads files.
"""

import csv
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfcontract.text_table import TextTableError
from dfeval.errors import ScoreFileError

MAX_UNPACKED_BYTES = 1 << 30  # a small file may unpack to any size; the largest published score file has 50 MB
GZIP_MAGIC, PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
JSON_START = re.compile(rb"(\xef\xbb\xbf)?\s*(\{\s*[\"}]|\[\s*[\[{\"\]])")
_CHUNK_BYTES = 1 << 20

Pairs = tuple[tuple[str, Any], ...]  # a JSON object: a dict would drop ids that come twice


@dataclass(frozen=True)
class Text:
    """A packed table as CSV.

    Attributes:
        content: UTF-8.
        n_added: lines at its start that the packed file does not have, so that rows are numbered as there.
    """

    content: bytes
    n_added: int = 0


def start_of(path: Path, size: int) -> tuple[bytes, bytes | None]:
    """A file's first bytes, unpacked where it is gzip, and then all of them; None for any other file."""
    with path.open("rb") as file:
        start = file.read(size)
    if not start.startswith(GZIP_MAGIC):
        return start, None
    content = _gunzip(path)
    return content[:size], content


def as_text(path: Path) -> Text | None:
    """What a packed file holds, as CSV; None where it is text, or nothing that is known here.

    Raises:
        OSError: it can't be read.
        TextTableError: it is damaged, too large, or JSON that holds no table.
    """
    start, content = start_of(path, 64)
    if start.startswith(PARQUET_MAGIC):
        return _of_parquet(path)
    if JSON_START.match(start):
        table = of_json(content if content is not None else path.read_bytes(), str(path))
        if table is not None:
            return table
    return None if content is None else Text(content)


def of_json(content: bytes, where: str) -> Text | None:
    """JSON records, lines or columns as CSV; None for an object of ids and values.

    Raises:
        TextTableError: no JSON, or none that holds a table.
    """
    try:
        whole = json.loads(content, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        rows = _lines(content)
        if rows is None:
            raise TextTableError(f"{where}: is no readable JSON ({error})") from None
        return _csv(rows)
    if isinstance(whole, list):
        return _of_list(whole, where)
    columns = [(name, _column(values)) for name, values in whole] if isinstance(whole, tuple) else []
    if columns and all(values is not None for _, values in columns):
        lengths = {len(values or ()) for _, values in columns}
        if len(lengths) > 1:
            raise TextTableError(f"{where}: expected columns of one length, found {sorted(lengths)} values")
        return _csv([tuple(zip(dict(columns), row, strict=True)) for row in zip(*dict(columns).values(), strict=True)])
    if columns and any(isinstance(value, str) and not _is_number(value) for _, value in whole):
        return _csv([whole])  # JSON lines that are one line: an object with an id
    return None


def _of_list(rows: list[Any], where: str) -> Text:
    if rows and all(isinstance(row, tuple) for row in rows):
        return _csv(rows)
    if rows and all(isinstance(row, list) for row in rows):
        return Text(_written(rows))
    raise TextTableError(f"{where}: holds a list; expected JSON of {{id: score}}, or a list of records with an id each")


def _lines(content: bytes) -> list[Pairs | str] | None:
    """The objects of JSON lines, and the text of those that can't be read; None where the first can't."""
    rows: list[Pairs | str] = []
    for line in content.decode("utf-8-sig", "replace").splitlines():
        try:
            row = json.loads(line, object_pairs_hook=tuple) if line.strip() else ()
        except (ValueError, RecursionError):
            row = line
        if not rows and not isinstance(row, tuple):
            return None
        rows.append(row if isinstance(row, tuple) else line)
    return rows if sum(isinstance(row, tuple) and bool(row) for row in rows) > 0 else None


def _csv(rows: Sequence[Pairs | str]) -> Text:
    """Records under a header of all their names; one that could not be read stands in each column, to be refused."""
    names = tuple(dict.fromkeys(name for row in rows if isinstance(row, tuple) for name, _ in row))
    values = (
        [row] * len(names) if isinstance(row, str) else list(map(dict(row).get, names)) if row else () for row in rows
    )
    return Text(_written([names, *values]), n_added=1)


def _written(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return " ".join(value.splitlines())  # a row is a line, so that its number is right
    return str(int(value)) if isinstance(value, bool) else repr(value)


def _column(values: Any) -> list[Any] | None:
    """The values of a column, as a list or as pandas writes one: an object of row numbers; None for anything else."""
    if isinstance(values, list):
        return values
    return [value for _, value in values] if isinstance(values, tuple) else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in ("", "na", "none", "null") or "," in text
    return True


def _gunzip(path: Path) -> bytes:
    unpacker, parts, size = zlib.decompressobj(wbits=31), [], 0
    with path.open("rb") as file:
        packed = file.read(_CHUNK_BYTES)
        while packed:
            try:
                part = unpacker.decompress(packed, MAX_UNPACKED_BYTES + 1 - size)
            except zlib.error as error:
                raise TextTableError(f"{path}: is damaged: {error}") from None
            parts.append(part)
            size += len(part)
            if size > MAX_UNPACKED_BYTES:
                raise TextTableError(f"{path}: unpacks to more than {MAX_UNPACKED_BYTES >> 20:,} MiB: unpack it first")
            if unpacker.eof and unpacker.unused_data.startswith(GZIP_MAGIC):  # several members, one after another
                packed, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
            else:
                packed = file.read(_CHUNK_BYTES)
                if unpacker.eof and packed.startswith(GZIP_MAGIC):
                    unpacker = zlib.decompressobj(wbits=31)
    if not unpacker.eof:
        raise TextTableError(f"{path}: is cut short: its gzip data have no end")
    return b"".join(parts)


def _of_parquet(path: Path) -> Text:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ScoreFileError(f"{path}: is Parquet, which needs pyarrow; pip install 'dfserve[parquet]'") from None
    import pandas as pd

    try:
        table: pd.DataFrame = pyarrow.parquet.read_table(path).to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TextTableError(f"{path}: can't be read as Parquet: {error}") from None
    table = table if table.index.name is None else table.reset_index()
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return Text(_written([list(map(str, table.columns)), *rows]), n_added=1)
