"""The measuring programs say what they measured, or fail: their tables are copied into the documentation."""

import asyncio
import importlib.util
import threading
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorded:
    """A generator whose phases are known beforehand."""

    def __init__(self, phase) -> None:
        self.phase = phase

    async def measure(self, seconds: float, rate_hz: float | None):
        return self.phase

    async def close(self) -> None:
        pass


def test_the_table_of_an_overload_is_one(monkeypatch, capsys):
    overload = program("overload")
    phase = overload.Phase(2.0, cores={"generator": 0.1, "triton": 0.5, "backends": 1.0})
    phase.outcomes.update({"OK": 20, "UNAVAILABLE": 4})
    monkeypatch.setattr(overload, "Generator", lambda *_: Recorded(phase))
    asyncio.run(overload.run(None, "toy", b"", 2.0, [3, 10]))
    header, separator, *rows = capsys.readouterr().out.splitlines()
    assert set(separator) == {"|", "-"}
    assert {line.count("|") for line in (header, separator, *rows)} == {len(overload.HEADER) + 1}
    assert [row.split("|")[1].strip() for row in rows] == ["as capacity", "3 times", "10 times"]
    assert rows[-1].endswith("| 20 OK, 4 UNAVAILABLE |")


class Unstartable:
    """A server that has died and can't be started again."""

    def failure(self) -> str:
        return "it died"

    def stop(self, *, drain: bool) -> None:
        pass

    def start(self) -> None:
        raise OSError("no port is free")


def test_a_server_that_is_not_watched_any_more_ends_the_measurement():
    """Deaths that nobody counts would be a table that says 0."""
    watched = program("disconnects").Watched(Unstartable())
    watched.check()
    thread = threading.Thread(target=watched.watch)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="could not be started again after 1 deaths") as caught:
        watched.check()
    assert "no port is free" in str(caught.value.__cause__)
