"""Command lines that argparse misreads: negative numbers with an exponent, files behind an option of many values."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from dfeval.formats import FORMATS

EXPONENT = re.compile(r"-(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, SCORES wherever they stand; an error that ends the program where they are missing.

    Args:
        parser: its commands' SCORES, where there may be several, have ``nargs="*"``.
        argv: the command line without the program's name.
    """
    arguments, rest = parser.parse_known_args(_with_numbers_joined(argv))
    takes_many = isinstance(getattr(arguments, "scores", None), list)
    if unknown := [word for word in rest if word.startswith("-") or not takes_many]:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if not takes_many:
        return arguments
    found: list[Path] = [*arguments.scores, *map(Path, rest)] or _taken_by_an_option(arguments)
    if not found:
        parser.error("expected a file or more of SCORES, found none")
    arguments.scores = found
    return arguments


def _with_numbers_joined(argv: Sequence[str]) -> list[str]:
    """``--threshold -1e-3`` as ``--threshold=-1e-3``: argparse takes the number for an option."""
    joined: list[str] = []
    for word in argv:
        if EXPONENT.fullmatch(word) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _taken_by_an_option(arguments: argparse.Namespace) -> list[Path]:
    """In ``--protocol P SCORES`` and ``--by attack SCORES`` the option has taken what stands behind its own values."""
    n_files = FORMATS[arguments.protocol_format].n_files
    scores = arguments.protocol[n_files:]
    arguments.protocol = arguments.protocol[:n_files]
    by = getattr(arguments, "by", None) or []
    while by and Path(by[-1]).is_file():
        scores.insert(0, Path(by.pop()))
    return list(scores)
