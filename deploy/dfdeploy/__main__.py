"""`python -m dfdeploy`, and the installed command `dfdeploy`."""

import sys
from collections.abc import Callable

from dfcontract.startup import run_command


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `dfdeploy.cli.main`."""
    return run_command("dfdeploy", _load, argv)


def _load() -> Callable[[list[str] | None], int]:
    from dfdeploy import cli

    return cli.main


if __name__ == "__main__":
    sys.exit(main())
