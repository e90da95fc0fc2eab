"""``InferenceSession.run`` in a loop, as the backend calls it but without a server: what serving is compared with.

Run by the server's own Python as ``python direct_worker.py PACKAGES_DIR VERSION_DIR WAVEFORM PROFILE PRECISION``, where
PACKAGES_DIR is a backend's folder as the server gets it. For each count N on standard input it answers with the
latencies of N calls, in seconds, as a line of JSON.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Serve counts until standard input ends."""
    packages_dir, version_dir, waveform_file, profile, precision = sys.argv[1:]
    sys.path[0] = packages_dir  # in place of this file's folder
    import numpy as np

    from dfcontract.tensors import LOGITS, SCORE, WAVEFORM
    from dfdeploy.backends.onnxruntime.runner import CpuRunner, GpuRunner

    waveform = np.fromfile(waveform_file, "<f4")[np.newaxis]
    folder, outputs = Path(version_dir), [LOGITS, SCORE]
    if profile == "gpu":
        session = GpuRunner(folder, WAVEFORM, outputs, 0, is_fp32=precision == "fp32").session
    else:
        session = CpuRunner(folder, WAVEFORM, outputs, len(os.sched_getaffinity(0))).wide
    for line in sys.stdin:
        latencies_s = []
        for _ in range(int(line)):
            start = time.perf_counter()
            session.run(outputs, {WAVEFORM: waveform})
            latencies_s.append(time.perf_counter() - start)
        print(json.dumps(latencies_s), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
