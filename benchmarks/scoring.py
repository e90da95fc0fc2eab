"""What the client itself costs when it scores thousands of files, and whether decoding keeps ahead of inference.

    python benchmarks/scoring.py FOLDER [--files N] [--block N] [--rounds N] [--other CHECKOUT]
    python benchmarks/scoring.py FOLDER [--files N] --onnx MODEL...

The folder's recordings under N names are scored into files, block by block, by a server in memory that answers at once.
With `--other`, another checkout scores each block, too, and the two take turns to go first.

With `--onnx` these models answer instead, on all cores, to the folder's formats one by one. What counts then is the
share of time in which fewer windows than cores were at the server, because too little had been decoded. Begin and end
of a run are in it, so let a run take some tens of seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
ROOMS = ("contract", "client")
RATE_HZ, WINDOW_SAMPLES = 16000, 64600


class MemoryServer:
    """A transport whose server answers in this process: a fixed answer, or an ONNX model's."""

    url, timeout_s = "memory", 60.0

    def __init__(self, onnx: str | None) -> None:
        self._session: Any = None
        self._cores = os.cpu_count() or 1
        self._core = threading.Semaphore(self._cores)
        self._lock = threading.Lock()
        self._waiting, self._changed_s = 0, 0.0
        self.starved_s = self.busy_s = 0.0
        if onnx is not None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(onnx, options)

    def model_info(self, model: str, version: str = "") -> object:  # noqa: ARG002
        """A detector's card."""
        from dfclient.calls import ModelInfo

        card = {"sample_rate_hz": str(RATE_HZ), "window_samples": str(WINDOW_SAMPLES), "weights": "custom"}
        return ModelInfo(model, "1", {**card, "checkpoint_sha256": "ab" * 32})

    def infer(self, model: str, version: str, window: NDArray[np.float32]) -> object:  # noqa: ARG002
        """An answer to one window."""
        from dfclient.calls import WindowAnswer

        logits = np.zeros(2, np.float32)
        self._count(1)
        if self._session is not None:
            with self._core:
                name = self._session.get_inputs()[0].name
                logits = np.asarray(self._session.run(None, {name: window[np.newaxis]})[0]).reshape(-1)[:2]
        self._count(-1)
        return WindowAnswer(logits, float(logits[1]), 0)

    def _count(self, change: int) -> None:
        """One more request, or one less; the time since the last change is booked."""
        with self._lock:
            now_s = time.monotonic()
            if self._changed_s:
                self.busy_s += now_s - self._changed_s
                self.starved_s += (now_s - self._changed_s) * (self._waiting < self._cores)
            self._waiting, self._changed_s = self._waiting + change, now_s

    def close(self) -> None:
        """Nothing to be done."""


def work(onnx: str | None) -> int:
    """Score each folder named on standard input, and answer with what it took."""
    from dfclient import Detector, score_set
    from dfclient.clips import clips_from

    for line in sys.stdin:
        folder, out = json.loads(line)
        server = MemoryServer(onnx)
        with Detector(model="aasist", transport=server) as detector:  # type: ignore[arg-type]
            clips = clips_from([folder])
            started_s, cpu_s = time.monotonic(), time.process_time()
            score_set(detector, clips, out)
        wall_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
        Path(out).unlink()
        print(json.dumps([wall_s, cpu_s, server.starved_s / max(server.busy_s, 1e-9)]), flush=True)
    return 0


def begun(checkout: Path, onnx: str | None) -> subprocess.Popen[str]:
    """A process that scores with one checkout's client."""
    path = os.pathsep.join(str(checkout.resolve() / room) for room in ROOMS)
    command = [sys.executable, __file__, "--worker", *([onnx] if onnx else [])]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks/scoring.py", description=__doc__)
    parser.add_argument("folder", type=Path, help="recordings")
    parser.add_argument("--files", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--block", type=int, default=500, help="files that are scored at a time (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--other", type=Path, help="another checkout, to compare with")
    parser.add_argument("--onnx", nargs="+", help="detectors' model.onnx, to answer instead of a fixed answer")
    arguments = parser.parse_args()
    sources = sorted(path.resolve() for path in arguments.folder.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        if arguments.onnx:
            Console().print(starvation(arguments.onnx, sources, arguments.files, Path(folder)))
        else:
            checkouts = [checkout for checkout in (ROOT, arguments.other) if checkout]
            Console().print(costs(checkouts, sources, arguments, Path(folder)))
    return 0


def costs(checkouts: list[Path], sources: list[Path], arguments: argparse.Namespace, folder: Path) -> Table:
    """A row a checkout: what it took in all, and in proportion to the last one's."""
    blocks = []
    for start in range(0, arguments.files, arguments.block):
        numbers = range(start, min(start + arguments.block, arguments.files))
        blocks.append(linked(folder / f"block{start}", [sources[number % len(sources)] for number in numbers]))
    workers = [begun(checkout, None) for checkout in checkouts]
    for worker in workers:  # once for nothing: what is loaded at first use is no cost of a file
        _asked(worker, [str(blocks[0]), str(folder / "scores.csv")])
    taken = np.zeros((len(workers), arguments.rounds * len(blocks), 2))
    for turn, block in enumerate(blocks * arguments.rounds):
        order = range(len(workers)) if turn % 2 == 0 else reversed(range(len(workers)))
        for index in order:
            taken[index, turn] = _asked(workers[index], [str(block), str(folder / "scores.csv")])[:2]
    table = Table(title=f"{arguments.rounds * arguments.files} files in {taken.shape[1]} blocks")
    for column in ("checkout", "wall s", "CPU s", "CPU ms a file", "ratio of CPU", "blocks that took less"):
        table.add_column(column)
    for checkout, times in zip(checkouts, taken, strict=True):
        wall_s, cpu_s = times.sum(axis=0)
        is_less = times[:, 1] < taken[-1, :, 1]
        table.add_row(
            str(checkout),
            f"{wall_s:.1f}",
            f"{cpu_s:.1f}",
            f"{1000 * cpu_s / arguments.rounds / arguments.files:.2f}",
            f"{cpu_s / taken[-1, :, 1].sum():.3f}",
            f"{is_less.sum()} of {len(is_less)}",
        )
    return table


def starvation(models: list[str], sources: list[Path], n_files: int, folder: Path) -> Table:
    """A row a model and format: how long the server had less to do than it could."""
    table = Table(title=f"{n_files} files of each format on {os.cpu_count()} cores")
    for column in ("model", "format", "wall s", "CPU s", "too little decoded"):
        table.add_column(column)
    for model in models:
        for suffix in sorted({source.suffix for source in sources}):
            of_format = [source for source in sources if source.suffix == suffix]
            clips = linked(folder / f"{len(table.rows)}", [of_format[n % len(of_format)] for n in range(n_files)])
            worker = begun(ROOT, model)
            wall_s, cpu_s, starved = _asked(worker, [str(clips), str(folder / "scores.csv")])
            worker.communicate()
            table.add_row(model, suffix, f"{wall_s:.1f}", f"{cpu_s:.1f}", f"{starved:.1%}")
    return table


def linked(folder: Path, sources: list[Path]) -> Path:
    """A folder of links to recordings, which may stand there several times."""
    folder.mkdir()
    for number, source in enumerate(sources):
        (folder / f"{number:05}{source.suffix}").symlink_to(source)
    return folder


def _asked(worker: subprocess.Popen[str], question: list[str]) -> list[float]:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker has no pipes")
    worker.stdin.write(json.dumps(question) + "\n")
    worker.stdin.flush()
    answer: list[float] = json.loads(worker.stdout.readline())
    return answer


if __name__ == "__main__":
    sys.exit(work(sys.argv[2] if len(sys.argv) > 2 else None) if sys.argv[1:2] == ["--worker"] else main())
