"""Damaged recordings of every kind: each is read, read with a warning or refused, within bounds of time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MAX_MB = 1024


def decoded(count: int, seed: int, *options: str) -> tuple[dict, str]:
    """What came of so many mutations, and the lines about what should not be."""
    program = Path(__file__).parents[1] / "hostile_audio.py"
    ran = subprocess.run(
        [sys.executable, program, str(count), str(seed), *options], capture_output=True, text=True, check=True
    )
    lines = ran.stdout.splitlines()
    return json.loads(lines[-1]), "\n".join(lines[:-1])


def check(count: int, seed: int) -> None:
    found, lines = decoded(count, seed)
    assert lines == ""
    assert set(found["outcomes"]) == {"read", "warned", "refused"}
    assert sum(found["outcomes"].values()) == count
    assert found["peak_mb"] < MAX_MB


def test_damaged_recordings_are_read_or_refused():
    check(1000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.timeout(3600)
def test_thousands_of_damaged_recordings(seed):
    check(2000, seed)


@pytest.mark.parametrize(("decoder", "outcome"), [("hang", "HUNG"), ("crash", "CRASHED with SIGSEGV")])
def test_a_decoder_that_hangs_or_crashes_is_found(decoder, outcome):
    found, lines = decoded(2, 1, "--decoder", decoder, "--limit-s", "1")
    assert lines.splitlines() == [f"0 ?: {outcome}", f"1 ?: {outcome}"]
    assert found["outcomes"] == {outcome.split()[0]: 2}
