"""The container's command as text, and what is done around it. `make test-image` runs one for real."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dfcontract.tensors import WARMUP_FILE
from dfdeploy import container, environment, folders, ports
from dfdeploy.__main__ import main
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError, RepositoryUnusable

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


def test_the_command_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFSERVE_PROTOCOL_KEY", "operators")
    assert text("gpu") == (
        "docker run --rm --init --stop-timeout=40 --gpus=all "
        "--publish=127.0.0.1:8001:8001 --publish=127.0.0.1:8000:8000 --publish=127.0.0.1:8002:8002 "
        "--mount=type=bind,source=/data/models,target=/models,readonly LIVE --read-only --tmpfs=/tmp "
        "--cap-drop=ALL --security-opt=no-new-privileges --user=1000:1000 --shm-size=1g "
        "nvcr.io/nvidia/tritonserver:26.11-py3 "
        "tritonserver --model-repository=/models --model-config-name=gpu --disable-auto-complete-config "
        "--model-control-mode=none --exit-timeout-secs=30 --allow-sagemaker=false --allow-vertex-ai=false "
        "--grpc-restricted-protocol=shared-memory,trace,logging,statistics:dfserve-key=operators "
        "--http-restricted-api=shared-memory,trace,logging,model-repository,inference,statistics:dfserve-key=operators"
    )


def test_a_key_that_nobody_gave_is_another_one_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFSERVE_PROTOCOL_KEY", raising=False)
    keys = {option.rpartition("=")[2] for _ in range(3) for option in container.nvidia_command("gpu")[-2:]}
    assert len(keys) == 3
    assert min(map(len, keys)) >= 32


def test_our_gpu_image_runs_triton_with_the_same_options(tmp_path: Path) -> None:
    """A program of Triton's name that prints its arguments stands in for the image's."""
    (triton := tmp_path / "tritonserver").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    triton.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DFSERVE_PROTOCOL_KEY": "secret"}
    command = [sys.executable, "-m", "dfdeploy.in_container", "--model-config-name=cpu"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    _, *options = finished.stdout.splitlines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFSERVE_PROTOCOL_KEY", "secret")
        ours = [option for option in container.triton_command("gpu")[1:] if "config-name" not in option]
    assert options == [*ours, "--model-config-name=cpu"]
    assert "dfserve-key=secret" in finished.stdout


def test_whoever_asks_for_http_scores_over_it() -> None:
    *_, http = container.nvidia_command("gpu", http_inference=True)
    assert "inference" not in http


def test_tensorrt_keeps_its_engines_in_a_folder_of_this_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_models: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(container.os, "geteuid", lambda: 1234)
    monkeypatch.setattr(container.os, "getegid", lambda: 567)
    command = text("tensorrt").split()
    engines = tmp_path / "dfserve" / "engines"
    assert f"--mount=type=bind,source={engines},target=/engines" in command
    assert {"--gpus=all", "--user=1234:567", "--model-config-name=tensorrt", "--read-only"} <= set(command)
    container.make_engines_folder()
    assert engines.stat().st_mode & 0o777 == 0o700
    assert "/engines" not in text("gpu")
    # Triton takes a model's configuration for a CPU where it has none of that name.
    container.check_profile(tiny_models, ["tiny", "tiny_live"], "tensorrt")
    (old := tmp_path / "old" / "configs").mkdir(parents=True)
    (old / "gpu.pbtxt").touch()
    container.check_profile(tmp_path, ["old"], "gpu")
    with pytest.raises(RepositoryUnusable, match="old: no configuration for tensorrt; build again"):
        container.check_profile(tmp_path, ["old"], "tensorrt")


@pytest.mark.parametrize(("profile", "told"), [("gpu", []), ("tensorrt", ["--model-config-name=tensorrt"])])
def test_our_gpu_image_is_told_of_tensorrt(profile: str, told: list[str]) -> None:
    command = container.command(
        Path("/data/models"), profile=profile, host="127.0.0.1", host_ports=PORTS, image="dfserve:gpu"
    )
    assert command[command.index("dfserve:gpu") + 1 :] == told


def test_the_embedded_server_has_no_tensorrt(tiny_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", f"--repository={tiny_models}", "--profile=tensorrt"]) == 1
    assert "--profile tensorrt goes with --server docker" in capsys.readouterr().err


def test_the_command_for_an_image_of_ours() -> None:
    """It knows itself how it serves, and brings the live backend along."""
    command = container.command(
        Path("/data/models"), profile="cpu", host="127.0.0.1", host_ports=PORTS, engine="podman", image="dfserve:cpu"
    )
    assert command[0] == "podman"
    assert command[-1] == "dfserve:cpu"
    assert "--tmpfs=/tmp:exec" in command
    assert {"--read-only", "--cap-drop=ALL", "--user=1000:1000", "--security-opt=no-new-privileges"} <= set(command)
    assert not [part for part in command if "backends/live" in part]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("NVIDIA L4, 580.65.06, 8.9", ""),
        ("NVIDIA H100 80GB HBM3, 595.10, 9.0", ""),
        ("NVIDIA A100-SXM4-40GB, 550.90.07, 8.0", "expected a driver of release R580 or newer, found 550.90.07"),
        ("Tesla V100-SXM2-16GB, 580.65.06, 7.0", "expected compute capability 7.5 or more, found 7.0"),
    ],
)
def test_a_gpu_that_the_image_does_not_run_on_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho 'NVIDIA L40S, 580.1, 8.9'\necho '{line}'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if not words:
        container.check_gpus()
        return
    with pytest.raises(DeployError, match=f"{line.partition(',')[0]}: {words}"):
        container.check_gpus()


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "127.0.0.1:9"), ("::", "[::1]:9"), ("localhost", "127.0.0.1:9"), ("10.0.0.1", "10.0.0.1:9")],
)
def test_where_what_is_published_is_reached(host: str, url: str) -> None:
    assert container.reachable(host, 9) == url


def test_a_cpu_asks_for_no_gpu() -> None:
    assert "--gpus" not in text("cpu")
    assert "--model-config-name=nvidia_cpu" in text("cpu")


def test_only_an_explicit_host_is_published_to_others() -> None:
    assert "0.0.0.0" not in text("gpu")
    assert "--publish=0.0.0.0:8001:8001" in text("gpu", host="0.0.0.0")
    assert "--publish=[::]:8001:8001" in text("gpu", host="::")
    assert "--publish=127.0.0.1:8001:8001" in text("gpu", host="localhost")
    with pytest.raises(DeployError, match="must be an address of this machine"):
        text("gpu", host="example.org")


def test_a_digest_pins_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = f"sha256:{'0a' * 32}"
    monkeypatch.setenv("DFSERVE_TRITON_DIGEST", digest)
    assert f" {container.NVIDIA_IMAGE}@{digest} tritonserver " in text("gpu")
    monkeypatch.setenv("DFSERVE_TRITON_DIGEST", "latest; rm -r /")
    with pytest.raises(DeployError, match="DFSERVE_TRITON_DIGEST: expected sha256:"):
        text("gpu")


def test_the_release_is_a_patched_one() -> None:
    release = container.NVIDIA_IMAGE.rpartition(":")[2].removesuffix("-py3")
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


def fake_engine(tmp_path: Path, repository: Path, *options: str, script: str = FAKE_DOCKER) -> subprocess.Popen[str]:
    docker = tmp_path / "docker"
    docker.write_text(script)
    docker.chmod(0o755)
    command = [sys.executable, "-m", "dfdeploy", "serve", "--server=docker", "--profile=cpu", *options]
    return subprocess.Popen(
        [*command, f"--repository={repository}"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_docker_gets_the_signals_and_says_how_it_ended(
    tiny_models: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Docker's own part, passing them on to Triton, is not ours to test."""
    script = FAKE_DOCKER.replace("TERM", number.name.removeprefix("SIG"))
    port = ports.resolve({"grpc": 0})["grpc"]
    serving = fake_engine(tmp_path, tiny_models, f"--grpc-port={port}", script=script)
    assert serving.stdout is not None
    shown, ran = serving.stdout.readline(), serving.stdout.readline()
    assert shown == ran
    serving.send_signal(number)
    assert serving.stdout.read() == f"got {number.name.removeprefix('SIG')}\n"
    assert serving.wait(60) == 3


def test_a_container_that_is_ready_is_asked_whether_it_answers_right(
    tiny_server: Server, tiny_models: Path, tmp_path: Path
) -> None:
    port = tiny_server.grpc_url.rpartition(":")[2]
    serving = fake_engine(tmp_path, tiny_models, f"--grpc-port={port}")
    assert serving.stdout is not None
    assert [serving.stdout.readline() for _ in range(6)][2:] == [
        f"{name} answers right\n" for name in ("tiny", "tiny_live", "tiny_trained", "tiny_trained_live")
    ]
    serving.terminate()
    assert serving.wait(60) == 3


def test_one_that_answers_wrong_is_stopped(tiny_server: Server, tiny_models: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_models, tmp_path / "models")
    waveform = other / "tiny" / WARMUP_FILE
    waveform.write_bytes(np.zeros(16000, "<f4").tobytes())  # the server's own answers to another one are no fault
    port = tiny_server.grpc_url.rpartition(":")[2]
    serving = fake_engine(tmp_path, other, f"--grpc-port={port}")
    out, err = serving.communicate(timeout=60)
    assert serving.returncode == 1
    assert "tiny answers wrong" in out
    assert out.endswith("got TERM\n")
    assert err == "dfdeploy: error: the container's answers are wrong (above), so it was stopped\n"
