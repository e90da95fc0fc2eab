"""What serving costs: one request at a time through gRPC, against ``InferenceSession.run`` in a loop.

Both with the same ONNX Runtime, session options and threads, in one run, in turns: what else the machine does hits
both. The batcher's queue delay is a choice of the config and not a cost of serving, so the model is served with none.
"""

import os
import re
import shutil
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfclient.transport import Transport
from dfcontract.tensors import WARMUP_FILE
from dfdeploy.bench.workers import Worker, direct
from dfdeploy.embedded import Server

TURN_CALLS = 5
WARM_UP_CALLS = 3
EACH_S, LEAST_CALLS, MOST_CALLS = 15.0, 20, 200


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


def window_s(server: Server, model: str) -> float:
    """What a request of one window takes: by it the length of everything that follows is chosen.

    Args:
        server: that serves it, with nothing else to do.
        model: its name.
    """
    waveform = np.fromfile(server.repository / model / WARMUP_FILE, "<f4")
    with closing(Transport(server.grpc_url)) as transport:
        return min(_call_served(transport, model, waveform, WARM_UP_CALLS))


def measure(repository: Path, model: str, *, profile: str, calls: int | None, environment_dir: Path | None) -> Overhead:
    """Compare, in turns of a few calls.

    Args:
        repository: holds ``model``, in ONNX format.
        model: its name.
        profile: ``cpu`` or ``gpu``.
        calls: of each kind, at least; default: what some `EACH_S` take.
        environment_dir: the server's environment; default see `environment.default_folder`.
    """
    waveform = np.fromfile(repository / model / WARMUP_FILE, "<f4")
    direct_s: list[float] = []
    served_s: list[float] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dfserve-bench-"))
        worker = stack.enter_context(direct(repository / model, profile, environment_dir))
        alone = _without_delay(repository / model, Path(folder))
        server = stack.enter_context(Server(alone, profile=profile, environment_dir=environment_dir))
        transport = stack.enter_context(closing(Transport(server.grpc_url)))
        call_s = min(_call_directly(worker, WARM_UP_CALLS))
        _call_served(transport, model, waveform, WARM_UP_CALLS)
        wanted = calls or min(max(round(EACH_S / call_s), LEAST_CALLS), MOST_CALLS)
        while len(direct_s) < wanted:
            direct_s += _call_directly(worker, TURN_CALLS)
            served_s += _call_served(transport, model, waveform, TURN_CALLS)
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
