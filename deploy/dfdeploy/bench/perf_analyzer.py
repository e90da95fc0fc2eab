"""NVIDIA's perf_analyzer: load on a running server, from a program that shares no code with our client.

It comes inside the wheel ``tritonclient==2.51.0``; later ones need a newer glibc or no longer carry it. Flags: its own
``--help``, and the guide "Triton Performance Analyzer".
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfdeploy import folders, machine
from dfdeploy.environment import missing_libraries
from dfdeploy.errors import DeployError, EnvironmentIncomplete


@dataclass(frozen=True)
class Load:
    """What one level of load brought: windows answered, and percentiles of a request's latency."""

    concurrency: int
    batch: int
    windows_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


class PerfAnalyzer:
    """The program, found and able to run.

    Args:
        folder: where `dfdeploy setup --perf-analyzer` installed it; default see `folders.perf_analyzer`.

    Raises:
        EnvironmentIncomplete: it, or a library that it needs, is missing; says what to install.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or folders.perf_analyzer()
        self.binary = folder / "bin" / "perf_analyzer"
        self.variables = os.environ | {"LD_LIBRARY_PATH": str(folder / "nvidia" / "cuda_runtime" / "lib")}
        if not self.binary.is_file():
            raise EnvironmentIncomplete(f"no perf_analyzer in {folder}; run: dfdeploy setup --perf-analyzer")
        missing = missing_libraries(self.binary, self.variables)
        if missing:
            packages = " ".join(machine.package_of(library) for library in missing)
            raise EnvironmentIncomplete(f"perf_analyzer lacks {', '.join(missing)}; install: apt install {packages}")

    def measure(
        self,
        url: str,
        model: str,
        data: Path,
        concurrency: int,
        *,
        batch: int = 1,
        requests: int,
    ) -> Load:
        """Keep ``concurrency`` requests of ``batch`` windows each in flight, and take the figures as they come.

        A number of requests instead of perf_analyzer's search for stable windows: on a machine with other work the
        batcher of Triton 24.10 now and then sleeps half a second beside a waiting request, and "unstable" is no
        figure. The p99 shows it, and turns show what changes with time.

        Args:
            url: gRPC address.
            model: its name at the server.
            data: what is sent in turn, as `dfclient.perfdata` writes it.
            concurrency: requests in flight.
            batch: windows of a request.
            requests: in all.
        """
        with tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder:
            export = Path(folder) / "requests.json"
            options = {
                "-m": model,
                "-i": "grpc",
                "-u": url,
                "-b": batch,
                "--input-data": data,
                "--concurrency-range": concurrency,
                "--request-count": requests,
                "--profile-export-file": export,
            }
            command = [str(self.binary), *(str(part) for option in options.items() for part in option)]
            finished = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
            if finished.returncode or not export.is_file():
                raise DeployError(f"perf_analyzer, {concurrency} in flight: {_complaint(finished)}")
            return load_of(json.loads(export.read_bytes()), batch)


def load_of(export: Mapping[str, Any], batch: int) -> Load:
    """What the single requests that perf_analyzer exported come to.

    Its own table divides by the whole seconds after which it looks, up to a second more than the requests took.

    Args:
        export: its ``--profile-export-file``, times in nanoseconds.
        batch: windows of a request.

    Raises:
        DeployError: a request was not answered.
    """
    (experiment,) = export["experiments"]
    requests = experiment["requests"]
    answers = [request["response_timestamps"] for request in requests]
    if not all(answers) or not answers:
        raise DeployError(f"perf_analyzer: {answers.count([])} of {len(answers)} requests were not answered")
    sent_ns = np.array([request["timestamp"] for request in requests], dtype=np.int64)
    received_ns = np.array([times[-1] for times in answers], dtype=np.int64)
    p50_ms, p90_ms, p99_ms = np.percentile((received_ns - sent_ns) / 1e6, [50, 90, 99])
    return Load(
        concurrency=int(experiment["experiment"]["value"]),
        batch=batch,
        windows_per_s=batch * len(answers) / (1e-9 * float(received_ns.max() - sent_ns.min())),
        p50_ms=float(p50_ms),
        p90_ms=float(p90_ms),
        p99_ms=float(p99_ms),
    )


def _complaint(finished: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (finished.stderr + finished.stdout).splitlines() if line.strip()]
    return next((line for line in lines if "Failed" in line or "error" in line.lower()), lines[-1] if lines else "?")
