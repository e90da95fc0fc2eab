"""`python -m dfexport`, and the installed command `dfexport`."""

import sys
from collections.abc import Callable

from dfcontract.startup import run_command


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `dfexport.cli.main`."""
    return run_command("dfexport", _load, argv)


def _load() -> Callable[[list[str] | None], int]:
    from dfexport import cli

    return cli.main


if __name__ == "__main__":
    sys.exit(main())
