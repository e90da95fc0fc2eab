"""``dfeval report``: one page about one detector or several."""

import argparse
import sys
from pathlib import Path

from dfeval.commands import options
from dfeval.errors import EvalError


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser(
        "report",
        help="one HTML page with pictures, tables and files; several detectors",
        epilog="Example: dfeval report aasist.csv sls.csv --protocol protocol.csv --out report",
    )
    options.add_scores(command, "a detector a file")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where index.html and the rest go")
    command.add_argument(
        "--transfer",
        metavar="VALUE",
        help="set the threshold on the trials whose --by column has this value, and keep it for all: clean, say",
    )
    command.set_defaults(run=run)
    options.add_protocol(command)
    options.add_columns(command)
    options.add_naming(command, several=True)
    options.add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and write the page."""
    from dataclasses import replace

    from dfeval.drift import source_within, transfer_within
    from dfeval.evaluation import evaluate
    from dfeval.report import undrawable_in, write_report

    settings, transfers = options.settings_of(arguments), []
    if arguments.transfer is None:
        evaluations = [evaluate(trials, settings) for trials in options.trials_of_each(arguments)]
    else:
        column = _column_of_transfer(arguments)
        evaluations = []
        for trials in options.trials_of_each(arguments):
            source = source_within(trials, column, arguments.transfer)
            kept = replace(settings, threshold=source.threshold, threshold_rule=source.rule)
            evaluations.append(evaluate(trials, kept))
            transfers.append(transfer_within(trials, column, arguments.transfer, source, settings))
    page = write_report(evaluations, arguments.out, transfers)
    if missing := undrawable_in(evaluations):
        advice = "pictures saved as files show boxes; Debian's fonts-noto has most scripts"
        print(f"dfeval: note: no font here has {missing}: {advice}", file=sys.stderr)
    also = ", transfer.json" if transfers else ""
    print(f"wrote {page} and, beside it, metrics.json, metrics.csv{also} and the pictures as PNG and SVG")
    return 0


def _column_of_transfer(arguments: argparse.Namespace) -> str:
    if arguments.threshold is not None:
        raise EvalError("--transfer sets the threshold: leave --threshold out")
    if not arguments.by:
        raise EvalError(f"--transfer {arguments.transfer}: say with --by which column has that value, as in condition")
    return str(arguments.by[0])
