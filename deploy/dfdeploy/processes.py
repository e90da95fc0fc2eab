"""Whether a process still runs. One that has ended stays in the table, as a zombie, until its parent asks for it.

In a container whose first process does not ask, as without `docker run --init`, that is for good.
"""

import psutil


def is_alive(process: psutil.Process) -> bool:
    """Whether it has not ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_alive_pid(pid: int) -> bool:
    """Whether a process of that number has not ended."""
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
