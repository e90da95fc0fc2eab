"""One model in the runtime that serves it, without a server: its answers, and how long a batch takes.

Run by the server's own Python as ``python worker.py PACKAGES_DIR BACKEND VERSION_DIR THREADS PRECISION MAX_BATCH_SIZE
WINDOWS``, where PACKAGES_DIR is a backend's folder as the server gets it and WINDOWS an array (n, samples) of NumPy's.
It says a line of JSON once it is ready, then one for each on standard input: for a number N the seconds that a batch of
N took, for ``"logits"`` those of all windows.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    """Serve until standard input ends."""
    packages_dir, backend, version_dir, threads, precision, max_batch_size, windows_file = sys.argv[1:]
    sys.path[0] = packages_dir  # in place of this file's folder
    import numpy as np

    windows = np.load(windows_file, mmap_mode="r")
    try:
        runner = _open(backend, Path(version_dir), int(threads), precision, int(max_batch_size))
        _answer(runner, windows[:1])
    except Exception as error:
        _say({"error": str(error)})
        return 1
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if asked == "logits":
            _say([_answer(runner, windows[row : row + 1])[0][0].tolist() for row in range(len(windows))])
        else:
            batch = np.ascontiguousarray(np.resize(windows, (asked, windows.shape[1])))
            start = time.perf_counter()
            _answer(runner, batch)
            _say(time.perf_counter() - start)
    return 0


def _open(backend: str, folder: Path, threads: int, precision: str, max_batch_size: int) -> Any:
    """As the backend's twin opens it."""
    from dfcontract.tensors import LOGITS, SCORE, WAVEFORM

    outputs = [LOGITS, SCORE]
    if backend == "openvino":
        from dfdeploy.backends.openvino.runner import Runner, import_openvino

        return Runner(
            import_openvino(folder),
            folder,
            WAVEFORM,
            outputs,
            threads,
            precision=precision,
            max_batch_size=max_batch_size,
        )
    if backend == "pytorch":
        from dfdeploy.backends.pytorch.runner import Runner as TorchRunner
        from dfdeploy.backends.pytorch.runner import import_torch

        torch = import_torch(folder)
        torch.set_num_threads(threads)
        return TorchRunner(torch, folder, "cpu")
    from dfdeploy.backends.onnxruntime.runner import CpuRunner

    return CpuRunner(folder, WAVEFORM, outputs, threads)


def _answer(runner: Any, waveforms: Any) -> Any:
    (answer,) = runner.run([waveforms])
    if isinstance(answer, Exception):
        raise answer
    return answer


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    # A program that prints to standard output would otherwise be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = answers
    sys.exit(main())
