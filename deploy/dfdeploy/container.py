"""Triton in a container, on the same repository: NVIDIA's image, which may face a network, or one of ours.

The command is made in one place, as a list, and printed by ``dfdeploy serve --server docker --dry-run``. Flags: the
``docker run`` reference, which podman follows; NVIDIA's Triton user guide, "Model repository" and "Secure deployment
considerations".
"""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from dfdeploy import doors, folders, gpus
from dfdeploy.errors import DeployError, RepositoryUnusable
from dfdeploy.tls import Tls

if TYPE_CHECKING:
    from dfclient.credentials import Credentials

# Never below 26.07, the first with fixes for all advisories up to bulletin 5875; the embedded 24.10 has none of them.
# Later ones mend the dynamic batcher (26.08, 26.11), the Python backend's shutdown (26.09) and lost streams (26.11).
NVIDIA_IMAGE = "nvcr.io/nvidia/tritonserver:26.11-py3"
DIGEST_VARIABLE = "DFSERVE_TRITON_DIGEST"
ENGINES = ("docker", "podman")
# What CUDA 13, in the images since 26.07, needs; older drivers only through forward compatibility on data-centre cards.
LEAST_DRIVER, LEAST_COMPUTE_CAPABILITY = 580, 7.5
MOUNT = "/models"
TENSORRT, ENGINES_MOUNT = "tensorrt", "/engines"  # a profile, and where its configurations keep engines
BACKENDS_MOUNT = "/opt/tritonserver/backends"
CONTAINER_PORTS = {"grpc": 8001, "http": 8000, "metrics": 8002}
LATE_S = 600.0  # then whoever waits is told; a TensorRT engine is built for minutes
POLL_S = 0.5


def default_profile() -> str:
    """``gpu`` where NVIDIA's driver lists one, else ``cpu``."""
    smi = shutil.which("nvidia-smi")
    listed = smi and subprocess.run([smi, "-L"], capture_output=True, check=False)
    return "gpu" if listed and listed.returncode == 0 and listed.stdout.strip() else "cpu"


def command(
    repository: Path,
    *,
    profile: str,
    host: str,
    host_ports: Mapping[str, int],
    engine: str = "docker",
    image: str | None = None,
    http_inference: bool = False,
    tls: Tls | None = None,
) -> list[str]:
    """The ``docker run`` that serves ``repository``.

    Args:
        repository: mounted read-only.
        profile: ``cpu``, ``gpu`` or ``tensorrt``.
        host: address of this machine that the ports are published on, not a name.
        host_ports: ``grpc``, ``http`` and ``metrics`` → port on this machine.
        engine: ``docker`` or ``podman``.
        image: one of ours, which knows itself how it serves; None for NVIDIA's.
        http_inference: whether it also scores over HTTP.
        tls: of the gRPC port; HTTP, which has none, is then published nowhere.

    Raises:
        DeployError: ``host`` is no address, or HTTP is to score beside a gRPC port with TLS.
    """
    address = _address(host)
    inside = {name: port for name, port in CONTAINER_PORTS.items() if not (tls and name == "http")}
    published = [f"--publish={address}:{host_ports[name]}:{port}" for name, port in inside.items()]
    told = (tls.variables() if image else tls.expiry_variables()) if tls else []
    secured = [*tls.mounts(with_check=bool(image)), *told] if tls else []
    return [
        engine,
        "run",
        "--rm",
        "--init",
        "--stop-timeout=40",  # Triton's own exit timeout, and a little more; Docker would kill it after 10 s
        *(["--gpus=all"] if profile != "cpu" else []),
        *published,
        # Triton writes to none of its mounts; a process that breaks out of it finds nothing to gain.
        f"--mount=type=bind,source={repository.resolve()},target={MOUNT},readonly",
        *([] if image else live_backend_mounts()),
        *secured,
        "--read-only",
        # Our image runs Triton's backends from here, where each run has its own.
        "--tmpfs=/tmp:exec" if image else "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        *engines_mount(profile),
        f"--user={_user()}" if profile == TENSORRT else "--user=1000:1000",
        "--shm-size=1g",
        *(
            our_command(image, profile)
            if image
            else nvidia_command(profile, http_inference=http_inference, tls=tls and tls.inside())
        ),
    ]


def our_command(image: str, profile: str) -> list[str]:
    """An image of ours and what it is told: of its own accord one serves the profile of what it was made for.

    TensorRT is the GPU image's alone; the one for CPUs refuses the option.
    """
    return [image, *([f"--model-config-name={profile}"] if profile == TENSORRT else [])]


def nvidia_command(profile: str, *, http_inference: bool = False, tls: Tls | None = None) -> list[str]:
    """NVIDIA's image and what is run in it.

    Raises:
        DeployError: the digest that the environment names is none.
    """
    return [f"{NVIDIA_IMAGE}{_pin()}", *triton_command(profile, http_inference=http_inference, tls=tls)]


def triton_command(profile: str, *, http_inference: bool = False, tls: Tls | None = None) -> list[str]:
    """What is run in NVIDIA's image, and in ours made from it (`dfdeploy.in_container`).

    On a CPU its own backends have configurations of their own; a model that was built before those were there has
    one that suits them in ``config.pbtxt``, which Triton takes then.
    """
    return [
        "tritonserver",
        f"--model-repository={MOUNT}",
        f"--model-config-name={'nvidia_cpu' if profile == 'cpu' else profile}",
        "--disable-auto-complete-config",
        "--model-control-mode=none",
        "--exit-timeout-secs=30",
        # Doors to other platforms, which would listen beside Triton's own.
        "--allow-sagemaker=false",
        "--allow-vertex-ai=false",
        *doors.container_options(http_inference=http_inference, tls=tls),
    ]


def _pin() -> str:
    """The digest that whoever serves has verified, as a suffix: a tag can be moved, a digest can't."""
    digest = os.environ.get(DIGEST_VARIABLE, "")
    if digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise DeployError(f"{DIGEST_VARIABLE}: expected sha256: and 64 hexadecimal digits, found {digest!r}")
    return f"@{digest}" if digest else ""


def _address(host: str) -> str:
    """As an engine's --publish wants it."""
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


def check_profile(repository: Path, models: Iterable[str], profile: str) -> None:
    """Refuse models that were built before there was such a profile: Triton would take their ``config.pbtxt``, a CPU's.

    Raises:
        RepositoryUnusable: names them.
    """
    configs = {model: repository / model / "configs" for model in models}
    lacking = [name for name, own in configs.items() if own.is_dir() and not (own / f"{profile}.pbtxt").is_file()]
    if lacking:
        raise RepositoryUnusable(f"{', '.join(lacking)}: no configuration for {profile}; build again with dfexport")


def engines_mount(profile: str) -> list[str]:
    """A folder to keep TensorRT's engines in, where they are asked for; it is this user's alone, as they are code."""
    if profile != TENSORRT:
        return []
    folder = folders.cache() / "engines"
    return [f"--mount=type=bind,source={folder},target={ENGINES_MOUNT}"]


def make_engines_folder() -> None:
    """Make what `engines_mount` mounts."""
    folder = folders.cache() / "engines"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, *(int(number) for number in _user().split(":")))


def _user() -> str:
    """Whom the container runs as where it writes: the caller, but never root."""
    return f"{os.geteuid()}:{os.getegid()}" if os.geteuid() else "1000:1000"


def reachable(host: str, port: int) -> str:
    """HOST:PORT at which this machine itself reaches what is published on ``host``."""
    address = _address(host)
    everywhere = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  (to compare with, not to bind)
    return f"{everywhere.get(address, address)}:{port}"


def check_gpus() -> None:
    """Refuse GPUs or a driver that the image's CUDA does not run on, before it is started.

    Raises:
        DeployError: says what was found and what is needed.
    """
    for gpu in gpus.listed():
        if gpu.release < LEAST_DRIVER:
            raise DeployError(
                f"{gpu.name}: expected a driver of release R{LEAST_DRIVER} or newer, found {gpu.driver}: update it, "
                "or serve with --profile cpu"
            )
        if gpu.capability < LEAST_COMPUTE_CAPABILITY:
            raise DeployError(
                f"{gpu.name}: expected compute capability {LEAST_COMPUTE_CAPABILITY} or more, found {gpu.capability}: "
                "the image's CUDA does not run on it; serve with --profile cpu"
            )


def run(arguments: list[str], repository: Path, url: str, credentials: "Credentials | None" = None) -> int:
    """Run the container until it ends, and prove once it is ready that it answers right; its exit status.

    The engine gets our signals from us alone: a second Ctrl-C, from the terminal, would have it give up Triton's drain.

    Args:
        arguments: see `command`.
        repository: what it serves.
        url: HOST:PORT of its gRPC endpoint, from this machine.
        credentials: what it asks of a client.

    Raises:
        DeployError: no engine, or wrong answers, and then the container was stopped.
    """
    from dfdeploy import selfcheck

    engine = shutil.which(arguments[0])
    if engine is None:
        raise DeployError(
            f"no {arguments[0]} on this machine; install Docker Engine or podman, and for a GPU NVIDIA's container "
            "toolkit"
        )
    info = subprocess.run([engine, "info"], capture_output=True, text=True, check=False)
    if info.returncode:
        reason = (info.stderr.strip().splitlines() or [f"status {info.returncode}"])[-1]
        raise DeployError(f"{arguments[0]} is installed but its engine does not answer: {reason}")
    sys.stdout.flush()
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # signals that came before we knew the process: it would be left alone

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if started:
            started[0].send_signal(number)
        else:
            early.append(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen([engine, *arguments[1:]], start_new_session=True)
        started.append(process)
        for number in early:
            process.send_signal(number)
        if _becomes_ready(process, url, credentials) and not selfcheck.report(url, repository, credentials):
            raise DeployError("the container's answers are wrong (above), so it was stopped")
        return _wait(process)
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit status, once it has ended.

    In short waits: Python runs a signal's handler between two steps of its own, and a signal that comes just before a
    wait without end is passed on only after it (with gRPC's threads on a busy machine: one in four).
    """
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue


def _becomes_ready(process: subprocess.Popen[bytes], url: str, credentials: "Credentials | None") -> bool:
    """Wait until its server is ready, however long; False where the container has ended before."""
    from dfclient.errors import ServerError
    from dfclient.transport import Transport

    transport = Transport(url, timeout_s=5.0, credentials=credentials)
    late_s = time.monotonic() + LATE_S
    try:
        while process.poll() is None:
            reason = "it says so"
            try:
                if transport.is_ready():
                    return True
            except ServerError as error:
                reason = str(error)
            if time.monotonic() > late_s:
                print(
                    f"dfdeploy: after {LATE_S:.0f} s the server is not ready ({reason}); once it is, its answers are "
                    "proven",
                    file=sys.stderr,
                )
                late_s = math.inf
            time.sleep(POLL_S)
        return False
    finally:
        transport.close()
