"""What can be scored: recordings of any kind, and the files, folders, `@lists` and manifests of a command line."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy.typing as npt

from dfclient.errors import InputError
from dfclient.listings import in_folder, is_listing, listed, local


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


def clips_from(arguments: Iterable[str], say: Callable[[str], None] | None = None) -> list[Clip]:
    """All clips that the arguments name, in order, each path once.

    An argument is an audio file, a folder (searched with its subfolders for files with an audio suffix, in sorted
    order), `@list.txt` (a path a line), a manifest `.csv` or `.tsv` with a column `path`, `file` or `filename` and, if
    you like, `utt_id` or `id`, or Kaldi's `wav.scp`; see `dfclient.listings`. A relative path in a list or manifest is
    looked for beside that file, then in the working directory. A file that does not exist is still a clip: scoring it
    reports the error.

    `utt_id` is the manifest's, else the file's stem, else (where clips share a stem) the path as given.

    Args:
        arguments: of a command line.
        say: takes notices: what a folder holds besides, how a list had to be read.

    Raises:
        InputError: a list or manifest can't be read, a folder holds no audio, or one name would stand for two clips.
    """
    named: dict[str, str] = {}  # path → the manifest's utt_id, or ""
    for argument in arguments:
        for path, utt_id in _expand(argument, say or _ignore):
            if named.setdefault(path, utt_id) != utt_id and utt_id:
                raise InputError(f"{path}: listed twice, as {named[path]!r} and as {utt_id!r}")
    stems = Counter(Path(path).stem for path in named)
    clips = [Clip(path, utt_id or _unique_name(path, stems)) for path, utt_id in named.items()]
    utt_id, count = Counter(clip.utt_id for clip in clips).most_common(1)[0] if clips else ("", 1)
    if count > 1:
        paths = ", ".join([clip.path for clip in clips if clip.utt_id == utt_id][:3])
        raise InputError(f"utt_id {utt_id!r} names {count} clips, expected one: {paths}")
    return clips


def _unique_name(path: str, stems: Counter[str]) -> str:
    stem = Path(path).stem
    return stem if stems[stem] == 1 else path


def _expand(argument: str, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """(path, utt_id or "") of each clip behind one argument."""
    if os.path.isdir(argument):  # noqa: PTH112  # takes any name, also one that no file can have
        yield from ((path, "") for path in in_folder(argument, say))
    elif argument.startswith("@"):
        yield from listed(argument[1:], say)
    elif is_listing(argument):
        yield from listed(argument, say)
    else:
        yield local(argument), ""


def _ignore(_notice: str) -> None:
    return
