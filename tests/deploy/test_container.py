"""NVIDIA's container: the command as text. No engine runs it here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dfdeploy import container, environment, folders
from dfdeploy.__main__ import main
from dfdeploy.errors import DeployError

PORTS = {"grpc": 8001, "http": 8000, "metrics": 8002}


def text(profile: str, host: str = "127.0.0.1") -> str:
    command = " ".join(container.command(Path("/data/models"), profile=profile, host=host, host_ports=PORTS))
    return command.replace(" ".join(container.live_backend_mounts()), "LIVE")


def test_the_live_backend_is_brought_along_whole() -> None:
    """The same files in the same places as the embedded server gets, which the tests of live streams run."""
    mounts = {
        Path(target).relative_to("/opt/tritonserver/backends/live").as_posix(): Path(source)
        for mount in container.live_backend_mounts()
        for source, target in re.findall(r"source=(\S+),target=(\S+),readonly", mount)
    }
    assert mounts == folders.backend_content("live")
    assert all(source.exists() for source in mounts.values())


def test_the_command_for_a_gpu() -> None:
    assert text("gpu") == (
        "docker run --rm --init --stop-timeout=40 --gpus=all "
        "--publish=127.0.0.1:8001:8001 --publish=127.0.0.1:8000:8000 --publish=127.0.0.1:8002:8002 "
        "--mount=type=bind,source=/data/models,target=/models,readonly LIVE --read-only --tmpfs=/tmp "
        "--cap-drop=ALL --security-opt=no-new-privileges --user=1000:1000 --shm-size=1g "
        "nvcr.io/nvidia/tritonserver:26.11-py3 "
        "tritonserver --model-repository=/models --model-config-name=gpu --disable-auto-complete-config "
        "--model-control-mode=none --exit-timeout-secs=30"
    )


def test_a_cpu_asks_for_no_gpu() -> None:
    assert "--gpus" not in text("cpu")
    assert "--model-config-name=cpu" in text("cpu")


def test_only_an_explicit_host_is_published_to_others() -> None:
    assert "0.0.0.0" not in text("gpu")
    assert "--publish=0.0.0.0:8001:8001" in text("gpu", host="0.0.0.0")
    assert "--publish=[::]:8001:8001" in text("gpu", host="::")
    assert "--publish=127.0.0.1:8001:8001" in text("gpu", host="localhost")
    with pytest.raises(DeployError, match="must be an address of this machine"):
        text("gpu", host="example.org")


def test_the_release_is_a_patched_one() -> None:
    release = container.IMAGE.rpartition(":")[2].removesuffix("-py3")
    assert tuple(map(int, release.split("."))) >= (26, 7)


def test_every_flag_is_one_that_triton_has() -> None:
    """Asked of the real binary: release 24.10, whose options later releases keep."""
    found = environment.find()
    told = subprocess.run([found.binary, "--help"], env=found.variables(), capture_output=True, text=True, check=False)
    known = set(re.findall(r"--([a-z][a-z-]+)", told.stdout + told.stderr))
    command = container.command(Path("/data/models"), profile="gpu", host="127.0.0.1", host_ports=PORTS)
    flags = {flag.removeprefix("--").partition("=")[0] for flag in command[command.index("tritonserver") + 1 :]}
    assert len(flags) >= 5
    assert flags <= known


def test_dry_run_prints_and_runs_nothing(tiny_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "serve",
        "--server=docker",
        "--dry-run",
        f"--repository={tiny_models}",
        "--profile=gpu",
        "--grpc-port=9001",
    ]
    assert main(command) == 0
    assert f"source={tiny_models}" in capsys.readouterr().out.replace("\n", "")


def test_no_engine_is_a_clear_error(tiny_models: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert main(["serve", "--server=docker", f"--repository={tiny_models}", "--profile=cpu"]) == 1
    assert capsys.readouterr().err.startswith("dfdeploy: error: ")


FAKE_DOCKER = """#!/bin/sh
test "$1" = info && exit 0
trap 'echo got TERM; exit 3' TERM
echo "docker $@"
while :; do sleep 0.05; done
"""


def test_docker_gets_the_signals_and_says_how_it_ended(tiny_models: Path, tmp_path: Path) -> None:
    """Docker's own part, passing them on to Triton, is not ours to test."""
    docker = tmp_path / "docker"
    docker.write_text(FAKE_DOCKER)
    docker.chmod(0o755)
    serving = subprocess.Popen(
        [sys.executable, "-m", "dfdeploy", "serve", "--server=docker", "--profile=cpu", f"--repository={tiny_models}"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    shown, ran = serving.stdout.readline(), serving.stdout.readline()
    assert shown == ran
    serving.terminate()
    assert serving.stdout.read() == "got TERM\n"
    assert serving.wait(10) == 3
