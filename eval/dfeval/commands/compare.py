"""``dfeval compare``: is one detector better than another on the same trials?"""

import argparse

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("compare", help="is one detector better than another on the same trials?")
    options.add_scores(command, "two files")
    command.set_defaults(run=run, n_scores=2)
    options.add_protocol(command)
    options.add_bootstrap(command)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print."""
    from dfeval.comparison import compare_trials
    from dfeval.console import console, show_comparison

    first, second = options.trials_of(arguments, arguments.scores)
    out = console()
    for note in dict.fromkeys([*first.source.notes, *second.source.notes, *first.protocol.notes]):
        out.print(f"note: {note}", style="yellow")
    comparison = compare_trials(first, second, arguments.bootstrap, arguments.seed)
    show_comparison(comparison, first.detector, second.detector, out)
    return 0
