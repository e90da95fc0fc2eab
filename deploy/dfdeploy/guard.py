"""Owns one Triton: its process group and its shared memory. Cleans up both, whatever happens to whoever started it.

Run as ``python guard.py PREFIX STOP_FILE COMMAND…``, so standard library only, with a pipe as standard input. The owner
stops Triton by closing the pipe; an owner that dies closes it too. STOP_FILE then asks the live models to end their
streams, see dfdeploy/backends/live/drain.py. Triton's Python backends share its process group and would outlive it, and
so would their shared-memory regions, whose names begin with PREFIX.

A guard that is killed takes the group with it (`_tie_group`); the regions go at the next start.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Linux keeps POSIX shared memory)
SIGNALLED = 128  # an exit status above it says by which signal a process ended, as in a shell
DRAIN_S = 20  # a client's request that never ends would keep Triton alive for ever
LIVE_DRAIN_S = 10  # of it, for live streams
HANGS_S = 1.0  # after its last answer has gone out
POLL_S = 0.05
WAIT_S = 1.0


def main() -> int:
    """Run the command until it ends or the owner lets go; its exit status."""
    prefix, stop_file, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    os.umask(0o077)
    tied, _kept_open = os.pipe()
    # A session of its own: a Ctrl-C at the terminal reaches the owner alone, and the whole group can be killed.
    triton = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[tied],
        preexec_fn=lambda: _tie_group(tied),  # noqa: PLW1509  (the guard has one thread)
    )
    os.close(tied)
    exited = os.pidfd_open(triton.pid)
    try:
        # In short waits: a signal that comes just before one without end would be looked at only after it.
        while not (readable := select.select([sys.stdin, exited], [], [], WAIT_S)[0]):
            pass
        if exited not in readable:
            stop(triton, exited, Path(stop_file))
    finally:
        # Not reaped yet, so its id, the group's, can't be another's.
        kill_group(triton.pid)
        triton.wait()
        unlink_regions(prefix)
    return triton.returncode if triton.returncode >= 0 else SIGNALLED - triton.returncode


def stop(triton: subprocess.Popen[bytes], exited: int, stop_file: Path) -> None:
    """Have Triton answer what it has taken, and end; returns when it has ended, or never would."""
    until_s = time.monotonic() + DRAIN_S
    live_models = drain_streams(stop_file, exited)
    triton.send_signal(signal.SIGTERM)
    hangs_since_s = None
    while not select.select([exited], [], [], POLL_S)[0] and time.monotonic() < until_s:
        if not hangs(triton.pid, live_models):
            hangs_since_s = None
        elif hangs_since_s is None:
            hangs_since_s = time.monotonic()
        elif time.monotonic() - hangs_since_s > HANGS_S:
            return


def drain_streams(stop_file: Path, exited: int) -> list[str]:
    """Ask the live models to end their streams, and wait until each has removed its own file from the folder.

    Returns:
        Their names.
    """
    until_s = time.monotonic() + LIVE_DRAIN_S
    models = sorted(path.name for path in stop_file.parent.glob("*"))
    with suppress(OSError):  # the folder may have been removed, with whatever waits for it
        stop_file.touch()
        while any(entry != stop_file for entry in stop_file.parent.iterdir()) and time.monotonic() < until_s:
            if select.select([exited], [], [], POLL_S)[0]:
                break
    return models


def hangs(triton_pid: int, live_models: list[str]) -> bool:
    """Whether nothing but live models is loaded any more: a client's open call would keep them."""
    try:
        tasks = Path(f"/proc/{triton_pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
        commands = [Path(f"/proc/{child}/cmdline").read_text() for child in children]
    except OSError:  # one has just ended
        return False
    backends = [command for command in commands if command]  # a zombie has none
    return all(any(f"/{model}/" in command for model in live_models) for command in backends)


def kill_group(group: int) -> None:
    """End every process of the group at once."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def unlink_regions(prefix: str) -> None:
    """Remove the shared-memory regions whose names begin with ``prefix``."""
    for region in _own_regions(prefix):
        region.unlink(missing_ok=True)


def close_regions(prefix: str) -> None:
    """Take the regions' read permission from other users: requests' audio passes through them.

    The library by which Triton makes them sets their mode itself, whatever the umask, so until then they can be read;
    but only warm-up waveforms have passed.
    """
    for region in _own_regions(prefix):
        region.chmod(0o600)


def _own_regions(prefix: str) -> Iterator[Path]:
    """Without what another user may have put there under such a name, a symbolic link to follow among it."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):
            if region.lstat().st_uid == os.geteuid() and not region.is_symlink():
                yield region


def _tie_group(pipe: int) -> None:
    """Between fork and exec: have the kernel kill Triton's process group when the guard dies, however it does.

    Only the guard holds the pipe's other end. When that is gone, the kernel sends the signal that is set here to the
    group that is set here, whatever its processes are doing. (A parent-death signal would reach Triton alone, and a
    thread that watches from inside a backend waits for ever when Triton dies while it holds Python's lock.)
    """
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:  # it died before all was set
        os._exit(1)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(SIGNALLED + number)


if __name__ == "__main__":
    sys.exit(main())
