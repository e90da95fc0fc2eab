"""``dfeval report``: one page about one detector or several."""

import argparse
import sys
from pathlib import Path

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("report", help="one HTML page with pictures, tables and files; several detectors")
    options.add_scores(command, "a detector a file")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where index.html and the rest go")
    command.set_defaults(run=run)
    options.add_protocol(command)
    options.add_columns(command)
    options.add_naming(command, several=True)
    options.add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and write the page."""
    from dfeval.evaluation import evaluate
    from dfeval.report import undrawable_in, write_report

    settings = options.settings_of(arguments)
    evaluations = [evaluate(trials, settings) for trials in options.trials_of_each(arguments)]
    page = write_report(evaluations, arguments.out)
    if missing := undrawable_in(evaluations):
        advice = "pictures saved as files show boxes; Debian's fonts-noto has most scripts"
        print(f"dfeval: note: no font here has {missing}: {advice}", file=sys.stderr)
    print(f"wrote {page} and, beside it, metrics.json, metrics.csv and the pictures as PNG and SVG")
    return 0
