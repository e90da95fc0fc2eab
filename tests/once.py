"""What one run of pytest makes once, however many processes it has (`make test JOBS=2`)."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def run_folder(request: pytest.FixtureRequest, name: str) -> Path:
    """A folder that all processes of this run share."""
    own: Path = request.getfixturevalue("tmp_path_factory").getbasetemp()
    folder = (own.parent if hasattr(request.config, "workerinput") else own) / name
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return ``folder``, which the first to ask has ``make`` fill; whoever asks meanwhile waits.

    Args:
        folder: it is there once it is complete.
        make: is given an empty folder, which then gets that name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder
