"""``dfeval``: figures, reports, comparisons and calibration from score files."""

import argparse
import sys

from dfcontract.errors import DfserveError
from dfcontract.startup import complain, completed, described
from dfeval.arguments import parse
from dfeval.commands import (
    calibrate,
    compare,
    degrade,
    fuse,
    metrics,
    report,
    sasv,
    segments,
    table,
    timeline,
    transfer,
    verify,
)
from dfeval.commands.options import refuse_overwriting

COMMANDS = (metrics, report, compare, calibrate, fuse, transfer, table, timeline, segments, degrade, sasv, verify)
DESCRIPTION = "Scores and a protocol in, the figures that the field publishes out. Higher scores are more bona fide."


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when the figures could be had, 1 when not."""
    arguments = parse(completed(build_parser()), sys.argv[1:] if argv is None else argv)
    try:
        refuse_overwriting(arguments)
        return int(arguments.run(arguments))
    except DfserveError as error:
        complain("dfeval", error)
    except ModuleNotFoundError as error:
        complain("dfeval", f"{error.name} is missing; pip install 'dfserve[eval]'")
    except BrokenPipeError:
        raise
    except OSError as error:
        complain("dfeval", f"{error.filename}: {error.strerror}" if error.filename else error)
    return 1


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options; the reference in the documentation is written from it, too."""
    parser = argparse.ArgumentParser(prog="dfeval", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return described(parser)
