"""NVIDIA's perf_analyzer: load on a running server, from a program that shares no code with our client.

It comes inside the wheel ``tritonclient==2.51.0``; later ones need a newer glibc or no longer carry it. Flags: its own
``--help``, and the guide "Triton Performance Analyzer".
"""

import csv
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

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
            table = Path(folder) / "table.csv"
            options = {
                "-m": model,
                "-i": "grpc",
                "-u": url,
                "-b": batch,
                "--input-data": data,
                "--concurrency-range": concurrency,
                "--request-count": requests,
                "-f": table,
            }
            command = [str(self.binary), *(str(part) for option in options.items() for part in option), "--verbose-csv"]
            finished = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
            if finished.returncode or not table.is_file():
                raise DeployError(f"perf_analyzer, {concurrency} in flight: {_complaint(finished)}")
            return _load_of(next(csv.DictReader(table.open(newline=""))), batch)


def _load_of(row: dict[str, str], batch: int) -> Load:
    return Load(
        concurrency=int(row["Concurrency"]),
        batch=batch,
        windows_per_s=float(row["Inferences/Second"]),
        p50_ms=float(row["p50 latency"]) / 1e3,
        p90_ms=float(row["p90 latency"]) / 1e3,
        p99_ms=float(row["p99 latency"]) / 1e3,
    )


def _complaint(finished: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (finished.stderr + finished.stdout).splitlines() if line.strip()]
    return next((line for line in lines if "Failed" in line or "error" in line.lower()), lines[-1] if lines else "?")
