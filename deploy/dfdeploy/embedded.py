"""The Triton that PyPI carries, on loopback, as a context manager: ready and self-checked, or not at all."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from dfdeploy import environment, guard, ports, selfcheck
from dfdeploy.errors import DeployError, RepositoryUnusable, ServerFailed, WrongAnswers
from dfdeploy.repository import built_models, check_backends

# A proxy of the environment has no way to this machine's loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READY_TIMEOUT_S = 600.0
POLL_S = 0.1
STOP_TIMEOUT_S = guard.DRAIN_S + 10.0
PREFIX = "dfserve-"
KEPT_LOGS = 5  # of servers that failed


class Server:
    """One Triton on one repository.

    Args:
        repository: folder of models, as ``dfexport build`` writes it.
        profile: ``cpu`` or ``gpu``, which of each model's configs is used.
        grpc_port, http_port, metrics_port: 0 takes a free one.
        environment_dir: the server's environment; default see `environment.default_folder`.

    Raises on entering:
        DeployError: see its subclasses.
    """

    def __init__(
        self,
        repository: Path,
        *,
        profile: str = "cpu",
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        environment_dir: Path | None = None,
    ) -> None:
        self.repository = repository.resolve()
        self.profile = profile
        self.models = built_models(self.repository)
        check_backends(self.repository)
        self._wanted_ports = {"grpc": grpc_port, "http": http_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._environment_dir = environment_dir
        self._guard: subprocess.Popen[bytes] | None = None
        self._triton: psutil.Process | None = None
        self._backends: list[psutil.Process] = []
        self._run_dir = Path()

    def __enter__(self) -> Self:
        """Start, unless started; inside, the server is ready and answers right."""
        if self._guard is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and leave nothing behind."""
        self.stop()

    @property
    def grpc_url(self) -> str:
        """HOST:PORT for clients."""
        return f"{ports.LOOPBACK}:{self._ports['grpc']}"

    @property
    def http_url(self) -> str:
        """Base address of the HTTP endpoint."""
        return f"http://{ports.LOOPBACK}:{self._ports['http']}"

    @property
    def metrics_url(self) -> str:
        """What Prometheus scrapes."""
        return f"http://{ports.LOOPBACK}:{self._ports['metrics']}/metrics"

    @property
    def log(self) -> Path:
        """Triton's own words; it stays when the server fails, and `sweep` keeps the last few."""
        return self._run_dir.with_name(f"{self._run_dir.name}.log")

    @property
    def pid(self) -> int:
        """Process id of Triton."""
        if self._triton is None:
            raise ServerFailed("the server is not running")
        return int(self._triton.pid)

    @property
    def backend_pids(self) -> list[int]:
        """Process ids of the backends, one an instance of a model."""
        return [process.pid for process in self._backends]

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Start Triton, wait until it is ready, and check what each model answers.

        Args:
            cancelled: when set meanwhile, the start is given up with a KeyboardInterrupt.
        """
        found = environment.find(self._environment_dir)
        self._ports = ports.resolve(self._ports or self._wanted_ports)
        sweep()
        name = f"{PREFIX}{os.getpid()}-"
        self._run_dir = Path(tempfile.mkdtemp(prefix=name))
        found.lay_out(self._run_dir)
        command = self._command(found, region_prefix=self._run_dir.name)
        with self.log.open("xb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "dfdeploy.guard", self._run_dir.name, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=found.variables(self._run_dir),
                start_new_session=True,
            )
        try:
            self._wait_until_ready(cancelled or threading.Event())
            if self._triton is None:
                raise ServerFailed("Triton was killed while it became ready")
            self._backends = self._triton.children()
            selfcheck.check_models(self.grpc_url, self.repository, self.models)
        except WrongAnswers as error:
            self.stop(keep_log=True)
            raise WrongAnswers(f"{error}. Triton's log: {self.log}") from None
        except BaseException as error:
            self.stop(keep_log=isinstance(error, DeployError))
            raise

    def stop(self, *, keep_log: bool = False) -> None:
        """Let Triton finish what it is answering, then end it and everything it started.

        Args:
            keep_log: for whoever wants to know why it failed.
        """
        if self._guard is None:
            return
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            self._guard.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        if self._guard.returncode < 0 and self._triton is not None:  # the guard itself was killed
            orphans = [self._triton, *self._backends]
            guard.kill_group(self._triton.pid)
            _wait_until_gone(orphans)  # their memory, a GPU's above all, is the next start's
            guard.unlink_regions(self._run_dir.name)
        self._guard, self._triton, self._backends = None, None, []
        shutil.rmtree(self._run_dir, ignore_errors=True)
        if not keep_log:
            self.log.unlink(missing_ok=True)

    def failure(self) -> str:
        """Why the server can't be trusted any more; empty while it can.

        Triton does not restart a backend process that died, and goes on calling its model ready.
        """
        if self._guard is None or self._guard.poll() is not None:
            return f"Triton has stopped{self._complaint()}"
        dead = [process.pid for process in self._backends if not _is_alive(process)]
        return f"backend process {dead[0]} has died" if dead else ""

    def _command(self, found: environment.ServerEnvironment, *, region_prefix: str) -> list[str]:
        options = {
            "model-repository": self.repository,
            "model-config-name": self.profile,
            "backend-directory": self._run_dir / "backends",
            "backend-config": f"python,shm-region-prefix-name={region_prefix}",
            "grpc-address": ports.LOOPBACK,
            "http-address": ports.LOOPBACK,
            "metrics-address": ports.LOOPBACK,
            "grpc-port": self._ports["grpc"],
            "http-port": self._ports["http"],
            "metrics-port": self._ports["metrics"],
            # The guard bounds the drain; an exit timeout shorter than a drain corrupts Triton's heap.
            "exit-timeout-secs": 2 * guard.DRAIN_S,
        }
        arguments = [f"--{option}={value}" for option, value in options.items()]
        return [str(found.binary), "--disable-auto-complete-config", *arguments]

    def _wait_until_ready(self, cancelled: threading.Event) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (self._listens() and self._is_ready()):
            if self._guard is None or self._guard.poll() is not None:
                ports.resolve(self._ports)  # another server may have taken one while this one was loading
                raise RepositoryUnusable(f"Triton did not start{self._complaint()}. Its log: {self.log}")
            if self._triton is None:  # known as early as can be: a guard that is killed leaves it to us
                self._triton = next(iter(psutil.Process(self._guard.pid).children()), None)
            if time.monotonic() > deadline:
                raise ServerFailed(f"Triton was not ready within {READY_TIMEOUT_S:.0f} s. Its log: {self.log}")
            if cancelled.wait(POLL_S):
                raise KeyboardInterrupt

    def _listens(self) -> bool:
        """Whether all ports are our own Triton's, and not those of another one that says it is ready."""
        if self._triton is None:
            return False
        try:
            connections = self._triton.net_connections(kind="tcp")
        except psutil.Error:  # it has just ended
            return False
        listening = {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}
        return listening >= set(self._ports.values())

    def _is_ready(self) -> bool:
        try:
            with OPENER.open(f"{self.http_url}/v2/health/ready", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _complaint(self) -> str:
        """The first thing Triton's log says about a failure."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []
        for mark in ("failed to load", "error: ", "Internal: "):
            for line in lines:
                if mark in line:
                    return f": {line.partition('] ')[2].strip(chr(34)) or line}"
        return ""


def sweep() -> None:
    """Remove what owners that are gone have left: shared memory, run folders, and all but the newest logs."""
    temporary = Path(tempfile.gettempdir())
    left = [*guard.SHARED_MEMORY.glob(f"{PREFIX}*-*"), *temporary.glob(f"{PREFIX}*-*")]
    left = [entry for entry in left if not _is_in_use(entry)]
    logs = sorted((entry for entry in left if entry.suffix == ".log"), key=_modified_s)
    for entry in {*left}.difference(logs[-KEPT_LOGS:]):
        _remove(entry)


def _is_in_use(entry: Path) -> bool:
    """Whether its owner still runs; a log is in use as long as its run's folder is there."""
    owner = entry.name.removeprefix(PREFIX).partition("-")[0]
    if not owner.isdecimal():
        return True  # none of ours
    return psutil.pid_exists(int(owner)) and (entry.suffix != ".log" or entry.with_suffix("").is_dir())


def _modified_s(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(entry: Path) -> None:
    try:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    except (FileNotFoundError, PermissionError):
        return  # another start has swept it meanwhile, or it is another user's


def _wait_until_gone(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(_is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
