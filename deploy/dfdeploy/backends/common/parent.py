"""A backend's process ends when Triton's does.

Triton ends its backends when it stops; one that is killed leaves them waiting for up to an hour, memory and all. (The
kernel's parent-death signal would come too early: it watches the thread that started the process, and Triton starts
backends from threads that end once a model is loaded.)
"""

import os
import select
import signal
import threading


def end_with_parent() -> None:
    """Have this process killed at the moment when the one that started it is gone."""
    parent = os.pidfd_open(os.getppid())

    def watch() -> None:
        select.select([parent], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
