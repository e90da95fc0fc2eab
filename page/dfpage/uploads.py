"""Recordings that come in: bounded in bytes and seconds, in a private folder, and gone when they have been read."""

import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.requests import Request

from dfclient.audio import AudioOptions
from dfclient.audio.decode import decoded
from dfclient.errors import AudioError, DfclientError
from dfpage.errors import PageInputError, UploadRefused
from dfpage.settings import MEGABYTE, Settings

PREFIX = "dfpage-"
MAX_NAME_LENGTH = 4_096


@dataclass(frozen=True)
class Upload:
    """One file that is here for as long as its request lasts."""

    name: str  # as the browser names it: a file's name, or a path within a chosen folder
    path: Path

    @property
    def stem(self) -> str:
        """The name that its row goes by."""
        return PurePosixPath(self.name).stem


class Uploads:
    """Takes files in.

    Args:
        settings: with the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._max_bytes, self._max_s = settings.max_bytes, settings.max_s
        _remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))  # for our user alone

    def close(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Upload]:
        """The request's body as a file, until the block ends.

        Raises:
            UploadRefused: it is larger than allowed.
            PageInputError: it has no name.
        """
        name = request.query_params.get("name", "")
        if not name or len(name) > MAX_NAME_LENGTH or "\0" in name:
            raise PageInputError("expected the file's name as the parameter `name`")
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._max_bytes:
            raise self._too_large(int(stated))
        handle, path = tempfile.mkstemp(suffix=_suffix(name), dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in request.stream():
                    if file.tell() + len(chunk) > self._max_bytes:
                        raise self._too_large(file.tell() + len(chunk))
                    file.write(chunk)
            yield Upload(name, Path(path))
        except DfclientError as error:  # which may name a path of ours
            raise type(error)(str(error).replace(path, name)) from None
        finally:
            Path(path).unlink(missing_ok=True)

    def check_length(self, upload: Upload) -> None:
        """Decode it, block by block and no further than allowed: a small file can hold days of audio.

        Raises:
            UploadRefused: it is longer than allowed.
            AudioError: it can't be decoded.
        """
        seconds = 0.0
        for block in decoded(upload.path, AudioOptions(), _ignore):
            seconds += len(block.samples) / max(block.rate_hz, 1)
            if seconds > self._max_s:
                raise UploadRefused(
                    f"expected a recording of at most {self._max_s / 60:g} minutes, found a longer one: cut it, or "
                    "use dfclient score, which has no such limit"
                )
        if seconds == 0:
            raise AudioError("it holds no samples")

    def _too_large(self, found: int) -> UploadRefused:
        return UploadRefused(
            f"expected a file of at most {self._max_bytes / MEGABYTE:g} MB, found {found / MEGABYTE:.1f} MB or more: "
            "use dfclient score, which has no such limit"
        )


def _suffix(name: str) -> str:
    """The name's end, by which headerless kinds are known; "" for one that is no plain word."""
    suffix = PurePosixPath(name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,12}", suffix) else ""


def _remove_leftovers() -> None:
    """Remove the folders of pages that were killed before they could do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)) and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _ignore(_warning: str) -> None:
    return
