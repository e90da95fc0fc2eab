"""The backend's runner in a loop, as the backend calls it but without a server: what serving is compared with.

Run by the server's own Python as ``python direct_worker.py PACKAGES_DIR VERSION_DIR WAVEFORM PROFILE PRECISION``, where
PACKAGES_DIR is a backend's folder as the server gets it. For each ``{"batch": n, "calls": m}`` on standard input it
answers ``{"seconds": [...]}``, the duration of each of m calls of one batch.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Serve questions until standard input ends."""
    packages_dir, version_dir, waveform_file, profile, precision = sys.argv[1:]
    sys.path[0] = packages_dir  # in place of this file's folder
    import numpy as np

    from dfcontract.tensors import LOGITS, SCORE, WAVEFORM
    from dfdeploy.backends.onnxruntime.runner import CpuRunner, GpuRunner

    waveform = np.fromfile(waveform_file, "<f4")
    folder, outputs = Path(version_dir), [LOGITS, SCORE]
    runner: CpuRunner | GpuRunner
    if profile == "gpu":
        runner = GpuRunner(folder, WAVEFORM, outputs, 0, is_fp32=precision == "fp32")
    else:
        runner = CpuRunner(folder, WAVEFORM, outputs, len(os.sched_getaffinity(0)))
    for line in sys.stdin:
        question = json.loads(line)
        batch = np.stack([np.roll(waveform, shift) for shift in range(question["batch"])])
        durations_s = []
        for _ in range(question["calls"]):
            start = time.perf_counter()
            (answer,) = runner.run([batch])
            durations_s.append(time.perf_counter() - start)
            if isinstance(answer, Exception):
                raise answer
        print(json.dumps({"seconds": durations_s}), flush=True)
    runner.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
