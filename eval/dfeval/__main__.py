"""`python -m dfeval`, and the installed command `dfeval`."""

import sys
from collections.abc import Callable

from dfcontract.startup import run_command


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `dfeval.cli.main`."""
    return run_command("dfeval", _load, argv)


def _load() -> Callable[[list[str] | None], int]:
    from dfeval import cli

    return cli.main


if __name__ == "__main__":
    sys.exit(main())
