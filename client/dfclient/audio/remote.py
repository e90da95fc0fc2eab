"""Recordings that no file system of this machine holds: `s3://bucket/a.wav`, `gs://…`, whatever fsspec knows."""

import contextlib
import re
from collections.abc import Iterator
from typing import BinaryIO

from dfclient.errors import AudioError, DfclientError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_remote(path: str) -> bool:
    """Whether a path names its own kind of storage."""
    return _SCHEME.match(path) is not None


@contextlib.contextmanager
def opened_remote(path: str) -> Iterator[BinaryIO]:
    """Open it for reading from its beginning to its end.

    Raises:
        AudioError: fsspec or the storage's own package is missing, or the storage does not give it.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise AudioError("it is in an object store, which needs fsspec: pip install 'dfserve[bulk]'") from None
    try:
        with fsspec.open(path, "rb") as file:
            yield file
    except DfclientError:
        raise
    except Exception as error:  # each storage has errors of its own
        raise AudioError(f"cannot read it: {error or type(error).__name__}") from None
