"""Score files of each kind into a table: text with or without a header, JSON, Parquet, and research code's pickles.

A reader returns the columns ``utt_id`` and ``score``, those of `RUN_NAMES` that the file has, and ``path`` where ids
repeat and it is known. Rows that can't be read are left out and named in the notes; a score that is absent is NaN.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dfcontract.score_file import RUN_NAMES
from dfcontract.text_table import DecimalCommaError, Line, TextTableError, number_of
from dfeval.errors import ScoreFileError
from dfeval.pickles import MAGICS, read_pickle
from dfeval.tables import ID_COLUMNS, Table, check_file, open_table
from dfeval.unpacking import JSON_START, of_json, start_of

SCORE_COLUMNS = ("score", "cm-score", "cm_score")
# Read as NaN; `number_of` knows the same words in any case.
NO_SCORE = ("", "nan", "NaN", "NAN", "NA", "na", "none", "None", "NONE", "null", "Null", "NULL")
N_SAMPLE = 100  # rows that tell what the columns of a file without header are
N_EXAMPLES = 3
EXPECTED = "expected CSV with the header utt_id,score or lines of 'id score'"
_ID_ADVICE = f"a column of ids named {', '.join(ID_COLUMNS[:-1])} or {ID_COLUMNS[-1]}"
# A decimal comma where nothing else in the row is a comma: `id 1,5` or `id;1,5`.
_LONE_DECIMAL_COMMA = re.compile(r"[^,]*[\s;|][+-]?\d+,\d+\s*")


@dataclass(frozen=True)
class ReadScores:
    """What a score file holds.

    Attributes:
        table: as the module says.
        column: the header's name of the scores; None in a file without a header, or of a kind that has no columns.
        is_rewritable: whether the file is what `dfcontract.score_file` rewrites: CSV with a header and commas.
        notes: what a reader of the figures should know.
        id_column: the header's name of the ids, or their number in a file without; None for a dict of scores.
    """

    table: pd.DataFrame
    column: str | None = None
    is_rewritable: bool = False
    notes: tuple[str, ...] = ()
    id_column: str | None = None


def read_scores(
    path: Path, score_column: str | None = None, id_column: str | None = None, with_paths: bool = False
) -> ReadScores:
    """Read a score file of any kind; its content says which it is, never its name.

    Args:
        path: of the file.
        score_column: a column's name; its number, from 1, in a file without header.
        id_column: the same of the ids; a file with a header that lacks it is read by the names that are known.
        with_paths: read the column ``path`` where there is one, also where ids don't repeat.

    Raises:
        ScoreFileError: it can't be read, is no score file, or leaves open which of its columns is the score.
    """
    try:
        check_file(path)
        start, content = start_of(path, 64)
        if start.startswith(MAGICS):
            return ReadScores(read_pickle(content or path.read_bytes(), path))
        if JSON_START.match(start):
            content = content or path.read_bytes()
            if of_json(content, str(path)) is None:
                return _read_json(content, path)
        return _read_text(path, score_column, id_column, with_paths)
    except OSError as error:
        raise ScoreFileError(f"{path}: can't be read: {error.strerror}") from error
    except TextTableError as error:
        raise ScoreFileError(str(error)) from error


def _read_text(path: Path, score_column: str | None, id_column: str | None, with_paths: bool) -> ReadScores:
    id_names = (id_column, *ID_COLUMNS) if id_column else ID_COLUMNS
    try:
        table = open_table(path, id_names)
    except TextTableError as error:
        raise ScoreFileError(
            f"{error}; expected a pickle, JSON, CSV with utt_id,score, or lines of 'id score'"
        ) from None
    if not table.is_headed:
        ids = _place_of_ids(table, id_column)
        table, score = _headless(table, score_column, ids)
        read = _read_columns(table, ids, score, with_paths)
        return replace(read, id_column=str(ids + 1))
    layout = table.layout
    score = _headed_score(table, score_column)
    ids = layout.column(id_names) or 0
    if ids == score:
        raise ScoreFileError(f"{path}: the column {layout.first[ids]!r} can't hold both the ids and the scores")
    read = _read_columns(table, ids, score, with_paths)
    is_plain_csv = table.content is None and layout.delimiter == "," and not layout.n_skipped
    is_plain_csv = is_plain_csv and not layout.encoding.startswith("utf-16")
    return ReadScores(read.table, layout.first[score], is_plain_csv, read.notes, layout.first[ids])


def _place_of_ids(table: Table, id_column: str | None) -> int:
    """In a file without a header: the first column, or the number that was given."""
    first = table.layout.first
    if id_column is None or not id_column.isdecimal():
        return 0
    if not 1 <= int(id_column) <= len(first):
        raise ScoreFileError(
            f"{table.path}: expected the number of one of its {len(first)} columns as --id-column, found {id_column}"
        )
    return int(id_column) - 1


def _headed_score(table: Table, score_column: str | None) -> int:
    names = table.layout.first
    if score_column in names:
        return names.index(score_column)
    wanted = (score_column,) if score_column else SCORE_COLUMNS
    found = table.layout.column(wanted)
    if found is None:
        raise ScoreFileError(
            f"{table.path}: expected a column {' or '.join(wanted)}, found {', '.join(names)}; "
            "name it with --score-column"
        )
    return found


def _headless(table: Table, score_column: str | None, ids: int) -> tuple[Table, int]:
    """The score is the one column of numbers besides the ids: ``id score``, or AASIST's ``id attack key score``."""
    _check_no_decimal_commas(table)
    numeric = [place for place in _numeric_columns(table) if place != ids]
    if not numeric and table.layout.delimiter is not None:
        table = table.by_whitespace()  # the delimiter was a part of an id
        numeric = [place for place in _numeric_columns(table) if place != ids]
    first = table.layout.first
    columns = ", ".join(f"{place} ({text})" for place, text in enumerate(first, 1))
    if score_column is not None:
        if not score_column.isdecimal() or int(score_column) - 1 not in set(range(len(first))) - {ids}:
            raise ScoreFileError(
                f"{table.path}: has no header with {_ID_ADVICE}: expected the number of a column beside the id as "
                f"--score-column, found {score_column!r}; the columns are {columns}"
            )
        numeric = [int(score_column) - 1]
    # A first row without a number is the header of unknown columns: what they mean is not guessed.
    if not numeric or not any(_is_number_or_none(first[place]) for place in numeric):
        raise ScoreFileError(f"{table.path}: {EXPECTED}, found {' '.join(first)[:80]!r}; a header has {_ID_ADVICE}")
    if len(numeric) > 1:
        raise ScoreFileError(
            f"{table.path}: expected one column of numbers, found {len(numeric)} and no header that names the score; "
            f"the columns are {columns}; name the score's number, higher = more bona fide, with --score-column"
        )
    return table, numeric[0]


def _numeric_columns(table: Table) -> list[int]:
    """Columns that hold more numbers than other words; words for 'no score' count as neither."""
    lines = table.first_lines(N_SAMPLE)
    places = range(len(table.layout.first))
    return [
        place for place in places if _holds_numbers([line.fields[place] for line in lines if place < len(line.fields)])
    ]


def _holds_numbers(texts: Sequence[str]) -> bool:
    balance = 0
    for text in texts:
        try:
            balance += not math.isnan(number_of(text))
        except DecimalCommaError:
            balance += 1  # refused with its line when it is read
        except TextTableError:
            balance -= 1
    return balance > 0


def _is_number_or_none(text: str) -> bool:
    try:
        number_of(text)
    except TextTableError as error:
        return isinstance(error, DecimalCommaError)
    return True


def _check_no_decimal_commas(table: Table) -> None:
    if table.layout.delimiter != ",":
        return
    lines = table.first_lines(N_SAMPLE)
    texts = [",".join(line.fields) for line in lines]
    if texts and all(_LONE_DECIMAL_COMMA.fullmatch(text) for text in texts):
        number = re.split(r"[\s;|]", texts[0].strip())[-1]
        raise ScoreFileError(f"{table.path}, line {lines[0].number}: {DecimalCommaError(number)}")


def _read_columns(table: Table, id_column: int, score: int, with_paths: bool) -> ReadScores:
    names = table.layout.first if table.is_headed else ()
    ours = {id_column: "utt_id", score: "score"}
    ours |= {names.index(name): name for name in RUN_NAMES if name in names and names.index(name) not in ours}
    path = names.index("path") if "path" in names and names.index("path") not in ours else None
    dtypes = dict.fromkeys(ours, "category") | {id_column: "str", score: "float64"}
    try:
        frame, table = table.read(list(ours), dtypes, {score: NO_SCORE})
        # 600,000 paths take a while: they are read where they matter.
        if path is not None and (with_paths or frame[id_column].duplicated().any()):
            ours[path] = "path"
            frame[path] = table.read([path], {path: "str"})[0][path]
        notes: tuple[str, ...] = ()
    except (ValueError, TextTableError):
        ours |= {} if path is None else {path: "path"}
        frame, notes = _read_carefully(table, list(ours), score)
    return ReadScores(frame.rename(columns=ours), notes=(*table.notes, *notes))


def _read_carefully(table: Table, places: Sequence[int], score: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Row by row, where pandas has refused a file: what can't be read is named by line and left out."""
    rows: list[dict[int, Any]] = []
    problems: list[str] = []
    for line in table.lines():
        try:
            value = _score_of(line, score, table)
        except DecimalCommaError as error:
            raise ScoreFileError(f"{table.path}, line {line.number}: {error}") from None
        except TextTableError as error:
            problems.append(f"line {line.number}: {error}")
            continue
        texts = {place: line.fields[place] if place < len(line.fields) else "" for place in places}
        rows.append({**texts, score: value})
    if not any(not math.isnan(row[score]) for row in rows):
        raise ScoreFileError(f"{table.path}: can't be read as scores: {problems[0] if problems else 'it has none'}")
    return pd.DataFrame(rows), _left_out(table.path, problems)


def _score_of(line: Line, score: int, table: Table) -> float:
    n_fields, fields = len(table.layout.first), line.fields
    if any(fields[n_fields:]):
        parts = fields[score : score + 2]
        if table.layout.delimiter == "," and len(fields) == n_fields + 1 and all(map(_is_whole, parts)):
            raise DecimalCommaError(",".join(parts))
        raise TextTableError(f"expected {n_fields} fields, found {len(fields)}")
    return number_of(fields[score]) if score < len(fields) else math.nan


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").removeprefix("+").isdecimal()


def _left_out(path: Path, problems: Sequence[str]) -> tuple[str, ...]:
    if not problems:
        return ()
    more = "; …" if len(problems) > N_EXAMPLES else ""
    examples = "; ".join(problems[:N_EXAMPLES])
    return (f"{path.name}: {len(problems):,} rows can't be read and are left out ({examples}{more})",)


def _read_json(content: bytes, path: Path) -> ReadScores:
    """An object of ids and scores."""
    advice = "expected JSON of {id: score}"
    pairs = json.loads(content, object_pairs_hook=tuple)  # a dict would drop ids that come twice
    if not isinstance(pairs, tuple) or not pairs:
        raise ScoreFileError(f"{path}: holds no scores; {advice}")
    rows: list[tuple[str, float]] = []
    problems: list[str] = []
    for utt_id, value in pairs:
        try:
            rows.append((utt_id, _json_number(value)))
        except DecimalCommaError as error:
            raise ScoreFileError(f"{path}: {utt_id}: {error}") from None
        except TextTableError as error:
            problems.append(f"{utt_id}: {error}")
    if not rows:
        raise ScoreFileError(f"{path}: can't be read as scores: {problems[0]}; {advice}")
    table = pd.DataFrame(rows, columns=["utt_id", "score"])
    return ReadScores(table, notes=_left_out(path, problems))


def _json_number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _as_float(value)
    if isinstance(value, str):
        return number_of(value)
    raise TextTableError("expected a number, found another kind of value")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise TextTableError("expected a number that a float can hold, found a whole number beyond it") from None
