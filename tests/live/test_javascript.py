"""The wire protocol's page holds for a stranger: some forty lines of JavaScript score what Python scores."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dfclient import Detector
from dfcontract.windows import SLIDING, window_starts
from dfdeploy.embedded import Server
from dfdeploy.machine import missing_line

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the example, with what it needs from npm beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(str(missing_line("nodejs") or missing_line("npm")))
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("live.mjs", "live.proto"):
        shutil.copy(EXAMPLES / name, folder)
    (folder / "package.json").write_text("{}")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "@grpc/grpc-js@1"]
    finished = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if finished.returncode:
        pytest.skip(f"npm can't install @grpc/grpc-js: {finished.stderr.strip().splitlines()[-1:]}")
    return [node, str(folder / "live.mjs")]


def test_it_scores_as_the_python_client(client: list[str], live_server: Server, speech) -> None:
    raw = np.round(speech * 32_767).astype("<i2")
    finished = subprocess.run(
        [*client, live_server.grpc_url, "tiny"], input=raw.tobytes(), capture_output=True, timeout=180, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    found = [[float(field) for field in line.split()] for line in finished.stdout.decode().splitlines()]
    with Detector(live_server.grpc_url, "tiny") as detector:
        offline = detector.score(raw, 16_000, mode="sliding").windows
    expected = [(round(window.start_s, 2), round(window.end_s, 2), window.score) for window in offline]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_waits_for_answers_before_it_runs_far_ahead(client: list[str], live_server: Server, speech) -> None:
    """Five minutes at full speed: the server refuses a stream with two minutes of audio unanswered."""
    raw = np.round(np.tile(speech, 60) * 32_767).astype("<i2")
    finished = subprocess.run(
        [*client, live_server.grpc_url, "tiny"], input=raw.tobytes(), capture_output=True, timeout=120, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert len(finished.stdout.splitlines()) == len(window_starts(SLIDING, len(raw), 16_000, 16_000))


def test_it_shows_the_servers_error(client: list[str], live_server: Server) -> None:
    command = [*client, live_server.grpc_url, "tiny", "opus"]
    finished = subprocess.run(command, input="", capture_output=True, text=True, timeout=180, check=False)
    assert finished.returncode == 1
    assert "encoding: expected int16, fp32, mulaw, alaw, found 'opus'" in finished.stderr


def test_it_is_as_short_as_the_page_says() -> None:
    assert len((EXAMPLES / "live.mjs").read_text().splitlines()) <= 44
