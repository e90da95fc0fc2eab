"""Downloads against a real HTTP server on loopback: whole, cut and resumed, wrong, refused."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dfexport import download as download_module
from dfexport.checkpoints import published
from dfexport.download import download
from dfexport.errors import CheckpointInvalid, CheckpointMissing, ExportError, LicenceNotAccepted
from dfexport.licence import show_and_ask
from dfexport.registry import DETECTORS, find
from dfexport.spec import Checkpoint, DetectorSpec, RemoteFile

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Publisher:
    """A publisher whose connection can be made to break."""

    url: str
    cut_after: list[int | None] = field(default_factory=list)  # bytes until each next connection breaks
    ranges: bool = True
    status: int = 200
    requested: list[str | None] = field(default_factory=list)  # the Range header of each request

    def remote(self, sha256: str | None = SHA256) -> RemoteFile:
        return RemoteFile("weights.pth", f"{self.url}/weights.pth", sha256)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requested.append(asked)
            if state.status != 200:
                return self.send_error(state.status)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges else 0
            if start >= len(CONTENT):
                return self.send_error(416)
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = state.cut_after.pop(0) if state.cut_after else None
            self.wfile.write(body[:cut])
            return None

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state = Publisher(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


CHECKPOINT = Checkpoint((), page="https://example.org/weights", licence="MIT")


def test_a_download_arrives_whole(publisher: Publisher, tmp_path: Path) -> None:
    path = download(publisher.remote(), CHECKPOINT, tmp_path / "new")
    assert path == tmp_path / "new/weights.pth"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["weights.pth"]


def test_a_broken_connection_is_resumed_where_it_stopped(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cut_after = [300_000, 200_000]
    assert download(publisher.remote(), CHECKPOINT, tmp_path).read_bytes() == CONTENT
    assert publisher.requested == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_run_resumes_what_the_last_left(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cut_after = [100_000] * download_module.ATTEMPTS
    with pytest.raises(CheckpointMissing):
        download(publisher.remote(), CHECKPOINT, tmp_path)
    publisher.requested.clear()
    assert download(publisher.remote(), CHECKPOINT, tmp_path).read_bytes() == CONTENT
    assert publisher.requested == ["bytes=300000-"]


def test_a_publisher_without_ranges_starts_over(publisher: Publisher, tmp_path: Path) -> None:
    publisher.ranges = False
    publisher.cut_after = [300_000]
    assert download(publisher.remote(), CHECKPOINT, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert download(publisher.remote(), CHECKPOINT, tmp_path).read_bytes() == CONTENT


def test_another_file_than_published_is_deleted_and_said_so(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid, match=rf"expected sha256 {'0' * 64}, found {SHA256}"):
        download(publisher.remote(sha256="0" * 64), CHECKPOINT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_size_than_published_is_deleted_and_said_so(publisher: Publisher, tmp_path: Path) -> None:
    remote = RemoteFile("weights.pth", f"{publisher.url}/weights.pth", size_bytes=len(CONTENT) + 1)
    with pytest.raises(CheckpointInvalid, match=r"sent another file.*expected 1,048,577 bytes, found 1,048,576\."):
        download(remote, CHECKPOINT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def restricted(publisher: Publisher) -> DetectorSpec:
    checkpoint = replace(find("df_arena_500m").checkpoint, files=(publisher.remote(),))
    return replace(find("df_arena_500m"), checkpoint=checkpoint)


def test_a_restricted_licence_is_shown_and_has_to_be_accepted(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = restricted(publisher)
    with pytest.raises(LicenceNotAccepted, match=r"not downloaded before .*non-commercial.*with --accept-licence"):
        published(spec, tmp_path)
    assert publisher.requested == []
    assert capsys.readouterr().out.startswith("df_arena_500m: licence of the weights: non-commercial research use")
    with pytest.raises(CheckpointInvalid, match="truncated or not a PyTorch"):  # it came, and is no checkpoint
        published(spec, tmp_path, accept_licence=True)
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert "non-commercial" in capsys.readouterr().out
    with pytest.raises(CheckpointInvalid):  # what is there already is not asked about again
        published(spec, tmp_path)
    assert "licence" not in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("Yes ", True), ("", False), ("no", False)])
def test_at_a_terminal_the_user_is_asked(answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    shown: list[str] = []
    question = partial(
        show_and_ask, find("antideepfake_w2v_small"), accepted=False, show=shown.append, ask=lambda _: answer
    )
    if agreed:
        question()
    else:
        with pytest.raises(LicenceNotAccepted, match="CC BY-NC-SA"):
            question()
    assert len(shown) == 1


def test_an_open_licence_is_shown_and_asks_nothing() -> None:
    shown: list[str] = []
    show_and_ask(find("spectra_0"), accepted=False, show=shown.append, ask=lambda _: pytest.fail("asked"))
    assert shown == ["spectra_0: licence of the weights: Apache-2.0 (https://huggingface.co/lab260/spectra_0)"]


def test_where_a_revision_is_known_the_hubs_file_is_pinned_to_it() -> None:
    urls = {name: spec.checkpoint.files[0].url or "" for name, spec in DETECTORS.items()}
    pinned = {name for name, url in urls.items() if re.search(r"huggingface\.co/.+/resolve/[0-9a-f]{40}/", url)}
    assert pinned == {"spectra_aasist", "spectra_aasist3", "df_arena_1b"}


def test_what_can_not_be_had_says_which_file_from_where_to_where(publisher: Publisher, tmp_path: Path) -> None:
    publisher.status = 404
    with pytest.raises(CheckpointMissing) as caught:
        download(publisher.remote(), CHECKPOINT, tmp_path)
    for part in ("weights.pth", publisher.url, "404", "https://example.org/weights", str(tmp_path), "WEIGHTS=random"):
        assert part in str(caught.value)
    assert len(publisher.requested) == 1  # a refusal is not asked again


def test_an_unreachable_publisher_is_a_clear_error(tmp_path: Path) -> None:
    remote = RemoteFile("weights.pth", "http://127.0.0.1:9/weights.pth", SHA256)
    with pytest.raises(CheckpointMissing, match="could not be downloaded"):
        download(remote, CHECKPOINT, tmp_path)


NOBODY = "http://127.0.0.1:9/weights.pth"


def with_mirror(publisher: Publisher, first: str) -> RemoteFile:
    return RemoteFile("weights.pth", first, SHA256, mirrors=(f"{publisher.url}/weights.pth",))


def test_a_mirror_is_asked_where_the_first_address_is_out_of_reach(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download(with_mirror(publisher, NOBODY), CHECKPOINT, tmp_path).read_bytes() == CONTENT
    assert publisher.requested == [None]
    assert re.search(rf"^{NOBODY}: .*refused.*; trying {publisher.url}/weights.pth", capsys.readouterr().err)


def test_a_mirror_is_asked_where_the_first_address_has_another_file(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first one sent is gone before the second is asked."""
    whole = download_module._transfer

    def transfer(name: str, url: str, part: Path, *, confirmed: bool = False) -> None:
        if url == NOBODY:
            part.write_bytes(b"another file")
        else:
            assert not part.exists()
            whole(name, url, part, confirmed=confirmed)

    monkeypatch.setattr(download_module, "_transfer", transfer)
    assert download(with_mirror(publisher, NOBODY), CHECKPOINT, tmp_path).read_bytes() == CONTENT


def test_a_mirror_goes_on_where_the_first_address_broke_off(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cut_after = [100_000] * download_module.ATTEMPTS
    remote = with_mirror(publisher, f"{publisher.url}/weights.pth")
    assert download(remote, CHECKPOINT, tmp_path).read_bytes() == CONTENT
    assert publisher.requested[-1] == "bytes=300000-"


def test_without_any_address_each_is_named_with_its_reason(publisher: Publisher, tmp_path: Path) -> None:
    publisher.status = 404
    with pytest.raises(CheckpointMissing, match=rf"{NOBODY}: .*refused.*; {publisher.url}/weights.pth: .*404"):
        download(with_mirror(publisher, NOBODY), CHECKPOINT, tmp_path)


def test_an_address_that_nobody_answers_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opened = download_module.urllib.request.urlopen

    def urlopen(request: download_module.urllib.request.Request, timeout: float) -> object:
        asked.append(request.full_url)
        assert timeout <= 10
        return opened(request, timeout=timeout)

    monkeypatch.setattr(download_module.urllib.request, "urlopen", urlopen)
    with pytest.raises(CheckpointMissing):
        download(RemoteFile("weights.pth", NOBODY, SHA256), CHECKPOINT, tmp_path)
    assert asked == [NOBODY]


def test_only_what_has_a_digest_has_mirrors() -> None:
    files = [file for spec in DETECTORS.values() for file in spec.checkpoint.files]
    assert {file.name for file in files if file.mirrors} == {"AASIST.pth", "AASIST-L.pth"}
    assert all(file.sha256 for file in files if file.mirrors)


def test_a_folder_that_cant_be_written_is_one_line(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"file/weights: cannot write a download there: Not a directory; point WEIG"):
        download(publisher.remote(), CHECKPOINT, tmp_path / "file/weights")
    assert publisher.requested == []


DRIVE_PAGE = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="download-form" action="{action}" method="get"><input type="submit" value="Download anyway">
<input type="hidden" name="id" value="abc"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="1-2&amp;3"></form></body></html>"""
QUOTA_PAGE = "<html><head><title>Google Drive - Quota exceeded</title></head></html>"


@pytest.fixture
def drive() -> Iterator[Publisher]:
    """Answers /uc with ``page`` and /download with the content, if it is asked with all of the form's fields."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requested.append(self.path)
            confirmed = self.path == "/download?id=abc&export=download&confirm=t&uuid=1-2%263"
            body = CONTENT if confirmed else pages[0].encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if confirmed else "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state = Publisher(f"http://127.0.0.1:{server.server_port}")
        pages = [DRIVE_PAGE.format(action=f"{state.url}/download")]
        state.pages = pages  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def test_drives_confirmation_page_is_confirmed(drive: Publisher, tmp_path: Path) -> None:
    remote = RemoteFile("weights.pth", f"{drive.url}/uc?export=download&id=abc", SHA256)
    assert download(remote, CHECKPOINT, tmp_path).read_bytes() == CONTENT
    assert len(drive.requested) == 2


@pytest.mark.parametrize("action", ["/uc?export=download&id=abc", "file:///etc/passwd"])
def test_a_page_is_never_taken_for_the_file(drive: Publisher, tmp_path: Path, action: str) -> None:
    drive.pages[0] = DRIVE_PAGE.format(action=action)  # type: ignore[attr-defined]
    with pytest.raises(CheckpointMissing, match=r"sent a web page instead of the file \(Google Drive - Virus scan"):
        download(RemoteFile("weights.pth", f"{drive.url}/uc?id=abc"), CHECKPOINT, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_quota_page_says_how_to_place_the_file_by_hand(drive: Publisher, tmp_path: Path) -> None:
    drive.pages[0] = QUOTA_PAGE  # type: ignore[attr-defined]
    with pytest.raises(CheckpointMissing) as caught:
        download(RemoteFile("weights.pth", f"{drive.url}/uc?id=abc"), CHECKPOINT, tmp_path)
    for part in ("Quota exceeded", "https://example.org/weights", "in a browser", str(tmp_path / "weights.pth")):
        assert part in str(caught.value)
    assert len(drive.requested) == 1


def test_a_file_whose_address_is_not_known_is_placed_by_hand(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointMissing, match=r"its address is not known, only its page.*place it at .*LA_model\.pth"
    ):
        download(RemoteFile("LA_model.pth", None), CHECKPOINT, tmp_path)
