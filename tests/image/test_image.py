"""Our CPU image, built and run for real: `make test-image` (ENGINE, BASE and BUILD_ARGS as for `make image`).

The flags are those that `dfdeploy serve --server docker --dry-run` shows to users, so that these tests prove what users
do. DFSERVE_ENGINE_ARGS adds what a machine needs besides (`--network=host` where containers have no network of their
own).
"""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tiny_repository
from dfclient import Detector, Server
from dfclient.retry import NO_RETRIES
from dfdeploy import container, ports
from dfdeploy.embedded import OPENER
from dfexport.signals import wave

pytestmark = pytest.mark.image
ENGINE = os.environ.get("ENGINE") or next(filter(shutil.which, ("docker", "podman")), "")
ENGINE_ARGS = shlex.split(os.environ.get("DFSERVE_ENGINE_ARGS", ""))
IS_ON_HOST = "--network=host" in ENGINE_ARGS
TAG = os.environ.get("TAG", "dfserve:cpu")


@dataclass
class Running:
    """A container of the image, and where it is reached."""

    name: str
    ports: dict[str, int]

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.ports['grpc']}"

    def engine(self, *arguments: str) -> str:
        return engine(*arguments)

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ENGINE, "exec", self.name, *command], capture_output=True, text=True, check=False)


def engine(*arguments: str) -> str:
    finished = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def running(tiny_models: Path) -> Iterator[Running]:
    """The image with the tiny models, started by the command that users are shown."""
    if not ENGINE:
        pytest.skip("neither docker nor podman is here")
    tiny_models.chmod(0o755)
    for folder in (tiny_models, *tiny_models.parents[:3]):
        folder.chmod(0o755)  # the container's user is another one
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    name = f"dfserve-test-{os.getpid()}"
    command = container.command(
        tiny_models, profile="cpu", host="127.0.0.1", host_ports=chosen, engine=ENGINE, image=TAG
    )
    options = [part for part in command[2:-1] if not (IS_ON_HOST and part.startswith("--publish"))]
    own_ports = [f"--{kind}-port={port}" for kind, port in chosen.items()] if IS_ON_HOST else []
    own_host = ["--host=127.0.0.1"] if IS_ON_HOST else []
    run = [ENGINE, "run", f"--name={name}", "--detach", *options, *ENGINE_ARGS, TAG, *own_host, *own_ports]
    subprocess.run(run, check=True, capture_output=True, text=True)
    found = Running(name, chosen)
    try:
        deadline_s = time.monotonic() + 120
        while not is_ready(found.url):
            assert time.monotonic() < deadline_s, engine("logs", name)
            time.sleep(0.5)
        yield found
    finally:
        subprocess.run([ENGINE, "rm", "--force", name], check=False, capture_output=True)


def is_ready(url: str) -> bool:
    from dfclient import ServerError

    try:
        with Server(url, timeout_s=5, retry=NO_RETRIES) as server:
            return server.health().is_good
    except ServerError:
        return False


def test_it_scores_as_it_should(running: Running) -> None:
    waveform = wave(1, 40_000)
    with Detector(running.url, "tiny") as detector:
        score = detector.score(waveform, 16_000)
        with detector.stream(hop_s=1.0) as live:
            live.send(waveform)
            live.end()
            windows = list(live)
    expected = tiny_repository.logits_of(waveform[: tiny_repository.WINDOW_SAMPLES])
    np.testing.assert_allclose(score.windows[0].logits, expected, atol=1e-5)
    np.testing.assert_allclose(windows[0].logits, expected, atol=1e-5)
    assert len(windows) == 3


def test_its_health_check_asks_whether_answers_are_right(running: Running) -> None:
    (check,) = json.loads(engine("inspect", "--format", "[{{json .Config.Healthcheck.Test}}]", running.name))
    assert check[0] == "CMD"
    url = ["--url", running.url] if IS_ON_HOST else []
    finished = running.execute(*check[1:], *url)
    assert finished.returncode == 0, finished.stderr
    assert "tiny answers right" in finished.stdout
    assert "tiny_trained_live answers right" in finished.stdout


def test_metrics_are_read(running: Running) -> None:
    with OPENER.open(f"http://127.0.0.1:{running.ports['metrics']}/metrics", timeout=20) as response:
        text = response.read().decode()
    assert 'nv_inference_request_success{model="tiny",version="1"}' in text


def test_it_has_no_rights(running: Running) -> None:
    status = running.execute("cat", "/proc/1/status").stdout
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert fields["Uid"].split() == ["1000"] * 4
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh"):
        assert int(fields[kind], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    for place in ("/opt/x", "/usr/x", "/models/x", "/x"):
        refused = running.execute("touch", place)
        assert refused.returncode != 0
        assert "Read-only file system" in refused.stderr
    assert "on /dev/shm" in running.execute("mount").stdout


def test_it_says_what_is_in_it(running: Running) -> None:
    for name, package in {"dfserve": "grpcio", "dfserve-server": "nvidia-pytriton"}.items():
        bill = json.loads(running.execute("cat", f"/opt/sbom/{name}.cdx.json").stdout)
        assert bill["bomFormat"] == "CycloneDX"
        assert package in {component["name"] for component in bill["components"]}
    assert "python3 " in running.execute("cat", "/opt/sbom/debian.txt").stdout
    labels = json.loads(engine("inspect", "--format", "{{json .Config.Labels}}", running.name))
    assert labels["org.opencontainers.image.title"] == "dfserve"
    assert labels["org.opencontainers.image.revision"] not in ("", "unknown")


def test_it_stops_at_once_and_cleanly(running: Running) -> None:
    waiting = subprocess.Popen([ENGINE, "wait", running.name], stdout=subprocess.PIPE, text=True)
    begun_s = time.monotonic()
    engine("stop", running.name)
    status, _ = waiting.communicate(timeout=60)
    assert time.monotonic() - begun_s < 38  # not killed at the end of its time, which is 40 s
    assert status.strip() == "0"
    with pytest.raises(OSError, match="refused"):
        OPENER.open(f"http://127.0.0.1:{running.ports['metrics']}/metrics", timeout=5)
