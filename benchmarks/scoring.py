"""What the client itself costs when it scores thousands of files, and whether decoding keeps ahead of inference.

    python benchmarks/scoring.py FOLDER [--files N] [--rounds N] [--other CHECKOUT] [--onnx MODEL]

The folder's recordings under N names are scored into a file. The server is one in memory that answers at once; with
`--other`, another checkout does the same in turns. With `--onnx` a model answers instead, on all cores: what counts
then is the share of time in which fewer windows than cores were at the server, because too little had been decoded.
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
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--other", type=Path, help="another checkout, to compare with")
    parser.add_argument("--onnx", help="a detector's model.onnx, to answer instead of a fixed answer")
    arguments = parser.parse_args()
    sources = sorted(path for path in arguments.folder.rglob("*") if path.is_file())
    checkouts = [checkout for checkout in (ROOT, arguments.other) if checkout]
    workers = [begun(checkout, arguments.onnx) for checkout in checkouts]
    taken: list[list[list[float]]] = [[] for _ in workers]
    with tempfile.TemporaryDirectory() as folder:
        (clips := Path(folder) / "clips").mkdir()
        for number in range(arguments.files):
            source = sources[number % len(sources)].resolve()
            (clips / f"{number:05}{source.suffix}").symlink_to(source)
        for _ in range(arguments.rounds):
            for worker, times in zip(workers, taken, strict=True):
                times.append(_asked(worker, [str(clips), str(Path(folder) / "scores.csv")]))
    for checkout, times in zip(checkouts, taken, strict=True):
        for wall_s, cpu_s, starved in times:
            share = f", too little decoded {starved:.1%} of the time" if arguments.onnx else ""
            print(f"{checkout}: {wall_s:.2f} s, {cpu_s:.2f} s of CPU{share}")
    if len(taken) > 1:
        for place, name in enumerate(("wall", "CPU")):
            ours, theirs = (min(each[place] for each in times) for times in taken)
            print(f"{name}, least to least: {ours / theirs:.3f}")
    return 0


def _asked(worker: subprocess.Popen[str], question: list[str]) -> list[float]:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker has no pipes")
    worker.stdin.write(json.dumps(question) + "\n")
    worker.stdin.flush()
    answer: list[float] = json.loads(worker.stdout.readline())
    return answer


if __name__ == "__main__":
    sys.exit(work(sys.argv[2] if len(sys.argv) > 2 else None) if sys.argv[1:2] == ["--worker"] else main())
