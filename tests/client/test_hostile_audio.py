"""Thousands of damaged recordings of every kind: each is read or refused, within bounds of time and memory.

`DFSERVE_MUTATIONS=20000` makes it more than the few hundred of every run.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("DFSERVE_MUTATIONS", "600"))
MAX_MB = 1024


def _bounded() -> None:
    """Of the child: no more CPU time than 10 s a file could take, no crash's memory image."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(3600)
def test_damaged_recordings_are_read_or_refused(seed):
    program = Path(__file__).parent / "hostile_audio.py"
    ran = subprocess.run(
        [sys.executable, program, str(COUNT // 2), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_bounded,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["peak_mb"] < MAX_MB
    assert found["slowest_s"] < 10
    assert not [outcome for outcome in found["outcomes"] if outcome[0].isupper()], ran.stdout[-2000:]
    assert {"read", "refused", "warned"} <= set(found["outcomes"])
