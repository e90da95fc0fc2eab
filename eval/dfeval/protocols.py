"""Protocols: which trial is bona fide, which is spoof, and what is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfcontract.text_table import TextTableError
from dfeval.conditions import met
from dfeval.errors import EvalError, ProtocolError
from dfeval.formats import ALL_PHASES, BONAFIDE, FORMATS, LABELS, NUMERIC_LABELS, PLAIN_LABELS, SPOOF, ProtocolFormat
from dfeval.tables import ID_COLUMNS, RaggedRowError, Table, distinct, open_table


@dataclass(frozen=True)
class ProtocolColumns:
    """What a protocol's columns are called, and what its labels mean, where it goes by no known names.

    Attributes:
        ids: the header's name of the ids; a file that lacks it is read by the names that are known.
        label: the header's name of the labels.
        bonafide: the one label that is bona fide; every other is spoof.
    """

    ids: str | None = None
    label: str | None = None
    bonafide: str | None = None


@dataclass(frozen=True)
class Protocol:
    """The trials of a data set.

    Attributes:
        table: ``utt_id``, ``label`` (bonafide, spoof) and the format's other columns; every phase, so that a score of
            another phase is not taken for a stray.
        in_phase: marks the trials to evaluate, a boolean a row.
        format: of the files.
        paths: the files.
        phase: which is evaluated.
        phase_counts: how many trials each phase has; empty where there are no phases.
        n_duplicate: lines that repeat a trial.
        notes: what was guessed: an encoding, or which class a label such as 1 stands for.
        id_columns: the names of the files' ids, where they have a header.
        conditions: which rows alone count, as in ``codec=C05``.
        columns: what was said of their names.
    """

    table: pd.DataFrame
    in_phase: NDArray[np.bool_]
    format: ProtocolFormat
    paths: tuple[Path, ...]
    phase: str
    phase_counts: Mapping[str, int]
    n_duplicate: int
    notes: tuple[str, ...] = ()
    id_columns: tuple[str | None, ...] = ()
    conditions: tuple[str, ...] = ()
    columns: ProtocolColumns = field(default_factory=ProtocolColumns)

    @property
    def format_name(self) -> str:
        """The key of its format."""
        return next(name for name, spec in FORMATS.items() if spec is self.format)

    @property
    def description(self) -> str:
        """The data set and phase in words: every figure is shown with it."""
        parts = [f"{self.format.title} {' + '.join(path.name for path in self.paths)}"]
        if self.format.phase_column is not None and self.phase_counts:
            parts.append(f"{self.format.phase_column} {self.phase}")
        return ", ".join([*parts, *(f"where {condition}" for condition in self.conditions)])

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns that figures are broken down by when nobody asks for others."""
        return tuple(column for column in self.format.groups if column in self.table.columns)


def load_protocol(
    paths: Path | Sequence[Path],
    format_name: str,
    phase: str | None = None,
    *,
    columns: ProtocolColumns | None = None,
    where: Sequence[str] = (),
) -> Protocol:
    """Read a protocol.

    Args:
        paths: a file, or several for data sets that keep bona fide and synthetic trials apart (BRSpeech-DF).
        format_name: a key of ``FORMATS``.
        phase: whose trials are evaluated; without one, those of the format's default.
        columns: what they are called, where the format does not say it.
        where: conditions that a trial must meet to be evaluated (see `dfeval.conditions`).

    Raises:
        ProtocolError: unreadable file, missing column, unknown label or phase, one id with two labels.
        EvalError: a condition that can't be understood, or that no trial meets.
    """
    if format_name not in FORMATS:
        raise ProtocolError(f"protocol format {format_name!r} is unknown; known are {', '.join(FORMATS)}")
    files = (paths,) if isinstance(paths, Path) else tuple(paths)
    spec = FORMATS[format_name]
    named = columns or ProtocolColumns()
    read = [_read(path, spec, named) for path in files]
    table = pd.concat([part.frame for part in read], ignore_index=True) if files[1:] else read[0].frame
    table["label"], meanings = _labels(table["label"], files, spec, named.bonafide)
    table, n_duplicate = _drop_duplicates(table, files)
    in_phase, chosen, counts = _select_phase(table, spec, phase, files)
    for condition in where:
        in_phase = in_phase & met(condition, table)
    if not in_phase.any():
        raise EvalError(f"{_names(files)}: no trial of the phase {chosen!r} is {' and '.join(where)}")
    notes = (*meanings, *(note for part in read for note in part.notes))
    ids = tuple(part.ids for part in read)
    return Protocol(table, in_phase, spec, files, chosen, counts, n_duplicate, notes, ids, tuple(where), named)


@dataclass(frozen=True)
class _File:
    """One file's columns under our names, what was guessed of its encoding, and its own name of the ids."""

    frame: pd.DataFrame
    notes: tuple[str, ...]
    ids: str | None


def _read(path: Path, spec: ProtocolFormat, named: ProtocolColumns) -> _File:
    try:
        table = open_table(path, (*filter(None, (named.ids, named.label)), *_headers(spec)))
    except OSError as error:
        raise ProtocolError(f"{path}: can't be read as a protocol: {error.strerror}") from error
    except TextTableError as error:
        raise ProtocolError(f"{error}; expected a protocol of {spec.title}") from error
    names = _names_of_columns(table, spec, named)
    ids = names.index("utt_id")
    try:
        frame, table = table.read(range(len(names)), dict.fromkeys(range(len(names)), "category") | {ids: "str"})
    except RaggedRowError as error:
        lines = (line for line in table.lines() if any(line.fields[len(names) :]))
        places = [f"; line {line.number} has {len(line.fields)}" for line in islice(lines, 1)]
        raise ProtocolError(f"{error}{''.join(places)}") from error
    except TextTableError as error:
        raise ProtocolError(f"{error}; expected a protocol of {spec.title}") from error
    except (ValueError, OSError) as error:
        raise ProtocolError(f"{path}: can't be parsed as {spec.title}: {error}") from error
    return _File(frame.set_axis(names, axis=1), table.notes, table.layout.first[ids] if table.is_headed else None)


def _headers(spec: ProtocolFormat) -> tuple[str, ...]:
    """Names of which a header has at least one."""
    if spec.columns:
        return (spec.header_word,) if spec.header_word else ()
    return ("label", *spec.rename, *ID_COLUMNS)


def _names_of_columns(table: Table, spec: ProtocolFormat, named: ProtocolColumns) -> list[str]:
    layout = table.layout
    if spec.columns and not table.is_headed:
        # Older releases of a protocol have fewer columns at the end; the label must be among those there are.
        n_fields = len(layout.first)
        if not spec.columns.index("label") < n_fields <= len(spec.columns):
            raise ProtocolError(
                f"{table.path}: expected the {len(spec.columns)} fields of {spec.title} "
                f"({' '.join(spec.columns)}), found {n_fields} in the first line; is it another --protocol-format?"
            )
        return list(spec.columns[:n_fields])
    places: dict[int, str] = {}
    for ours, names in (
        ("utt_id", (*filter(None, [named.ids]), "utt_id", *_theirs(spec, "utt_id"), *ID_COLUMNS)),
        ("label", (named.label,) if named.label else ("label", *_theirs(spec, "label"))),
    ):
        place = layout.column(names)
        if place is not None:
            places[place] = ours
    if missing := [name for name in ("utt_id", "label") if name not in places.values()]:
        asked = {"utt_id": named.ids, "label": named.label}
        wanted = [asked[name] or next(iter(_theirs(spec, name)), name) for name in missing]
        raise ProtocolError(
            f"{table.path}: expected the column{'s' * (len(wanted) > 1)} {', '.join(wanted)} of {spec.title}, "
            f"found {', '.join(layout.first)}; is it another --protocol-format, or are they called by "
            "other names (--id-column, --label-column)?"
        )
    others = [spec.rename.get(name, name) for name in layout.first]
    return distinct(
        [
            places.get(place, f"{name} (other)" if name in ("utt_id", "label") else name)
            for place, name in enumerate(others)
        ]
    )


def _theirs(spec: ProtocolFormat, ours: str) -> tuple[str, ...]:
    return tuple(name for name, renamed in spec.rename.items() if renamed == ours)


def _labels(
    labels: "pd.Series[str]", files: Sequence[Path], spec: ProtocolFormat, bonafide: str | None
) -> tuple[pd.Categorical, tuple[str, ...]]:
    """Each trial's class, and a note that says which class words other than the plain ones were taken for."""
    values = labels.astype("category")
    words = {value: str(value).strip().lower() for value in values.cat.categories}
    if bonafide is not None:
        if bonafide.strip().lower() not in words.values():
            raise ProtocolError(f"{_names(files)}: no label is {bonafide!r}; found {', '.join(map(str, words))}")
        chosen = {value: BONAFIDE if word == bonafide.strip().lower() else SPOOF for value, word in words.items()}
        note = f"labels are read: {', '.join(f'{value} as {label}' for value, label in chosen.items())}, as asked"
        return pd.Categorical(list(values.map(chosen))), (note,)
    meanings = NUMERIC_LABELS if set(words.values()) <= NUMERIC_LABELS.keys() else LABELS
    known = {value: meanings.get(word) for value, word in words.items()}
    unknown = [str(value) for value, label in known.items() if label is None]
    if unknown:
        raise ProtocolError(
            f"{_names(files)}: label {', '.join(map(repr, unknown[:5]))} is not one of {', '.join(LABELS)}, and not "
            f"all labels are {' or '.join(NUMERIC_LABELS)}; is it a protocol of {spec.title}?"
        )
    taken = [f"{value} as {known[value]}" for value, word in words.items() if word not in PLAIN_LABELS]
    advice = "; where that is the other way round: --bonafide-label 0" if meanings is NUMERIC_LABELS else ""
    notes = (f"labels are read: {', '.join(taken)}{advice}",) if taken else ()
    return pd.Categorical(values.map(known)), notes


def _select_phase(
    table: pd.DataFrame, spec: ProtocolFormat, phase: str | None, files: Sequence[Path]
) -> tuple[NDArray[np.bool_], str, dict[str, int]]:
    column = spec.phase_column
    everything = np.ones(len(table), dtype=bool)
    if column is None or column not in table.columns:
        if phase not in (None, ALL_PHASES):
            raise ProtocolError(f"{_names(files)}: {spec.title} has no phases here, but --phase {phase} was asked for")
        return everything, ALL_PHASES, {}
    counts = {str(name): int(count) for name, count in table[column].value_counts(sort=False).items()}
    chosen = phase or spec.default_phase
    if chosen == ALL_PHASES:
        return everything, chosen, counts
    if chosen not in counts:
        raise ProtocolError(
            f"{_names(files)}: no trial has the {column} {chosen!r}; found {', '.join(counts)}; "
            "choose one with --phase, or --phase all"
        )
    return (table[column] == chosen).to_numpy(dtype=bool), chosen, counts


def _drop_duplicates(table: pd.DataFrame, files: Sequence[Path]) -> tuple[pd.DataFrame, int]:
    repeated = table["utt_id"].duplicated()
    if not repeated.any():
        return table, 0
    both = table[table["utt_id"].duplicated(keep=False)].groupby("utt_id", observed=True)["label"].nunique()
    if (both > 1).any():
        raise ProtocolError(f"{_names(files)}: {both.idxmax()} is labelled both bona fide and spoof")
    return table[~repeated].reset_index(drop=True), int(repeated.sum())


def _names(files: Sequence[Path]) -> str:
    return " + ".join(map(str, files))
