"""Lists and manifests as people have them, and folders: which recordings they name.

    @list.txt      a path a line; blank lines and lines that begin with # are skipped
    manifest.csv   a table with a header (also .tsv): `path`, `file` or `filename`, and an id if you like
    wav.scp        Kaldi's `id path` lines

Encoding, delimiter and quotes are found out from the content, see `dfcontract.text_table`.
"""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from dfclient.audio.containers import AUDIO_SUFFIXES
from dfclient.audio.remote import is_remote
from dfclient.errors import InputError
from dfcontract.text_table import ID_NAMES, Layout, TextTableError, layout_of, rows_of, text_of

MANIFEST_SUFFIXES = (".csv", ".tsv")
KALDI_SUFFIX = ".scp"
PURE_IDS = ("utt_id", "id", "trial_anon")  # columns that name a recording and, beside another one, no file
FILE_NAMES = tuple(name for name in ID_NAMES if name not in PURE_IDS)
MAX_LISTING_BYTES = 1 << 30
# What macOS leaves beside the files of an archive or a foreign disc: no recordings, whatever they are called.
MAC_PREFIX, MAC_FOLDER = "._", "__MACOSX"

Named = tuple[str, str]  # a recording's path, and the id that it was given or ""
Say = Callable[[str], None]


def is_listing(argument: str) -> bool:
    """Whether a file of that name is read as a table of recordings, rather than as one."""
    return argument.lower().endswith((*MANIFEST_SUFFIXES, KALDI_SUFFIX))


def listed(listing: str, say: Say) -> Iterator[Named]:
    """The recordings that a list, manifest or Kaldi's wav.scp names; how it had to be read goes to `say`.

    Raises:
        InputError: it can't be read, or names none.
    """
    content = _read(listing)
    try:
        layout = layout_of(content, listing)
        for note in layout.notes:
            say(f"{listing}: {note}")
        is_table = listing.lower().endswith(MANIFEST_SUFFIXES) or _begins_with_header(layout)
        yield from _manifest(listing, content) if is_table else _list(listing, content, layout)
    except TextTableError as error:
        raise InputError(str(error)) from None


def in_folder(folder: str, say: Say) -> list[str]:
    """Paths of the audio files in a folder and its subfolders, sorted; what was passed over goes to `say`.

    Links to folders are followed, each folder is searched once: real ones first, so that a link into the same tree
    adds nothing.

    Raises:
        InputError: it holds none.
    """
    found: list[str] = []
    n_others = 0
    linked = deque([folder])
    searched: set[tuple[int, int]] = set()
    while linked:
        stack = [linked.popleft()]
        while stack:
            current = stack.pop()
            try:
                status = os.stat(current)  # noqa: PTH116
                if (place := (status.st_dev, status.st_ino)) in searched:
                    continue
                searched.add(place)
                with os.scandir(current) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                say(f"{current}: cannot read this folder: {error.strerror or error}")
                continue
            folders, links, files, others = _sorted_out(entries)
            stack += reversed(folders)
            linked += links
            found += files
            n_others += others
    if not found:
        raise InputError(f"{folder}: no audio files in this folder (looked for {' '.join(sorted(AUDIO_SUFFIXES))})")
    if n_others:
        say(f"{folder}: {n_others} file{'s' if n_others > 1 else ''} of other kinds passed over")
    return list(map(str, sorted(map(Path, found))))


def _sorted_out(entries: list[os.DirEntry[str]]) -> tuple[list[str], list[str], list[str], int]:
    """Folders, links to folders and audio files among a folder's entries, and how many other files there are."""
    folders, links, files, n_others = list[str](), list[str](), list[str](), 0
    for entry in entries:
        if entry.name.startswith(MAC_PREFIX) or entry.name == MAC_FOLDER:
            continue
        is_broken = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
        if entry.is_dir():
            (links if entry.is_symlink() else folders).append(entry.path)
        elif not (entry.is_file() or is_broken):  # a pipe or a device: to read it may never end
            continue
        elif os.path.splitext(entry.name)[1].lower() in AUDIO_SUFFIXES:  # noqa: PTH122
            files.append(entry.path)  # a broken link too: that it leads nowhere is this row's error
        else:
            n_others += 1
    return folders, links, files, n_others


def _begins_with_header(layout: Layout) -> bool:
    return len(layout.first) > 1 and layout.column(FILE_NAMES) is not None


def _list(listing: str, content: bytes, layout: Layout) -> Iterator[Named]:
    lines = [line.strip() for line in text_of(content, layout, listing).split("\n")]
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries:
        raise InputError(f"{listing}: expected a list of audio files, one path a line, found none")
    for entry in entries:
        yield _kaldi_or_path(listing, entry, layout.encoding)


def _kaldi_or_path(listing: str, entry: str, encoding: str) -> Named:
    """A line of a list: a path, or Kaldi's id and path, which a path with a space in it looks like."""
    path = _found(listing, entry, encoding)
    utt_id, *rest = entry.split(maxsplit=1)
    if not rest or os.path.exists(path):  # noqa: PTH110
        return path, ""
    second = _found(listing, rest[0], encoding)
    is_kaldi = listing.lower().endswith(KALDI_SUFFIX) or os.path.exists(second)  # noqa: PTH110
    if is_kaldi and entry.endswith("|"):
        raise InputError(f"{listing}: expected files, found a command of Kaldi's: {entry[:80]}")
    return (second, _text(utt_id, encoding)) if is_kaldi else (path, "")


def _manifest(listing: str, content: bytes) -> Iterator[Named]:
    layout = layout_of(content, listing)
    if len(layout.first) == 1 and layout.delimiter is None:  # a lone column, whose paths may have spaces in them
        layout = replace(layout, delimiter=",")
    _, rows = rows_of(content, listing, layout)
    next(rows)
    id_at = layout.column(PURE_IDS)
    path_at = layout.column(FILE_NAMES)
    if path_at is None:
        path_at, id_at = id_at, None
    if path_at is None:
        names = ", ".join(layout.first)
        raise InputError(f"{listing}: expected a manifest with a column 'path' (and maybe 'utt_id'), found: {names}")
    n_rows = 0
    for row in rows:
        n_rows += 1
        path = row.fields[path_at] if path_at < len(row.fields) else ""
        if not path:
            raise InputError(f"{listing}, line {row.number}: the column {layout.first[path_at]!r} is empty")
        utt_id = row.fields[id_at] if id_at is not None and id_at < len(row.fields) else ""
        yield _found(listing, path, layout.encoding), _text(utt_id, layout.encoding)
    if not n_rows:
        raise InputError(f"{listing}: the manifest has a header and no rows")


def _found(listing: str, entry: str, encoding: str) -> str:
    """The path that an entry means. Where the listing is not UTF-8, its bytes are the name's own, if there is such."""
    if encoding == "latin-1":
        as_bytes = _beside(listing, os.fsdecode(entry.encode(encoding)))
        as_text = _beside(listing, entry)
        return as_text if os.path.exists(as_text) and not os.path.exists(as_bytes) else as_bytes  # noqa: PTH110
    return _beside(listing, entry)


def _text(field: str, encoding: str) -> str:
    """A field of a listing that is not UTF-8 as a whole, in which this field may be."""
    if encoding != "latin-1":
        return field
    try:
        return field.encode(encoding).decode()
    except UnicodeDecodeError:
        return field


def _beside(listing: str, entry: str) -> str:
    """`entry` as a path: absolute, or beside the listing, or as it stands (from the working directory)."""
    entry = local(entry)
    beside = os.path.join(os.path.dirname(listing), entry)  # noqa: PTH118, PTH120  # these take any name
    is_here = not os.path.exists(beside) and os.path.exists(entry)  # noqa: PTH110
    return os.path.normpath(entry if is_here else beside)


def local(path: str) -> str:
    """A path of this machine, in its shortest form.

    Raises:
        InputError: it is an object store's address.
    """
    if is_remote(path) and not os.path.exists(path):  # noqa: PTH110
        raise InputError(
            f"{path}: expected files of this machine, found an address: copy it here, or score it with "
            "dfclient.score_frame (docs/bulk.md)"
        )
    return os.path.normpath(path)


def _read(listing: str) -> bytes:
    try:
        # Looked at before it is opened: a device may have no end. A named pipe, as of a shell's <( ), has one.
        mode = os.stat(listing).st_mode  # noqa: PTH116
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise InputError(f"{listing}: expected a list or manifest, found a folder or a device")
        with Path(listing).open("rb") as file:
            content = file.read(MAX_LISTING_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{listing}: cannot read it: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_LISTING_BYTES:
        raise InputError(f"{listing}: expected a list or manifest of at most {MAX_LISTING_BYTES >> 20} MiB")
    return content
