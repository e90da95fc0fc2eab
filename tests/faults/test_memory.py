"""A server's memory does not grow with the requests that it answers: 10,000 of mixed batch sizes."""

import importlib.util
import re
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "memory.py"


@pytest.mark.faults
def test_ten_thousand_requests_leave_memory_where_it_was(tiny_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("memory", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    memory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(memory)
    assert memory.main([str(tiny_models), "--model", "tiny", "--requests", "10000"]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(r"\| tiny \| 10,000 \| (\d+) \| (\d+) \| \S+ \|", row)
    assert found is not None, row
    assert int(found[1]) > 50  # Triton and its backends were measured, not nothing
