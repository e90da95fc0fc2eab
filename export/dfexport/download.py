"""Fetch a published file: progress, resume, digest."""

import hashlib
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from dfexport.errors import CheckpointInvalid, CheckpointMissing
from dfexport.spec import Checkpoint, RemoteFile

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30
ATTEMPTS = 3


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, remote: RemoteFile) -> str:
    """Compare a file with the digest its registry row states; return the digest found.

    Raises:
        CheckpointInvalid: it is another file.
    """
    found = sha256_of(path)
    if remote.sha256 is not None and found != remote.sha256:
        raise CheckpointInvalid(
            f"{path} is not the published {remote.name}: expected sha256 {remote.sha256}, found {found}. "
            "Delete it and run again to download it, or, if it is your own fine-tuned file, "
            "build it with --checkpoint PATH."
        )
    return found


def download(remote: RemoteFile, checkpoint: Checkpoint, folder: Path) -> Path:
    """Download ``remote`` into ``folder``; a broken transfer goes on where it stopped, in this run or the next.

    Raises:
        CheckpointMissing: the publisher can't be reached; says which file to place where by hand.
        CheckpointInvalid: what arrived has another digest (it is deleted).
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    try:
        _transfer_with_retries(remote, part)
    except (OSError, HTTPException) as error:
        raise _missing(remote, checkpoint, folder, error) from error
    try:
        verify(part, remote)
    except CheckpointInvalid as error:
        part.unlink()
        raise CheckpointInvalid(f"{remote.url} sent another file, which was deleted. {error}") from None
    return part.rename(target)


def _transfer_with_retries(remote: RemoteFile, part: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _transfer(remote, part)
        except (OSError, HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR
            if refused or attempt == ATTEMPTS:
                raise
    return None


def _transfer(remote: RemoteFile, part: Path) -> None:
    """Append to ``part`` until the publisher's length is reached."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  (urls come from the registry)
            _append(response, part, have, remote.name)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # the part is whole already; the digest decides
            raise


def _append(response: HTTPResponse, part: Path, have: int, name: str) -> None:
    resumed = response.status == HTTPStatus.PARTIAL_CONTENT
    start = have if resumed else 0
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with part.open("ab" if resumed else "wb") as file, Progress(*columns) as progress:
        task = progress.add_task(name, total=total, completed=start)
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise OSError(f"connection closed after {part.stat().st_size:,} of {total:,} bytes")


def _missing(remote: RemoteFile, checkpoint: Checkpoint, folder: Path, failure: Exception) -> CheckpointMissing:
    return CheckpointMissing(
        f"{remote.name} is not in {folder} and could not be downloaded from {remote.url} ({failure}). "
        f"Get it from {checkpoint.page} and place it at {folder / remote.name}, or point WEIGHTS_DIR (--weights-dir) "
        "at the folder that holds it. To try the pipeline without it: WEIGHTS=random (--weights random)."
    )
