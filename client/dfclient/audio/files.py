"""Bytes of a recording at any offset, wherever they lie: a file named by its path, an open file, or memory."""

import contextlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from dfclient.audio.remote import is_remote, opened_remote
from dfclient.errors import AudioError, InputError

Recording = str | Path | bytes | BinaryIO  # a path, the bytes of a file, or a file opened for reading bytes

CACHE_BYTES = 1 << 14
LONGEST_PATTERN_BYTES = 16
COPY_BYTES = 1 << 20
MAX_SPOOLED_BYTES = 1 << 30  # of what can't be read twice, such as a named pipe


class Reader:
    """Random access to an open, seekable binary file, from where it stood when it was handed over."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.origin = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self.origin
        self._cached, self._cached_at = b"", 0
        self.decoder_position = 0  # how far a decoder has read that reads the file by its descriptor; 0: not known

    def at(self, offset: int, n_bytes: int) -> bytes:
        """The bytes from `offset` on: fewer than `n_bytes` where the file ends, none outside it."""
        if offset < 0 or offset >= self.size or n_bytes <= 0:
            return b""
        start = self._cache(offset, n_bytes)
        return self._cached[start : start + n_bytes]

    def match_end(self, pattern: re.Pattern[bytes], offset: int, n_bytes: int) -> int | None:
        """Where a match of `pattern`, which takes at most `n_bytes`, ends that begins at `offset`; None without one."""
        start = self._cache(offset, n_bytes)
        found = pattern.match(self._cached, start)
        return found and self._cached_at + found.end()

    def _cache(self, offset: int, n_bytes: int) -> int:
        """Have so many bytes in memory; where there they begin."""
        start = offset - self._cached_at
        if start < 0 or min(offset + n_bytes, self.size) > self._cached_at + len(self._cached):
            self._cached, self._cached_at = self._read(offset, max(n_bytes, CACHE_BYTES)), offset
            start = 0
        return start

    def descriptor(self) -> int | None:
        """The system's number of the open file, at its start; None where there is none, or Python buffers it."""
        if not isinstance(self.file, io.FileIO) or self.origin:
            return None
        self.file.seek(0)
        return self.file.fileno()

    def note_position(self) -> None:
        """Take down how far a decoder has read that was given the descriptor of the whole file."""
        if isinstance(self.file, io.FileIO) and not self.origin:
            self.decoder_position = self.file.tell()

    def _read(self, offset: int, n_bytes: int) -> bytes:
        self.file.seek(self.origin + offset)
        wanted = min(n_bytes, self.size - offset)  # a damaged header may ask for more memory than there is
        content = self.file.read(wanted) or b""
        while len(content) < wanted and (more := self.file.read(wanted - len(content))):  # some files read in parts
            content += more
        return content

    def number(self, offset: int, n_bytes: int, order: str = "little") -> int | None:
        """The unsigned integer at `offset`, or None where the file ends before its last byte."""
        content = self.at(offset, n_bytes)
        return int.from_bytes(content, "little" if order == "little" else "big") if len(content) == n_bytes else None

    def find(self, start: int, pattern: re.Pattern[bytes]) -> int | None:
        """Where `pattern`, of at most 16 bytes, first matches from `start` on; None where it does not."""
        while self.at(start, LONGEST_PATTERN_BYTES):  # so that it is cached, and what follows it
            if (found := pattern.search(self._cached, start - self._cached_at)) is not None:
                return self._cached_at + found.start()
            end = self._cached_at + len(self._cached)
            if end >= self.size:
                return None
            start = end - LONGEST_PATTERN_BYTES + 1
        return None


class Section(io.RawIOBase):
    """A part of a reader's file as a file of its own; `patches` (offset → bytes) lie over what is there."""

    def __init__(self, reader: Reader, start: int, end: int, patches: Mapping[int, bytes] | None = None) -> None:
        super().__init__()
        self._reader, self._start, self._end = reader, start, end
        self._patches = patches or {}
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes from the section's own start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end - self._start}[whence]
        if base + offset < 0:
            raise OSError("seek before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        left = max(0, self._end - self._start - self._position)
        size = left if size < 0 else min(size, left)
        first = self._start + self._position
        content = self._reader.at(first, size)
        for at, patch in self._patches.items():
            if at < first + len(content) and at + len(patch) > first:
                overlaid = bytearray(content)
                for place, value in enumerate(patch, at - first):
                    if 0 <= place < len(overlaid):
                        overlaid[place] = value
                content = bytes(overlaid)
        self._position += len(content)
        return content

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As of any file."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


@contextlib.contextmanager
def opened(recording: Recording) -> Iterator[Reader]:
    """Open a recording for random access. What the caller opened stays open.

    Raises:
        InputError: neither a path, bytes nor a binary file.
        AudioError: it is missing, unreadable, empty, a folder or a device.
    """
    with contextlib.ExitStack() as stack:
        try:
            reader = Reader(_seekable(recording, stack))
        except OSError as error:
            raise AudioError(f"cannot read it: {error.strerror or error}") from None
        except ValueError as error:  # a name that no file can have: it holds NUL
            raise AudioError(f"cannot read it: {error}") from None
        if reader.size <= 0 and isinstance(recording, str | os.PathLike):
            raise AudioError("the file is empty (0 bytes)")
        if reader.size <= 0:
            raise AudioError("there are no bytes in it, or none from where the file stands: seek(0) begins anew")
        yield reader


def _seekable(recording: Recording, stack: contextlib.ExitStack) -> BinaryIO:
    if isinstance(recording, bytes | bytearray | memoryview):
        return io.BytesIO(recording)
    if isinstance(recording, str) and is_remote(recording):
        with opened_remote(recording) as remote:
            return _spooled(remote, stack)
    if isinstance(recording, str | os.PathLike):
        # Looked at before it is opened: to open a device may do something, and a named pipe waits for its writer.
        mode = os.stat(recording).st_mode  # noqa: PTH116  # here and below without Path: for thousands of files
        if stat.S_ISDIR(mode):
            raise AudioError("it is a folder, expected an audio file")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise AudioError("it is a device or a socket, expected an audio file")
        file: BinaryIO = stack.enter_context(io.FileIO(os.fspath(recording)))
    elif callable(getattr(recording, "read", None)):
        file = recording
    else:
        raise InputError(f"expected a path, bytes or a binary file, found {type(recording).__name__}")
    if isinstance(file, io.TextIOBase):
        raise InputError("expected a file opened for reading bytes (mode 'rb'), found one for text")
    return file if _can_seek(file) else _spooled(file, stack)


def _can_seek(file: BinaryIO) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if seekable else hasattr(file, "seek")


def _spooled(file: BinaryIO, stack: contextlib.ExitStack) -> BinaryIO:
    """All of a pipe, or of what comes over a network, in a temporary file: a decoder goes back and forth in it."""
    spool = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    total_bytes = 0
    while content := file.read(COPY_BYTES):
        total_bytes += len(content)
        if total_bytes > MAX_SPOOLED_BYTES:
            raise AudioError(f"it holds more than {MAX_SPOOLED_BYTES >> 20} MiB: save it as a local file first")
        spool.write(content)
    spool.seek(0)
    return spool
