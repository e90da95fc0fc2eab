"""The Triton that PyPI carries, on loopback, as a context manager: ready and self-checked, or not at all."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from dfcontract.live import DRAIN_DIR_VARIABLE, STOP_FILE, live_name
from dfdeploy import doors, environment, guard, ports, selfcheck
from dfdeploy.errors import DeployError, ModelsUnusable, ServerFailed
from dfdeploy.leftovers import PREFIX, sweep
from dfdeploy.processes import is_alive
from dfdeploy.repository import built_models, unusable_models
from dfdeploy.stop import StopRequest
from dfdeploy.tls import Tls

# A proxy of the environment has no way to this machine's loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READY_TIMEOUT_S = 600.0
POLL_S = 0.1
STOP_TIMEOUT_S = guard.DRAIN_S + 10.0
# What Triton's log says of a model that it can't load, and of its own death.
FAILED_TO_LOAD = re.compile(r"failed to load '([^']+)' version \d+: (.*)")
NO_GPUS = "no GPUs are available"
LAST_WORDS = ("ASSERTION FAILED", "Signal (", "terminate called", "what():", "Out of memory", "Check failed")


class Server:
    """One Triton on one repository. A model that can't be used is left out, as long as others are left.

    Args:
        repository: folder of models, as ``dfexport build`` writes it.
        profile: ``cpu`` or ``gpu``, which of each model's configs is used.
        grpc_port: 0 takes a free one.
        http_port: 0 takes a free one.
        metrics_port: 0 takes a free one.
        host: the address to listen on: loopback but in a container, whose own addresses are not the machine's.
        environment_dir: the server's environment; default see `environment.default_folder`.
        http_inference: whether it also scores over HTTP.
        tls: of the gRPC port; HTTP then answers health alone.

    Attributes:
        models: that are served.
        left_out: models that are not, each with the reason.

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
        host: str = ports.LOOPBACK,
        environment_dir: Path | None = None,
        http_inference: bool = False,
        tls: Tls | None = None,
    ) -> None:
        self.repository = repository.resolve()
        self.profile = profile
        self.models = built_models(self.repository)
        self.left_out: dict[str, str] = {}
        self._leave_out(unusable_models(self.repository, self.models))
        doors.check(http_inference=http_inference, tls=tls)
        self.http_inference, self.tls = http_inference, tls
        self._wanted_ports = {"grpc": grpc_port, "http": http_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._host = host
        self._environment_dir = environment_dir
        self._environment: environment.ServerEnvironment | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._triton: psutil.Process | None = None
        self._backends: list[psutil.Process] = []
        self._run_dir = Path()
        self._tls_expiry: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start, unless started; inside, the server is ready and answers right."""
        if not self.is_started:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and leave nothing behind."""
        self.stop()

    @property
    def is_started(self) -> bool:
        """Whether it was started and not stopped; `failure` says whether it still answers."""
        return self._guard is not None

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

    def start(self, cancelled: StopRequest | None = None, *, may_leave_out: bool = True) -> None:
        """Start Triton, wait until it is ready, and check what each model answers.

        Args:
            cancelled: when set meanwhile, the start is given up with a KeyboardInterrupt.
            may_leave_out: start again without models that do not load or answer wrong, instead of raising.
        """
        self._environment = self._environment or environment.find(self._environment_dir)
        self._ports = ports.resolve(self._ports or self._wanted_ports)
        self._tls_expiry = self.tls.expiry() if self.tls else {}  # files that can't work end it here, before Triton
        sweep()
        while True:
            try:
                self._start_once(self._environment, cancelled)
            except ModelsUnusable as error:
                if not may_leave_out or error.reasons.keys() >= {*self.models}:
                    raise
                self._leave_out(error.reasons)
            else:
                return

    def _leave_out(self, reasons: dict[str, str]) -> None:
        """Serve the others; raises where none is left."""
        remaining = [model for model in self.models if model not in reasons]
        if not remaining:
            raise ModelsUnusable(reasons)
        self.models = remaining
        self.left_out |= reasons

    def _start_once(self, found: environment.ServerEnvironment, cancelled: StopRequest | None) -> None:
        self._run_dir = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        found.lay_out(self._run_dir)
        self._lay_out_models()
        command = self._command(found, region_prefix=self._run_dir.name)
        self.log.touch(mode=0o600, exist_ok=False)
        drain_dir = self._run_dir / "drain"
        drain_dir.mkdir()
        with self.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, self._run_dir.name, drain_dir / STOP_FILE, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=found.variables(self._run_dir) | {DRAIN_DIR_VARIABLE: str(drain_dir)} | self._tls_expiry,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(cancelled)
            if self._triton is None:
                raise ServerFailed("Triton was killed while it became ready")
            self._backends = self._triton.children()
            guard.close_regions(self._run_dir.name)
            credentials = self.tls.credentials() if self.tls else None
            if reasons := selfcheck.wrong_models(self.grpc_url, self.repository, self.models, credentials):
                raise ModelsUnusable(self._with_siblings(reasons), self.log)
        except BaseException as error:
            self.stop(keep_log=isinstance(error, DeployError))
            raise

    def _lay_out_models(self) -> None:
        """A repository of links, so that Triton sees no model but those that are served."""
        folder = self._run_dir / "models"
        folder.mkdir()
        for model in self.models:
            (folder / model).symlink_to(self.repository / model)

    def stop(self, *, keep_log: bool = False, drain: bool = True) -> None:
        """Let Triton finish what it is answering, then end it and everything it started.

        Args:
            keep_log: for whoever wants to know why it failed.
            drain: False ends it at once, as what waits for a dead backend would wait in vain.
        """
        if self._guard is None:
            return
        if not drain and self._triton is not None and is_alive(self._triton):
            guard.kill_group(self._triton.pid)
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
        if self._guard is None:
            return "the server is not running"
        if self._triton is not None and not is_alive(self._triton):  # its backends follow it; the guard says why
            self._guard.wait(STOP_TIMEOUT_S)
        if (status := self._guard.poll()) is not None:
            return f"{ending_of(status)}{self._last_words()}"
        dead = [process.pid for process in self._backends if not is_alive(process)]
        return f"backend process {dead[0]} has died" if dead else ""

    def _command(self, found: environment.ServerEnvironment, *, region_prefix: str) -> list[str]:
        options = {
            "model-repository": self._run_dir / "models",
            "model-config-name": self.profile,
            "backend-directory": self._run_dir / "backends",
            "backend-config": f"python,shm-region-prefix-name={region_prefix}",
            "grpc-address": self._host,
            "http-address": self._host,
            "metrics-address": self._host,
            "grpc-port": self._ports["grpc"],
            "http-port": self._ports["http"],
            "metrics-port": self._ports["metrics"],
            # The guard bounds the drain; an exit timeout shorter than a drain corrupts Triton's heap.
            "exit-timeout-secs": 2 * guard.DRAIN_S,
        }
        arguments = [f"--{option}={value}" for option, value in options.items()]
        arguments += doors.options(doors.write_key(self._run_dir), http_inference=self.http_inference, tls=self.tls)
        return [str(found.binary), "--disable-auto-complete-config", *arguments]

    def _wait_until_ready(self, cancelled: StopRequest | None) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (self._listens() and self._is_ready()):
            if self._guard is None or self._guard.poll() is not None:
                ports.resolve(self._ports)  # another server may have taken one while this one was loading
                raise self._start_failure()
            if self._triton is None:  # known as early as can be: a guard that is killed leaves it to us
                self._triton = next(iter(psutil.Process(self._guard.pid).children()), None)
            if time.monotonic() > deadline:
                raise ServerFailed(f"Triton was not ready within {READY_TIMEOUT_S:.0f} s. Its log: {self.log}")
            if cancelled is None:
                time.sleep(POLL_S)
            elif cancelled.wait(POLL_S):
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

    def _start_failure(self) -> DeployError:
        """Why Triton ended instead of becoming ready: models that it names, or its first complaint."""
        lines = self._log_lines()
        failed = {found[1]: f"does not load: {found[2]}" for line in lines if (found := FAILED_TO_LOAD.search(line))}
        if any(NO_GPUS in reason for reason in failed.values()):
            return DeployError(f"Triton sees no GPU here: leave --profile {self.profile} out. Its log: {self.log}")
        if failed:
            return ModelsUnusable(self._with_siblings(failed), self.log)
        complaint = next((line for mark in ("error: ", "Internal: ") for line in lines if mark in line), "")
        words = f": {complaint.partition('] ')[2].strip(chr(34)) or complaint}" if complaint else ""
        return ServerFailed(f"Triton did not start{words}. Its log: {self.log}")

    def _with_siblings(self, reasons: dict[str, str]) -> dict[str, str]:
        """The same with the live models of detectors that can't be used."""
        siblings = {live_name(model): f"is {model}'s" for model in reasons if live_name(model) in self.models}
        return siblings | reasons

    def _last_words(self) -> str:
        lines = [line for line in self._log_lines() if any(mark in line for mark in LAST_WORDS)]
        return f": {lines[0].partition('] ')[2] or lines[0]}" if lines else ""

    def _log_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []


def ending_of(status: int) -> str:
    """What a guard's exit status says: its own death by a signal, Triton's, or that Triton ended by itself."""
    if status < 0:
        return f"the guard process was killed by {signal.Signals(-status).name}"
    if status > guard.SIGNALLED:
        return f"Triton was killed by {signal.Signals(status - guard.SIGNALLED).name}"
    return f"Triton has stopped with exit status {status}"


def _wait_until_gone(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)
