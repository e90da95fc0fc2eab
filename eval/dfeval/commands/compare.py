"""``dfeval compare``: is one detector better than another on the same trials?"""

import argparse

from dfeval.commands import options
from dfeval.errors import EvalError


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser(
        "compare",
        help="whether one detector is better than another on the same trials",
        epilog="Example: dfeval compare aasist.csv sls.csv --protocol protocol.csv",
    )
    options.add_scores(command, "two detectors, a file each; or more files, named by --name")
    command.set_defaults(run=run)
    options.add_protocol(command)
    options.add_columns(command)
    options.add_naming(command, several=True)
    command.add_argument(
        "--metric", default="eer", metavar="NAME", help="eer, auc, min_dcf, act_dcf, cllr, min_tdcf_2019 or _2021 (eer)"
    )
    options.add_costs(command)
    options.add_asv(command)
    options.add_bootstrap(command)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print."""
    from dfeval.comparison import compare_trials
    from dfeval.console import console, show_comparison
    from dfeval.metrics.compare import Figure

    detectors = options.trials_of_each(arguments)
    if len(detectors) != 2:
        raise EvalError(f"expected the scores of two detectors, found those of {len(detectors)}")
    first, second = detectors
    out = console()
    for note in dict.fromkeys([*first.source.notes, *second.source.notes, *first.protocol.notes]):
        out.print(f"note: {note}", style="yellow")
    figure = Figure(arguments.metric, options.costs_of(arguments), options.asv_of(arguments))
    comparison = compare_trials(first, second, arguments.bootstrap, arguments.seed, figure)
    names = [one.shown_as for one in detectors]
    if len(set(names)) < len(names):  # one model's scores of two runs
        names = [f"{name} ({one.source.name})" for name, one in zip(names, detectors, strict=True)]
    show_comparison(comparison, names[0], names[1], out)
    return 0
