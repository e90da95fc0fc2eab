"""`python -m dfclient`, and the installed command `dfclient`."""

import sys
from collections.abc import Callable

from dfcontract.startup import run_command


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `dfclient.cli.main.main`."""
    return run_command("dfclient", _load, argv)


def _load() -> Callable[[list[str] | None], int]:
    from dfclient.cli import inspect, main, score, stream  # noqa: F401  (what the parser imports, while nothing is begun)

    return main.main


if __name__ == "__main__":
    sys.exit(main())
