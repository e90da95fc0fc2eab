"""Fetch a published file: addresses in turn, progress, resume, digest."""

import hashlib
import html
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from dfexport.errors import CheckpointInvalid, CheckpointMissing, ExportError
from dfexport.spec import Checkpoint, RemoteFile

CHUNK_BYTES = 1 << 20
PAGE_BYTES = 1 << 18
TIMEOUT_S = 10  # without an answer, or without a byte of the file
ATTEMPTS = 3  # at an address that answers


class WebPage(OSError):
    """The publisher answered with a page for people: a quota, a login, a removed file."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, remote: RemoteFile) -> str:
    """Compare a file with the size and digest its registry row states; return the digest found.

    Raises:
        CheckpointInvalid: it is another file.
    """
    size_bytes = path.stat().st_size
    if remote.size_bytes is not None and size_bytes != remote.size_bytes:
        raise CheckpointInvalid(
            f"{path} is not the published {remote.name}: expected {remote.size_bytes:,} bytes, found {size_bytes:,}. "
            "Delete it and run again to download it, or build your own file with --checkpoint PATH."
        )
    found = sha256_of(path)
    if remote.sha256 is not None and found != remote.sha256:
        raise CheckpointInvalid(
            f"{path} is not the published {remote.name}: expected sha256 {remote.sha256}, found {found}. "
            "Delete it and run again to download it, or, if it is your own fine-tuned file, "
            "build it with --checkpoint PATH."
        )
    return found


def download(remote: RemoteFile, checkpoint: Checkpoint, folder: Path) -> Path:
    """Download ``remote`` into ``folder`` from the first of its addresses that has it.

    A broken transfer goes on where it stopped, in this run or the next, be it from another address.

    Raises:
        CheckpointMissing: no address can be reached; says which file to place where by hand.
        CheckpointInvalid: what arrived has another size or digest (it is deleted), and no address has the right one.
        ExportError: ``folder`` can't be written to.
    """
    if not remote.addresses:
        raise _missing(remote, checkpoint, folder, "its address is not known, only its page")
    part = folder / f"{remote.name}.part"
    _require_writable(part)
    failures: list[str] = []
    wrong: CheckpointInvalid | None = None
    for address in remote.addresses:
        if failures:
            print(f"{failures[-1]}; trying {address}", file=sys.stderr)
        try:
            _transfer_with_retries(remote.name, address, part)
            verify(part, remote)
        except (OSError, HTTPException) as error:
            failures.append(f"{address}: {_reason(error)}")
        except CheckpointInvalid as error:
            part.unlink()
            wrong = CheckpointInvalid(f"{address} sent another file, which was deleted. {error}")
            failures.append(f"{address}: sent another file")
        else:
            return part.rename(folder / remote.name)
    raise wrong or _missing(remote, checkpoint, folder, "; ".join(failures))


def _require_writable(part: Path) -> None:
    """Try to append nothing.

    Raises:
        ExportError: the folder can't be made or written to.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        existed = part.exists()
        part.open("ab").close()
        if not existed:
            part.unlink()
    except OSError as error:
        raise ExportError(
            f"{part.parent}: cannot write a download there: {error.strerror or error}; point WEIGHTS_DIR "
            "(--weights-dir) at a folder that you may write to"
        ) from None


def _transfer_with_retries(name: str, url: str, part: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _transfer(name, url, part)
        except (OSError, HTTPException) as error:
            if attempt == ATTEMPTS or not _may_pass(error):
                raise
    return None


def _reason(error: Exception) -> str:
    """In words; an address that can't be reached says why inside of another error."""
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return getattr(error.reason, "strerror", None) or str(error.reason)
    return str(error)


def _may_pass(error: Exception) -> bool:
    """Whether the same address is worth asking again: not where nobody is, nor where it has refused."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not isinstance(error, WebPage | urllib.error.URLError)


def _transfer(name: str, url: str, part: Path, *, confirmed: bool = False) -> None:
    """Append to ``part`` until the publisher's length is reached; a confirmation page is confirmed, once."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  (urls come from the registry)
            if response.headers.get_content_type() != "text/html":
                return _append(response, part, have, name)
            page = response.read(PAGE_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # the part is whole already; the digest decides
            raise
        return None
    address = None if confirmed else confirmation_address(page, url)
    if address is None:
        raise WebPage(f"sent a web page instead of the file{_title(page)}")
    return _transfer(name, address, part, confirmed=True)


def confirmation_address(page: str, url: str) -> str | None:
    """Where the form of Google Drive's "can't scan this file for viruses" page leads; None where there is none."""
    form = _DownloadForm()
    form.feed(page)
    if form.action is None:
        return None
    address = urllib.parse.urljoin(url, form.action)
    same_scheme = urllib.parse.urlsplit(address).scheme == urllib.parse.urlsplit(url).scheme
    return f"{address}?{urllib.parse.urlencode(form.fields)}" if same_scheme else None


class _DownloadForm(HTMLParser):
    """The first form with hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "form" and values.get("id") == "download-form":
            self.action = values.get("action", "")
        if tag == "input" and self.action is not None and values.get("type") == "hidden":
            self.fields[values.get("name", "")] = values.get("value", "")


def _title(page: str) -> str:
    found = re.search(r"<title>\s*(.*?)\s*</title>", page, re.IGNORECASE | re.DOTALL)
    return f" ({html.unescape(found[1])})" if found else ""


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


def _missing(remote: RemoteFile, checkpoint: Checkpoint, folder: Path, reason: str) -> CheckpointMissing:
    return CheckpointMissing(
        f"{remote.name} is not in {folder} and could not be downloaded ({reason}). "
        f"Get it from {checkpoint.page} in a browser and place it at {folder / remote.name}, or point WEIGHTS_DIR "
        "(--weights-dir) at the folder that holds it. To try the pipeline without it: WEIGHTS=random "
        "(--weights random)."
    )
