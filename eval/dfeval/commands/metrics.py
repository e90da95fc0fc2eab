"""``dfeval metrics``: figures of one detector, in the terminal or as JSON."""

import argparse
import json

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser(
        "metrics",
        help="figures of one detector, in the terminal or as JSON",
        epilog="Example: dfeval metrics scores.csv --protocol protocol.csv",
    )
    options.add_scores(command, options.PARTS)
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")
    command.set_defaults(run=run)
    options.add_protocol(command)
    options.add_columns(command)
    options.add_naming(command, several=False)
    options.add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    from dfeval.evaluation import evaluate

    trials = options.trials_of_one(arguments)
    evaluation = evaluate(trials, options.settings_of(arguments))
    if arguments.json:
        print(json.dumps(evaluation.as_dict(), indent=2))
        return 0
    from dfeval.console import console, show

    show(evaluation, console())
    return 0
