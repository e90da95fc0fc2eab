"""Folders change places whole, and what a killed build leaves is swept."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dfexport import swap
from dfexport.build import build, seeded
from dfexport.errors import ExportError
from dfexport.registry import find

NAMES = ("a", "a_live")


def write(folder: Path, content: str) -> None:
    """A folder of two files, so that a half one can be told."""
    folder.mkdir()
    for file in ("one", "two"):
        (folder / file).write_text(content)


def content_of(folder: Path) -> set[str]:
    return {(folder / file).read_text() for file in ("one", "two")}


def put(repository: Path, content: str) -> None:
    with swap.scratch_folder(repository) as scratch:
        for name in NAMES:
            write(scratch / name, content)
        swap.put_in_place(scratch, repository, NAMES)


def test_new_folders_replace_old_ones_and_leave_no_litter(tmp_path: Path) -> None:
    repository = tmp_path / "new" / "models"
    for content in ("first", "second"):
        put(repository, content)
        assert [content_of(repository / name) for name in NAMES] == [{content}] * 2
    assert {entry.name for entry in repository.iterdir()} == set(NAMES)
    assert [entry.name for entry in repository.parent.iterdir()] == ["models"]


def test_where_nothing_can_be_exchanged_they_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_exchange", lambda *_: False)
    for content in ("first", "second"):
        put(tmp_path / "models", content)
        assert [content_of(tmp_path / "models" / name) for name in NAMES] == [{content}] * 2


def test_killed_between_two_renames_the_old_folder_comes_back(tmp_path: Path) -> None:
    put(tmp_path / "models", "old")
    scratch = tmp_path / f"{swap.PREFIX}models-killed"
    scratch.mkdir()
    write(scratch / "a", "new")
    (tmp_path / "models/a").rename(scratch / f"a{swap.OLD}")
    swap.sweep(tmp_path / "models")
    assert content_of(tmp_path / "models/a") == {"old"}
    assert not scratch.exists()


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    put(tmp_path / "models", "old")
    with pytest.raises(KeyboardInterrupt), swap.scratch_folder(tmp_path / "models") as scratch:
        write(scratch / "a", "new")
        raise KeyboardInterrupt
    assert content_of(tmp_path / "models/a") == {"old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["models"]


def test_a_running_builds_scratch_is_not_swept(tmp_path: Path) -> None:
    with swap.scratch_folder(tmp_path / "models") as first:
        write(first / "a", "first")
        put(tmp_path / "models", "second")
        assert content_of(first / "a") == {"first"}


def test_builds_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    threads = [threading.Thread(target=put, args=(tmp_path / "models", str(i))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(content_of(tmp_path / "models" / name)) for name in NAMES] == [1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["models"]


BUILD_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from dfexport import swap
for i in count():
    with swap.scratch_folder(Path(sys.argv[1])) as scratch:
        for name in ("a", "a_live"):
            (scratch / name).mkdir()
            for file in ("one", "two"):
                (scratch / name / file).write_text(str(i))
        swap.put_in_place(scratch, Path(sys.argv[1]), ("a", "a_live"))
    print(i, flush=True)
"""


def test_killed_at_any_moment_a_folder_is_whole(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    put(repository, "-1")
    for turn in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD_FOR_EVER, str(repository)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(1 + turn):  # another moment each time
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert [len(content_of(repository / name)) for name in NAMES] == [1, 1]
    put(repository, "last")
    assert [entry.name for entry in tmp_path.iterdir()] == ["models"]
    assert {entry.name for entry in repository.iterdir()} == set(NAMES)


def other_disk() -> Path:
    """A folder that nothing can be renamed into from the temporary folder."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK) or folder.stat().st_dev == Path("/tmp").stat().st_dev:
        pytest.skip("no second disk to try")
    return folder


def test_a_repository_that_is_a_disk_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A mounted volume: nothing moves into it from beside it. Here the folder beside it is on another disk.
    disk = other_disk() / f"dfexport-test-{os.getpid()}"
    make = swap.tempfile.mkdtemp
    monkeypatch.setattr(
        swap.tempfile, "mkdtemp", lambda dir, prefix: make(dir=tmp_path if dir == disk.parent else dir, prefix=prefix)
    )
    try:
        for content in ("first", "second"):
            put(disk, content)
            assert [content_of(disk / name) for name in NAMES] == [{content}] * 2
        assert {entry.name for entry in disk.iterdir()} == set(NAMES)
        assert not list(tmp_path.iterdir())
    finally:
        swap.shutil.rmtree(disk)


def test_a_repository_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"file/models: cannot write the model: Not a directory$"):
        build(find("aasist_l"), seeded(find("aasist_l")), tmp_path / "file/models", "a")
