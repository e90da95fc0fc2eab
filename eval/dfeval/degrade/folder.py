"""A labelled folder in, one degraded copy of it for each condition out, with a protocol that says which is which.

DIR/<condition>/….flac   mono, 16 kHz, 16 bits
DIR/protocol.csv         utt_id, label, condition, path, original, and every other column of the protocol
DIR/errors.csv           what could not be made, and why; only where there is such a thing
DIR/degrade.json         seed, versions, digests of the protocol, the conditions and what each came to
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.random import Generator

from dfeval.degrade import audio
from dfeval.degrade.codecs import versions
from dfeval.degrade.effects import in_room
from dfeval.degrade.kinds import KINDS, RIR, RIR_MEANING, Condition
from dfeval.errors import EvalError
from dfeval.ids import AUDIO_EXTENSIONS, NONE, SEVERAL, match
from dfeval.metrics.eer import Floats
from dfeval.protocols import Protocol
from dfeval.provenance import input_of, version_of

SCHEMA = "dfserve-degrade-1"
OWN_COLUMNS = ("utt_id", "label", "condition", "path", "original")
ERROR_COLUMNS = ("path", "utt_id", "condition", "error")
PACKAGES = ("numpy", "scipy", "soundfile", "soxr")


@dataclass(frozen=True)
class Recording:
    """One trial's recording: its row in the protocol's table, its id, its file, and the copy's path in a folder."""

    row: int
    utt_id: str
    path: Path
    copy: str


@dataclass(frozen=True)
class Copy:
    """What became of a recording in a condition (None: in all): too loud and turned down, or an error and none made."""

    recording: Recording
    condition: str | None
    is_turned_down: bool = False
    error: str = ""


@dataclass(frozen=True)
class Degraded:
    """What a run made."""

    n_recordings: int
    n_written: int
    n_errors: int
    notes: tuple[str, ...]


def degrade(
    folder: Path,
    protocol: Protocol,
    out: Path,
    conditions: Sequence[Condition],
    *,
    seed: int = 0,
    rirs: Sequence[Path] = (),
    advance: Callable[[int], None] = lambda _total: None,
) -> Degraded:
    """Make degraded copies of the recordings in a folder that are trials.

    Args:
        folder: with its subfolders; which file is which trial, `dfeval.ids` says.
        protocol: of the trials.
        out: a folder that is not there or empty, and neither in `folder` nor around it.
        conditions: of `kinds.conditions_of`.
        seed: of all that is drawn by chance; each recording and condition has draws of its own, whatever else is made.
        rirs: files of room responses; where there are some, there is a condition `rir` besides.
        advance: is told the number of recordings, once for each that is done.

    Raises:
        EvalError: a folder that can't be used, no recording of the protocol's, a response that can't be read, or
            nothing that could be written.
    """
    _check_folders(folder, out)
    rooms = [_room(path) for path in rirs]
    recordings, lost, notes = _recordings(folder, protocol)
    names = [condition.name for condition in conditions] + [RIR] * bool(rooms)
    makers = {one.name: one.apply for one in conditions} | ({RIR: _in_one_of(rooms)} if rooms else {})
    copies = [*lost]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for made in _made(recordings, out, makers, seed):
            copies += made
            advance(len(recordings))
        written = [one for one in copies if not one.error]
        errors = [one for one in copies if one.error]
        if errors:
            _write_csv(out / "errors.csv", ERROR_COLUMNS, map(_error_row, errors))
        if not written:
            raise EvalError(f"{out}: nothing could be made; {out / 'errors.csv'} says why, first: {errors[0].error}")
        _write_protocol(out / "protocol.csv", protocol, written, names)
        about = _about(protocol, conditions, rirs, copies, seed)
        (out / "degrade.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise EvalError(f"{error.filename or out}: can't be written: {error.strerror or error}") from error
    return Degraded(len(recordings), len(written), len(errors), tuple(notes))


def _check_folders(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise EvalError(f"{folder}: expected a folder of recordings, found {'a file' if folder.exists() else 'none'}")
    source, target = folder.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise EvalError(f"--out {out} is in {folder} or around it: the input is left alone, choose a folder beside it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EvalError(f"--out {out}: expected a new or an empty folder, found one that has something in it")


def _recordings(folder: Path, protocol: Protocol) -> tuple[list[Recording], list[Copy], list[str]]:
    """The recordings of the protocol's trials, the trials that have none, and what is to be known besides."""
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file()
    )
    ids = [str(utt_id) for utt_id in protocol.table["utt_id"]]
    rows = match(files, ids)
    of_row: dict[int, str] = {}
    for name, row in zip(files, rows.tolist(), strict=True):
        if row >= 0 and protocol.in_phase[row]:
            of_row.setdefault(row, name)
    if not of_row:
        found = f"{len(files):,} recordings, such as {files[0]}" if files else "no audio file"
        raise EvalError(f"{folder}: expected recordings of the trials in {protocol.description}, found {found}")
    # Two files that differ in their suffix alone would be one copy.
    stems = Counter(PurePosixPath(name).with_suffix("") for name in of_row.values())
    recordings = [
        Recording(row, ids[row], folder / of_row[row], _name_of_copy(of_row[row], stems)) for row in sorted(of_row)
    ]
    wanting = [row for row in np.flatnonzero(protocol.in_phase).tolist() if row not in of_row]
    lost = [
        Copy(Recording(row, ids[row], Path(), ""), None, error=f"no recording in {folder} has this id")
        for row in wanting
    ]
    n_matched = sum(row >= 0 and bool(protocol.in_phase[row]) for row in rows.tolist())
    counts = (
        (n_matched - len(of_row), "recordings of a trial that has one already: the first by name counts"),
        (int((rows == SEVERAL).sum()), "recordings fit several trials and are left out"),
        (int((rows == NONE).sum()), "recordings are no trial's"),
    )
    return recordings, lost, [f"{count:,} {text}" for count, text in counts if count]


def _name_of_copy(name: str, stems: Counter[PurePosixPath]) -> str:
    stem = PurePosixPath(name).with_suffix("")
    return f"{stem if stems[stem] == 1 else name}.flac"


def _made(
    recordings: Sequence[Recording], out: Path, makers: dict[str, Callable[[Floats, Generator], Floats]], seed: int
) -> Iterator[list[Copy]]:
    """The copies of each recording, in the recordings' order; in threads, since codecs and filters leave Python."""

    def make(recording: Recording) -> list[Copy]:
        try:
            waveform = audio.read(recording.path)
        except EvalError as error:
            return [Copy(recording, None, error=str(error))]
        copies = []
        for name, apply in makers.items():
            try:
                degraded = apply(waveform, _random(seed, name, recording.utt_id))
            except EvalError as error:
                copies.append(Copy(recording, name, error=str(error)))
                continue
            is_turned_down = audio.write(out / name / recording.copy, degraded)
            copies.append(Copy(recording, name, is_turned_down))
        return copies

    pool = ThreadPoolExecutor(cpu_count() or 1, "dfeval-degrade")
    try:
        yield from pool.map(make, recordings)
    finally:
        pool.shutdown(cancel_futures=True)


def _random(seed: int, condition: str, utt_id: str) -> Generator:
    name = f"{seed}\0{condition}\0{utt_id}".encode("utf-8", "surrogateescape")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest()))


def _room(path: Path) -> Floats:
    if not path.is_file():
        raise EvalError(f"--rir {path}: expected a recording of a room's response, found no such file")
    try:
        response = audio.read(path)
    except EvalError as error:
        raise EvalError(f"--rir {path}: {error}") from None
    if not np.any(response):
        raise EvalError(f"--rir {path}: expected a room's response, found silence")
    return response


def _in_one_of(rooms: Sequence[Floats]) -> Callable[[Floats, Generator], Floats]:
    return lambda waveform, random: in_room(waveform, rooms[int(random.integers(len(rooms)))])


def _write_protocol(path: Path, protocol: Protocol, written: Sequence[Copy], names: Sequence[str]) -> None:
    """The rows of every copy, a condition after the other; other columns that have one of our names get another."""
    theirs = [name for name in protocol.table.columns if name not in ("utt_id", "label")]
    header = [*OWN_COLUMNS, *(f"{name} (before)" if name in OWN_COLUMNS else name for name in theirs)]
    labels = protocol.table["label"].tolist()
    others = list(zip(*(protocol.table[name].astype(str) for name in theirs), strict=True)) if theirs else []
    rank = {name: index for index, name in enumerate(names)}

    def rows() -> Iterator[list[str]]:
        for one in sorted(written, key=lambda one: (rank[str(one.condition)], one.recording.row)):
            recording, name = one.recording, str(one.condition)
            own = [f"{name}/{recording.utt_id}", labels[recording.row], name, f"{name}/{recording.copy}"]
            yield [*own, recording.utt_id, *(others[recording.row] if others else ())]

    _write_csv(path, header, rows())


def _error_row(copy: Copy) -> list[str]:
    path = str(copy.recording.path) if copy.recording.copy else ""
    return [path, copy.recording.utt_id, copy.condition or "", copy.error]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _about(
    protocol: Protocol, conditions: Sequence[Condition], rirs: Sequence[Path], copies: Sequence[Copy], seed: int
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            "condition": one.name,
            "kind": one.kind,
            "value": one.value,
            "unit": KINDS[one.kind].unit,
            "meaning": KINDS[one.kind].meaning,
        }
        for one in conditions
    ]
    if rirs:
        rows.append({"condition": RIR, "kind": RIR, "value": None, "unit": "", "meaning": RIR_MEANING})
    for row in rows:
        own = [one for one in copies if one.condition == row["condition"]]
        row["n_written"] = sum(not one.error for one in own)
        row["n_errors"] = sum(bool(one.error) for one in own)
        row["n_turned_down"] = sum(one.is_turned_down for one in own)
    return {
        "schema": SCHEMA,
        "seed": seed,
        "versions": {name: version_of(name) for name in ("dfserve", *PACKAGES)} | versions(),
        "protocol": protocol.description,
        "inputs": [*(input_of("protocol", path) for path in protocol.paths), *(input_of(RIR, path) for path in rirs)],
        "recordings": len({one.recording.row for one in copies if one.recording.copy}),
        "without_copy": sum(one.condition is None for one in copies),
        "conditions": rows,
    }
