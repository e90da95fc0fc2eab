"""Protocols: which trial is bona fide, which is spoof, and what is known of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.errors import ProtocolError
from dfeval.formats import ALL_PHASES, FORMATS, ID_COLUMNS, LABELS, ProtocolFormat


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
    """

    table: pd.DataFrame
    in_phase: NDArray[np.bool_]
    format: ProtocolFormat
    paths: tuple[Path, ...]
    phase: str
    phase_counts: Mapping[str, int]
    n_duplicate: int

    @property
    def description(self) -> str:
        """The data set and phase in words: every figure is shown with it."""
        names = " + ".join(path.name for path in self.paths)
        if self.format.phase_column is None or not self.phase_counts:
            return f"{self.format.title} {names}"
        return f"{self.format.title} {names}, {self.format.phase_column} {self.phase}"

    @property
    def groups(self) -> tuple[str, ...]:
        """The columns that figures are broken down by when nobody asks for others."""
        return tuple(column for column in self.format.groups if column in self.table.columns)


def load_protocol(paths: Path | Sequence[Path], format_name: str, phase: str | None = None) -> Protocol:
    """Read a protocol.

    Args:
        paths: a file, or several for data sets that keep bona fide and synthetic trials apart (BRSpeech-DF).
        format_name: a key of ``FORMATS``.
        phase: whose trials are evaluated; without one, those of the format's default.

    Raises:
        ProtocolError: unreadable file, missing column, unknown label or phase, one id with two labels.
    """
    if format_name not in FORMATS:
        raise ProtocolError(f"protocol format {format_name!r} is unknown; known are {', '.join(FORMATS)}")
    files = (paths,) if isinstance(paths, Path) else tuple(paths)
    spec = FORMATS[format_name]
    table = pd.concat([_read(path, spec) for path in files], ignore_index=True) if files[1:] else _read(files[0], spec)
    table["label"] = _labels(table["label"], files, spec)
    table, n_duplicate = _drop_duplicates(table, files)
    in_phase, chosen, counts = _select_phase(table, spec, phase, files)
    return Protocol(table, in_phase, spec, files, chosen, counts, n_duplicate)


def _read(path: Path, spec: ProtocolFormat) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            first_line = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path}: can't be read as a protocol: {error}") from error
    if not first_line.strip():
        raise ProtocolError(f"{path}: is empty; expected a protocol of {spec.title}")
    headed = not spec.columns or (spec.header_word is not None and spec.header_word in first_line.split())
    table = _parse(path, spec, headed, len(first_line.split()))
    missing = [column for column in ("utt_id", "label") if column not in table.columns]
    if missing:
        wanted = [next((theirs for theirs, ours in spec.rename.items() if ours == name), name) for name in missing]
        raise ProtocolError(
            f"{path}: expected the column{'s' * (len(wanted) > 1)} {', '.join(wanted)} of {spec.title}, "
            f"found {', '.join(map(str, table.columns))}; is it another --protocol-format?"
        )
    return table


def _parse(path: Path, spec: ProtocolFormat, headed: bool, n_fields: int) -> pd.DataFrame:
    names: list[str] | None = None
    if not headed:
        # Older releases of a protocol have fewer columns at the end; the label must be among those there are.
        if not spec.columns.index("label") < n_fields <= len(spec.columns):
            raise ProtocolError(
                f"{path}: expected the {len(spec.columns)} fields of {spec.title} "
                f"({' '.join(spec.columns)}), found {n_fields} in the first line; is it another --protocol-format?"
            )
        names = list(spec.columns[:n_fields])
    try:
        table = pd.read_csv(
            path,
            sep=spec.separator,
            header=0 if headed else None,
            names=names,
            index_col=False,
            dtype=defaultdict(lambda: "category", dict.fromkeys(ID_COLUMNS, "str")),
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except (ValueError, OSError) as error:
        raise ProtocolError(f"{path}: can't be parsed as {spec.title}: {error}") from error
    return table.rename(columns=dict(spec.rename))


def _labels(labels: "pd.Series[str]", files: Sequence[Path], spec: ProtocolFormat) -> pd.Categorical:
    values = labels.astype("category")
    known = {value: LABELS.get(str(value).strip().lower()) for value in values.cat.categories}
    unknown = [str(value) for value, label in known.items() if label is None]
    if unknown:
        raise ProtocolError(
            f"{_names(files)}: label {', '.join(map(repr, unknown[:5]))} is not one of {', '.join(LABELS)}; "
            f"is it a protocol of {spec.title}?"
        )
    return pd.Categorical(values.map(known))


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
