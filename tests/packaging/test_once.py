"""What several processes of a run ask for is made by the first, and whole before the others get it."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from once import made_once


def test_it_is_made_once_and_whoever_asks_gets_it_whole(tmp_path: Path) -> None:
    makers = []

    def make(folder: Path) -> None:
        makers.append(folder)
        (folder / "first").write_text("1")
        time.sleep(0.05)  # the others ask now
        (folder / "second").write_text("2")

    def ask(_: int) -> list[str]:
        return sorted(file.name for file in made_once(tmp_path / "made", make).iterdir())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [["first", "second"]] * 8
    assert len(makers) == 1


def test_what_failed_is_made_anew(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made_once(tmp_path / "made", fail)
    made = made_once(tmp_path / "made", lambda folder: (folder / "whole").touch())
    assert [file.name for file in made.iterdir()] == ["whole"]
