"""The page on a real HTTP server in front of the real tiny Triton, and a browser that opens it."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

import axe_core
from dfdeploy.embedded import Server
from dfdeploy.machine import missing_line
from dfpage.app import create_app
from dfpage.cli import hosts_of, server_of
from dfpage.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Page:
    """A page that is being served."""

    origin: str
    token: str

    @property
    def address(self) -> str:
        """What dfpage prints."""
        return f"{self.origin}/?token={self.token}"


@contextmanager
def serving(server_url: str, **limits: float) -> Iterator[Page]:
    """Serve the page as the command does, on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings = Settings(server_url, hosts_of("127.0.0.1", port, []), port, **limits)
    server = server_of(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not server.started:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    try:
        yield Page(f"http://127.0.0.1:{port}", settings.token)
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()


@pytest.fixture(scope="session")
def served(tiny_server: Server) -> Iterator[Page]:
    """The page in front of the tiny models."""
    with serving(tiny_server.grpc_url) as page:
        yield page


@pytest.fixture
def serve() -> Callable[..., AbstractContextManager[Page]]:
    """`serving`, for tests that need a page of their own."""
    return serving


@pytest.fixture
def client_of() -> Iterator[Callable[..., TestClient]]:
    """Make a client of the application itself, with its token unless ``headers`` say otherwise."""
    clients = []

    def make(url: str, *, headers: dict[str, str] | None = None, **limits: float) -> TestClient:
        settings = Settings(url, frozenset({"127.0.0.1:8010", "localhost:8010"}), 8010, token="secret", **limits)
        client = TestClient(
            create_app(settings),
            base_url="http://127.0.0.1:8010",
            headers={"Authorization": "Bearer secret"} if headers is None else headers,
            follow_redirects=False,
        )
        clients.append(client.__enter__())
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real audio: two recordings as they are, a minute of both with a silence in it, and what is none."""
    folder = tmp_path_factory.mktemp("recordings")
    human, rate_hz = soundfile.read(EXAMPLES / "human.flac")
    synthetic, _ = soundfile.read(EXAMPLES / "synthetic.flac")
    soundfile.write(folder / "human.flac", human, rate_hz)
    stereo = np.stack([synthetic, 0.5 * synthetic], axis=1)
    soundfile.write(folder / "synthetic.wav", stereo, rate_hz, subtype="PCM_24")
    minute = np.concatenate([human, np.zeros(2 * rate_hz), synthetic, np.tile(human, 12)])[: 60 * rate_hz]
    soundfile.write(folder / "minute.flac", minute, rate_hz)
    (folder / "no_audio.wav").write_text("This is a text, whatever its name says.")
    return folder


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The accessibility checks that the browser runs."""
    return axe_core.source(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="package")
def browser(recordings: Path) -> Iterator[object]:
    """Chromium without a window, whose microphone hears the human recording."""
    if CHROMIUM is None:
        pytest.skip(str(missing_line("chromium")))
    from playwright.sync_api import sync_playwright

    heard, rate_hz = soundfile.read(recordings / "human.flac")
    soundfile.write(recordings / "microphone.wav", heard, rate_hz, subtype="PCM_16")
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={recordings / 'microphone.wav'}",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()
