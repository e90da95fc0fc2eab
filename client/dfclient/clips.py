"""What can be scored: recordings of any kind, and the files, folders, `@lists` and manifests of a command line."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy.typing as npt

from dfclient.audio.containers import AUDIO_SUFFIXES
from dfclient.errors import InputError


@dataclass(frozen=True)
class Clip:
    """One recording to score: where it is, and the name that its row goes by."""

    path: str
    utt_id: str


# A path, one with a name of its own, a file's content, a file opened for reading bytes, or (array, sample rate in Hz).
Recording = str | Path | Clip | bytes | BinaryIO | tuple[npt.ArrayLike, int]


def clip_of(recording: Recording, number: int) -> Clip:
    """The name that the `number`-th recording's row goes by; its path is "" where it has none."""
    if isinstance(recording, Clip):
        return recording
    if isinstance(recording, str | Path):
        return Clip(str(recording), Path(recording).stem)
    if isinstance(recording, tuple):
        return Clip("", f"array_{number}")
    return Clip("", f"bytes_{number}" if isinstance(recording, bytes) else f"file_{number}")


def clips_from(arguments: Iterable[str]) -> list[Clip]:
    """All clips that the arguments name, in order, each path once.

    An argument is an audio file, a folder (searched recursively for files with an audio suffix, in sorted order),
    `@list.txt` (a path a line; blank lines and lines that begin with # are skipped) or a manifest `.csv` with a column
    `path` and, if you like, `utt_id`. A relative path in a list or manifest is looked for beside that file, then in the
    working directory. A file that does not exist is still a clip: scoring it reports the error.

    `utt_id` is the manifest's, else the file's stem, else (where clips share a stem) the path as given.

    Raises:
        InputError: a list or manifest can't be read, a folder holds no audio, or one name would stand for two clips.
    """
    named: dict[str, str] = {}  # path → the manifest's utt_id, or ""
    for argument in arguments:
        for path, utt_id in _expand(argument):
            if named.setdefault(path, utt_id) != utt_id and utt_id:
                raise InputError(f"{path}: listed twice, as {named[path]!r} and as {utt_id!r}")
    stems = Counter(Path(path).stem for path in named)
    clips = [Clip(path, utt_id or _unique_name(path, stems)) for path, utt_id in named.items()]
    utt_id, count = Counter(clip.utt_id for clip in clips).most_common(1)[0] if clips else ("", 1)
    if count > 1:
        paths = ", ".join([clip.path for clip in clips if clip.utt_id == utt_id][:3])
        raise InputError(f"utt_id {utt_id!r} names {count} clips, expected one: {paths}")
    return clips


def is_listing(argument: str) -> bool:
    """Whether a file of that name is read as a manifest of recordings, rather than as one."""
    return Path(argument).suffix.lower() == ".csv"


def _unique_name(path: str, stems: Counter[str]) -> str:
    stem = Path(path).stem
    return stem if stems[stem] == 1 else path


def _expand(argument: str) -> Iterator[tuple[str, str]]:
    """(path, utt_id or "") of each clip behind one argument."""
    if argument.startswith("@"):
        listed = Path(argument[1:])
        yield from _manifest(listed) if listed.suffix.lower() == ".csv" else _list(listed)
    elif is_listing(argument):
        yield from _manifest(Path(argument))
    elif Path(argument).is_dir():
        yield from _folder(Path(argument))
    else:
        yield os.path.normpath(argument), ""


def _folder(folder: Path) -> Iterator[tuple[str, str]]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and not path.is_dir())
    if not found:
        raise InputError(f"{folder}: no audio files in this folder (looked for {' '.join(sorted(AUDIO_SUFFIXES))})")
    for path in found:
        yield str(path), ""


def _list(path: Path) -> Iterator[tuple[str, str]]:
    lines = [line.strip() for line in _read(path).splitlines()]
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries:
        raise InputError(f"{path}: expected a list of audio files, one path a line, found none")
    for entry in entries:
        yield _beside(path, entry), ""


def _manifest(path: Path) -> Iterator[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(_read(path)), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV: {error}") from None
    if "path" not in (reader.fieldnames or []):
        found = ", ".join(reader.fieldnames or []) or "an empty file"
        raise InputError(f"{path}: expected a manifest with a column 'path' (and maybe 'utt_id'), found: {found}")
    if not rows:
        raise InputError(f"{path}: the manifest has a header and no rows")
    for line, row in enumerate(rows, start=2):
        if not row["path"]:
            raise InputError(f"{path}, row {line}: the column 'path' is empty")
        yield _beside(path, row["path"]), row.get("utt_id") or ""


def _beside(listing: Path, entry: str) -> str:
    """`entry` as a path: absolute, or beside the listing, or as it stands (from the working directory)."""
    beside = listing.parent / entry
    return os.path.normpath(beside if beside.exists() or not Path(entry).exists() else entry)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror or error}") from None
