"""``InferenceSession.run`` in a loop, as the backend calls it but without a server: what serving is compared with.

Run by the server's own Python as ``python direct_worker.py BACKEND_DIR UTILITIES_DIR VERSION_DIR WAVEFORM PROFILE``.
For each count N on standard input it answers with the latencies of N calls, in seconds, as a line of JSON.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Serve counts until standard input ends."""
    backend_dir, utilities_dir, version_dir, waveform_file, profile = sys.argv[1:]
    sys.path[:0] = [backend_dir, utilities_dir]
    import model  # type: ignore[import-not-found]
    import numpy as np

    waveform = np.fromfile(waveform_file, "<f4")[np.newaxis]
    arguments = (Path(version_dir), "WAVEFORM", ["LOGITS", "SCORE"])
    if profile == "gpu":
        session = model.GpuRunner(*arguments, 0).session
    else:
        session = model.CpuRunner(*arguments, len(os.sched_getaffinity(0))).wide
    for line in sys.stdin:
        latencies_s = []
        for _ in range(int(line)):
            start = time.perf_counter()
            session.run(["LOGITS", "SCORE"], {"WAVEFORM": waveform})
            latencies_s.append(time.perf_counter() - start)
        print(json.dumps(latencies_s), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
