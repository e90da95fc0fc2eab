"""How every command begins and is cut short: by Ctrl-C, at any moment, or by the reader of its output, `head` say.

Ctrl-C is one line and the status 130 that shells give to it, a reader that has gone is status 1 without a word (as
rich, which some commands print with, has it). Python itself would print a traceback, in the midst of its imports too.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 1

Command = Callable[[list[str] | None], int]


def run_command(name: str, load: Callable[[], Command], argv: list[str] | None) -> int:
    """Load a command and run it; its exit status.

    Args:
        name: what the line calls it.
        load: imports the command and returns its main function.
        argv: for that function.
    """
    command = _loaded(name, load)
    try:
        status = command(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more at its end
        return EXIT_BROKEN_PIPE
    return status


def completed(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same parser. A shell that asks what may come next (`register-python-argcomplete`) is told, and we exit."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    return parser


def _loaded(name: str, load: Callable[[], Command]) -> Command:
    """While a command is loaded there is nothing to tidy up: an interrupt ends it at once."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, f"{name}: interrupted\n".encode())
        os._exit(EXIT_INTERRUPTED)

    # A shell has background jobs ignore the signal, and a program that calls us may have a handler of its own.
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_pythons or threading.current_thread() is not threading.main_thread():
        return load()
    signal.signal(signal.SIGINT, end)
    try:
        return load()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
