"""NVIDIA's Triton container on the same repository: what may face a network.

The command is made in one place, as a list, and printed by ``dfdeploy serve --server docker --dry-run``. Flags: the
``docker run`` reference; NVIDIA's Triton user guide, "Model repository" and "Secure deployment considerations".
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from dfdeploy import folders
from dfdeploy.errors import DeployError

# Never below 26.07, the first with fixes for all advisories up to bulletin 5875; the embedded 24.10 has none of them.
# Later ones mend the dynamic batcher (26.08, 26.11), the Python backend's shutdown (26.09) and lost streams (26.11).
IMAGE = "nvcr.io/nvidia/tritonserver:26.11-py3"
MOUNT = "/models"
BACKENDS_MOUNT = "/opt/tritonserver/backends"
CONTAINER_PORTS = {"grpc": 8001, "http": 8000, "metrics": 8002}


def default_profile() -> str:
    """``gpu`` where NVIDIA's driver lists one, else ``cpu``."""
    smi = shutil.which("nvidia-smi")
    listed = smi and subprocess.run([smi, "-L"], capture_output=True, check=False)
    return "gpu" if listed and listed.returncode == 0 and listed.stdout.strip() else "cpu"


def command(repository: Path, *, profile: str, host: str, host_ports: Mapping[str, int]) -> list[str]:
    """The ``docker run`` that serves ``repository``.

    Args:
        repository: mounted read-only.
        profile: ``cpu`` or ``gpu``.
        host: address of this machine that the ports are published on, not a name.
        host_ports: ``grpc``, ``http`` and ``metrics`` → port on this machine.

    Raises:
        DeployError: ``host`` is no address.
    """
    address = _address(host)
    published = [f"--publish={address}:{host_ports[name]}:{port}" for name, port in CONTAINER_PORTS.items()]
    return [
        "docker",
        "run",
        "--rm",
        "--init",
        "--stop-timeout=40",  # Triton's own exit timeout, and a little more; Docker would kill it after 10 s
        *(["--gpus=all"] if profile == "gpu" else []),
        *published,
        # Triton writes to none of its mounts; a process that breaks out of it finds nothing to gain.
        f"--mount=type=bind,source={repository.resolve()},target={MOUNT},readonly",
        *live_backend_mounts(),
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=1000:1000",
        "--shm-size=1g",
        IMAGE,
        "tritonserver",
        f"--model-repository={MOUNT}",
        f"--model-config-name={profile}",
        "--disable-auto-complete-config",
        "--model-control-mode=none",
        "--exit-timeout-secs=30",
    ]


def _address(host: str) -> str:
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise DeployError(f"--host must be an address of this machine such as 0.0.0.0, found {host!r}") from None
    return f"[{address}]" if address.version == 6 else str(address)


def live_backend_mounts() -> list[str]:
    """The container brings every backend but the one for live streams."""
    return [
        f"--mount=type=bind,source={source},target={BACKENDS_MOUNT}/live/{place},readonly"
        for place, source in folders.backend_content("live").items()
    ]


def run(arguments: list[str]) -> NoReturn:
    """Become the container's command, so that signals reach Docker, which passes them on to Triton.

    Raises:
        DeployError: no Docker, or no engine behind it.
    """
    docker = shutil.which(arguments[0])
    if docker is None:
        raise DeployError("no docker on this machine; install Docker Engine, and for a GPU NVIDIA's container toolkit")
    engine = subprocess.run([docker, "info"], capture_output=True, text=True, check=False)
    if engine.returncode:
        reason = (engine.stderr.strip().splitlines() or [f"status {engine.returncode}"])[-1]
        raise DeployError(f"docker is installed but its engine does not answer: {reason}")
    sys.stdout.flush()
    os.execv(docker, arguments)  # noqa: S606  (no shell)
