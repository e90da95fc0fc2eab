"""Owns one Triton: its process group and its shared memory. Cleans up both, whatever happens to whoever started it.

Run as ``python guard.py PREFIX COMMAND…``, so standard library only, with a pipe as standard input. The owner stops
Triton by closing the pipe; an owner that dies closes it too. Triton's Python backends share its process group and would
outlive it, and so would their shared-memory regions, whose names begin with PREFIX.

A guard that is killed takes the group with it (`_tie_group`); the regions go at the next start.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Linux keeps POSIX shared memory)
SIGNALLED = 128  # an exit status above it says by which signal a process ended, as in a shell
DRAIN_S = 20  # an open client stream, even an idle one, would keep Triton alive for ever


def main() -> int:
    """Run the command until it ends or the owner lets go; its exit status."""
    prefix, *command = sys.argv[1:]
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
        readable, _, _ = select.select([sys.stdin, exited], [], [])
        if exited not in readable:
            triton.send_signal(signal.SIGTERM)
            select.select([exited], [], [], DRAIN_S)
    finally:
        # Not reaped yet, so its id, the group's, can't be another's.
        kill_group(triton.pid)
        triton.wait()
        unlink_regions(prefix)
    return triton.returncode if triton.returncode >= 0 else SIGNALLED - triton.returncode


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
