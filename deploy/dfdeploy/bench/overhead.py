"""What serving costs: one request at a time through gRPC, against ``InferenceSession.run`` in a loop.

Both with the same ONNX Runtime, session options and threads, in one run, in turns: what else the machine does hits
both. The batcher's queue delay is a choice of the config and not a cost of serving, so the model is served with none.
"""

import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfclient.transport import Transport
from dfcontract.tensors import WARMUP_FILE
from dfdeploy.bench.workers import Worker, direct
from dfdeploy.embedded import Server

TURN_CALLS = 5
WARM_UP_CALLS = 3


@dataclass(frozen=True)
class Overhead:
    """Medians over the same number of calls, and the slowest one through the server."""

    direct_ms: float
    served_ms: float
    served_maximum_ms: float

    @property
    def percent(self) -> float:
        """How much longer a request takes through the server."""
        return 100 * (self.served_ms / self.direct_ms - 1)


def measure(repository: Path, model: str, *, profile: str, calls: int, environment_dir: Path | None) -> Overhead:
    """Compare, in turns of a few calls.

    Args:
        repository: holds ``model``, in ONNX format.
        model: its name.
        profile: ``cpu`` or ``gpu``.
        calls: of each kind, at least.
        environment_dir: the server's environment; default see `environment.default_folder`.
    """
    waveform = np.fromfile(repository / model / WARMUP_FILE, "<f4")
    direct_s: list[float] = []
    served_s: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder,
        direct(repository / model, profile, environment_dir) as worker,
        Server(_without_delay(repository / model, Path(folder)), profile=profile, environment_dir=environment_dir) as s,
    ):
        transport = Transport(s.grpc_url)
        _call_directly(worker, WARM_UP_CALLS)
        _call_served(transport, model, waveform, WARM_UP_CALLS)
        while len(direct_s) < calls:
            direct_s += _call_directly(worker, TURN_CALLS)
            served_s += _call_served(transport, model, waveform, TURN_CALLS)
        transport.close()
    return Overhead(
        direct_ms=1e3 * float(np.median(direct_s)),
        served_ms=1e3 * float(np.median(served_s)),
        served_maximum_ms=1e3 * max(served_s),
    )


def _without_delay(model_dir: Path, folder: Path) -> Path:
    """A repository with this model alone, where a request does not wait for companions."""
    shutil.copytree(model_dir, folder / model_dir.name, copy_function=_link_or_copy)
    for config in (folder / model_dir.name).rglob("*.pbtxt"):
        text = re.sub(r"max_queue_delay_microseconds: \d+", "max_queue_delay_microseconds: 0", config.read_text())
        config.unlink()  # it may be a hard link to the original
        config.write_text(text)
    return folder


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _call_directly(worker: Worker, calls: int) -> list[float]:
    latencies_s: list[float] = worker.ask(batch=1, calls=calls)["seconds"]
    return latencies_s


def _call_served(transport: Transport, model: str, waveform: np.ndarray, calls: int) -> list[float]:
    latencies_s = []
    for _ in range(calls):
        start = time.perf_counter()
        transport.infer(model, "", waveform)
        latencies_s.append(time.perf_counter() - start)
    return latencies_s
