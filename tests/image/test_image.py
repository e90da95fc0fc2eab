"""Our CPU image, built and run for real: `make test-image` (ENGINE, BASE and BUILD_ARGS as for `make image`).

The flags are those that `dfdeploy serve --server docker --dry-run` shows to users, so that these tests prove what users
do. What an engine needs besides on a machine is its own configuration's (podman: CONTAINERS_CONF).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiny_repository
from authority import Authority
from containers import ENGINE, TAG, Running, detached, engine, make_readable
from dfclient import Credentials, Detector, RetryPolicy, Server
from dfclient.errors import ServerUnavailable
from dfclient.retry import NO_RETRIES
from dfdeploy import container, ports
from dfdeploy.embedded import OPENER
from dfdeploy.tls import Tls
from dfexport.signals import wave

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def running(tiny_models: Path) -> Iterator[Running]:
    """The image with the tiny models, started by the command that users are shown."""
    if not ENGINE:
        pytest.skip("neither docker nor podman is here")
    make_readable(tiny_models)
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    name = f"dfserve-test-{os.getpid()}"
    command = container.command(
        tiny_models, profile="cpu", host="127.0.0.1", host_ports=chosen, engine=ENGINE, image=TAG
    )
    with detached(command, name, chosen) as found:
        deadline_s = time.monotonic() + 120
        while not is_ready(found.url):
            assert time.monotonic() < deadline_s, engine("logs", name)
            time.sleep(0.5)
        yield found


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
    finished = running.execute(*check[1:])
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


def test_dfdeploy_runs_it_and_says_that_its_answers_are_right(tiny_models: Path) -> None:
    make_readable(tiny_models)
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    options = [f"--{name}-port={port}" for name, port in chosen.items()]
    command = [sys.executable, "-m", "dfdeploy", "serve", f"--repository={tiny_models}", *options]
    serving = subprocess.Popen(
        [*command, "--server=docker", f"--engine={ENGINE}", f"--image={TAG}", "--profile=cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert serving.stdout is not None
    said = ""
    try:
        while "tiny_trained_live answers right" not in said:
            line = serving.stdout.readline()
            assert line, said
            said += line
        assert "publish its ports on 127.0.0.1" in said
        with Detector(f"127.0.0.1:{chosen['grpc']}", "tiny") as detector:
            assert detector.score(wave(1, 16_000), 16_000).windows
    finally:
        serving.terminate()
        serving.communicate(timeout=60)
    assert serving.returncode == 0


def test_it_speaks_tls_and_asks_clients_for_a_certificate(tiny_models: Path, tmp_path: Path) -> None:
    """Its health check included, which is told of it by the environment alone."""
    authority = Authority(tmp_path / "authority")
    tls = Tls(*authority.issue("triton.example"), authority.file, *authority.issue("checker"))
    for folder in (tiny_models, authority.folder):
        make_readable(folder)
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    name = f"dfserve-test-tls-{os.getpid()}"
    command = container.command(
        tiny_models, profile="cpu", host="127.0.0.1", host_ports=chosen, engine=ENGINE, image=TAG, tls=tls
    )
    ours = Credentials(True, authority.file, tls.check_cert, tls.check_key, "triton.example")
    with detached(command, name, chosen) as running:
        with Detector(running.url, "tiny", retry=RetryPolicy(wait_s=120), credentials=ours) as detector:
            assert detector.score(wave(1, 16_000), 16_000).windows
        for refused in (Credentials(), Credentials(tls=True, ca=authority.file, server_name="triton.example")):
            with pytest.raises(ServerUnavailable, match="connection was closed"):
                Detector(running.url, "tiny", retry=NO_RETRIES, credentials=refused)
        (check,) = json.loads(engine("inspect", "--format", "[{{json .Config.Healthcheck.Test}}]", name))
        finished = running.execute(*check[1:])
        assert "tiny_trained_live answers right" in finished.stdout, finished.stderr
