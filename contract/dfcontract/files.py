"""Files that are there whole or not at all, and files that one process writes at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

from dfcontract.errors import ScoreFileError

try:
    import fcntl
except ImportError:  # not on Windows; there, two runs may write one file
    fcntl = None  # type: ignore[assignment]


def read_bytes(path: Path) -> bytes:
    """A file's content; ScoreFileError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot read it: {error.strerror or error}") from None


def lock(path: Path, file: IO[Any]) -> None:
    """Keep an open file to this process until it is closed; ScoreFileError where another one has it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however that ends
    except BlockingIOError:
        raise ScoreFileError(f"{path}: another run is writing it: wait for that one, or choose another file") from None
    except OSError:  # a file system without locks
        return


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all; errors as of `whole_file`."""
    with whole_file(path) as file:
        file.write(text)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A file that is there whole or not at all: written under another name, and renamed at the end of the block.

    A run that appends to the file that is replaced would lose every further row, so that file is locked meanwhile.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        with contextlib.ExitStack() as stack:
            if fcntl is not None and path.is_file():
                lock(path, stack.enter_context(path.open("rb")))
            with scratch.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                yield file
            scratch.replace(path)
    except OSError as error:
        raise ScoreFileError(f"{path}: cannot write it: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
