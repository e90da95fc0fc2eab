"""`python -m dfpage`, and the installed command `dfpage`."""

import sys
from collections.abc import Callable

from dfcontract.startup import run_command


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `dfpage.cli.main`."""
    return run_command("dfpage", _load, argv)


def _load() -> Callable[[list[str] | None], int]:
    from dfpage import cli

    return cli.main


if __name__ == "__main__":
    sys.exit(main())
