"""Folders that are made aside and then change places with those of a repository, so that no reader sees a half one.

A build that is killed at any moment leaves the old model or the new one, whole. What it leaves aside is removed by the
next build in that repository.
"""

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".dfexport-"
OLD = ".old"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def scratch_folder(repository: Path) -> Iterator[Path]:
    """A folder from which a rename into ``repository`` is possible; it is gone afterwards.

    It lies beside the repository, since Triton takes every folder inside for a model, hidden ones too. Where the
    repository is a disk of its own (a mounted volume), it has to lie inside.

    Raises:
        OSError: the repository can't be written to.
    """
    repository.mkdir(parents=True, exist_ok=True)
    repository = repository.resolve()
    with _locked(repository):
        sweep(repository)
        scratch = _make_scratch(repository)
        lock = os.open(scratch, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)  # held until this process ends, however it ends
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(lock)


def sweep(repository: Path) -> None:
    """Remove what killed builds have left; the scratch folders of running ones are locked."""
    prefix = f"{PREFIX}{repository.name}-"
    for place in (repository.parent, repository):
        with suppress(OSError):
            for entry in [entry for entry in place.iterdir() if entry.name.startswith(prefix)]:
                _sweep_entry(entry, repository)


def _sweep_entry(entry: Path, repository: Path) -> None:
    if not entry.is_dir():
        entry.unlink()
        return
    with suppress(BlockingIOError), _locked(entry, wait=False):
        for old in entry.glob(f"*{OLD}"):
            target = repository / old.name.removesuffix(OLD)
            if not target.exists():  # killed between the two renames of `put_in_place`
                old.rename(target)
        shutil.rmtree(entry)


def put_in_place(scratch: Path, repository: Path, names: Sequence[str]) -> None:
    """Move folders of ``scratch`` into the repository, one right after the other; old ones end up in ``scratch``."""
    with _locked(repository):
        for name in names:
            new, target = scratch / name, repository / name
            if not target.is_dir():
                new.rename(target)
            elif not _exchange(new, target):
                # For a moment there is none: on a file system that can't exchange, no rename replaces a full folder.
                target.rename(scratch / f"{name}{OLD}")
                new.rename(target)


def _make_scratch(repository: Path) -> Path:
    prefix = f"{PREFIX}{repository.name}-"
    with suppress(OSError):
        beside = Path(tempfile.mkdtemp(dir=repository.parent, prefix=prefix))
        if _can_move(beside, repository):
            return beside
        beside.rmdir()
    return Path(tempfile.mkdtemp(dir=repository, prefix=prefix))


def _can_move(scratch: Path, repository: Path) -> bool:
    """Try it with a file: disks can differ where device numbers don't (bind mounts)."""
    probe = scratch / f"{scratch.name}.probe"
    probe.touch()
    try:
        moved = probe.rename(repository / probe.name)
    except OSError:
        probe.unlink()
        return False
    moved.unlink()
    return True


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step; False where the file system or the C library can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0)
