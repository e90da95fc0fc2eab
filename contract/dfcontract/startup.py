"""How every command begins and is cut short: by Ctrl-C, at any moment, or by the reader of its output, `head` say.

Ctrl-C is one line and the status 130 that shells give to it, a reader that has gone is status 1 without a word (as
rich, which some commands print with, has it), a full disk under the output is status 1 and one line. Python itself
would print a traceback, in the midst of its imports too.
"""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from dfcontract.errors import OutputError
from dfcontract.text import printable_lines

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = EXIT_OUTPUT_LOST = 1
EXIT_USAGE = 2

Command = Callable[[list[str] | None], int]


def run_command(name: str, load: Callable[[], Command], argv: list[str] | None) -> int:
    """Load a command and run it; its exit status.

    Args:
        name: what the line calls it.
        load: imports the command and returns its main function.
        argv: for that function.
    """
    output = _prepared_output()
    command = _loaded(name, load)
    try:
        status = command(argv)
        sys.stdout.flush()
    except OutputError as error:
        complain(name, error)
        return EXIT_OUTPUT_LOST
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more at its end
        return EXIT_BROKEN_PIPE
    return status or (EXIT_OUTPUT_LOST if output is not None and output.is_lost else 0)


def complain(name: str, error: object) -> None:
    """Say what is wrong, on standard error; escape codes of a server's words or a file's are shown and not obeyed.

    Args:
        name: of the command.
        error: what is wrong, in one line or more.
    """
    text = printable_lines(str(error).split("\n"))
    print(f"{name}: error: {text}", file=sys.stderr)


class _Output(io.FileIO):
    """Standard output: what it can't take is our error, which every command tells in one line, not an OSError."""

    is_lost = False

    def write(self, content: Any) -> int:
        """As of any file; what follows a failure goes nowhere, so that it is told once."""
        if self.is_lost:
            return len(content)
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.is_lost = True
            raise OutputError(f"cannot write what it prints: {error.strerror}") from None


def _prepared_output() -> _Output | None:
    """Each line at once, into a pipe or a file, too: a log of a server or of minutes of work is read while it grows."""
    output = sys.stdout
    if not isinstance(output, io.TextIOWrapper):
        return None
    output.reconfigure(line_buffering=True)
    if type(getattr(output.buffer, "raw", output.buffer)) is not io.FileIO:  # somebody else's: a test's, a notebook's
        return None
    raw = _Output(output.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=output.encoding, errors=output.errors, newline="\n", line_buffering=True
    )
    return raw


def described(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same parser, complete: ``--version``, help where no command is given, and more in each command's own help.

    argparse shows what a command does in the list of commands alone, and answers a name without a command by an error
    that lists none.
    """
    _describe(parser)
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print which dfserve this is"
    )
    return parser


def _describe(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:  # argparse has no public way to its commands
        if isinstance(action, argparse._SubParsersAction):
            action.required = False
            parser.epilog = parser.epilog or f"{parser.prog} {action.metavar} --help shows the options of each."
            parser.set_defaults(run=partial(_show_help, parser))
            for line in action._choices_actions:
                command = action.choices[line.dest]
                if command.description is None and line.help:
                    command.description = f"{line.help[0].upper()}{line.help[1:].removesuffix('.')}."
                _describe(command)


def _show_help(parser: argparse.ArgumentParser, _arguments: argparse.Namespace) -> int:
    parser.print_help(sys.stderr)
    return EXIT_USAGE


class _Version(argparse.Action):
    """Looked up when it is asked for: the commands start faster without."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("dfserve")
        except PackageNotFoundError:
            found = "not installed, run from its source"
        print(f"dfserve {found}")
        parser.exit()


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
