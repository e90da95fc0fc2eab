"""What servers leave behind that were killed with everything that would have cleaned up; swept at the next start.

Only what is this user's own is touched, and a symbolic link is never followed: /tmp is everybody's.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil

from dfdeploy import guard
from dfdeploy.processes import is_alive_pid

PREFIX = "dfserve-"  # then the owner's process id: of run folders, their logs, and regions of shared memory
KEPT_LOGS = 5  # of servers that failed
TRITONS_TEMPORARY = Path("/tmp")  # noqa: S108  (Triton 24.10 asks no environment variable)


def sweep() -> None:
    """Remove shared memory, run folders, processes of owners that are gone, and all but the newest logs."""
    temporary = Path(tempfile.gettempdir())
    left = [*guard.SHARED_MEMORY.glob(f"{PREFIX}*-*"), *temporary.glob(f"{PREFIX}*-*")]
    left = [entry for entry in left if _is_own(entry) and not _is_in_use(entry)]
    logs = sorted((entry for entry in left if entry.suffix == ".log"), key=_modified_s)
    _kill_processes_of([entry for entry in left if entry.suffix != ".log"])
    for entry in {*left}.difference(logs[-KEPT_LOGS:]):
        _remove(entry)
    _sweep_tritons_folders()


def _is_own(entry: Path) -> bool:
    try:
        return entry.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_in_use(entry: Path) -> bool:
    """Whether its owner still runs; a log is in use as long as its run's folder is there."""
    owner = entry.name.removeprefix(PREFIX).partition("-")[0]
    if not owner.isdecimal():
        return True  # none of ours
    return is_alive_pid(int(owner)) and (entry.suffix != ".log" or entry.with_suffix("").is_dir())


def _kill_processes_of(run_dirs: list[Path]) -> None:
    """Backends that were killed before they could watch their Triton; they are started from the run's folder."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(f"{run_dir}{os.sep}" in word for run_dir in run_dirs for word in words):
            _kill(process)


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return  # gone meanwhile, or another user's


def _sweep_tritons_folders() -> None:
    """Empty folders that Triton's Python backend makes at its start, older than any Triton that runs."""
    starts = [
        process.info["create_time"]
        for process in psutil.process_iter(["name", "create_time"])
        if process.info["name"] == "tritonserver"
    ]
    for folder in TRITONS_TEMPORARY.glob("python_env_*"):
        if _is_own(folder) and not folder.is_symlink() and _modified_s(folder) < min(starts, default=float("inf")):
            try:
                folder.rmdir()
            except OSError:
                continue  # not empty, or swept meanwhile


def _modified_s(entry: Path) -> float:
    try:
        return entry.lstat().st_mtime
    except OSError:
        return 0.0


def _remove(entry: Path) -> None:
    """What can't be removed is named, and stops no start."""
    try:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except FileNotFoundError:
        return  # another start has swept it meanwhile
    except OSError as error:
        print(f"left by an earlier server, can't be removed: {entry}: {error.strerror}", file=sys.stderr)
