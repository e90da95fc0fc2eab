"""``dfeval fuse fit | apply``: several detectors into one score, weighed on labelled scores."""

import argparse
import sys
from pathlib import Path

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("fuse", help="weigh several detectors' scores, or apply the weights")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    fitting = actions.add_parser(
        "fit",
        help="fit on labelled scores, write JSON",
        epilog="Example: dfeval fuse fit aasist.csv sls.csv --protocol protocol.csv --out fusion.json",
    )
    options.add_scores(fitting, "a detector a file")
    options.add_target(fitting)
    options.add_costs(fitting)
    options.add_protocol(fitting)
    fitting.add_argument("--out", type=Path, required=True, metavar="FILE", help="the fusion, JSON")
    fitting.set_defaults(run=fit)
    applying = actions.add_parser("apply", help="write a score file of fused scores")
    applying.add_argument("scores", type=Path, nargs="+", metavar="SCORES", help="a detector a file")
    applying.add_argument("--fusion", type=Path, required=True, metavar="FILE", help="of dfeval fuse fit")
    applying.add_argument("--out", type=Path, required=True, metavar="FILE", help="the score file to write")
    applying.set_defaults(run=apply)
    for action in (fitting, applying):
        options.add_columns(action)
        action.add_argument(
            "--name", action="append", default=[], metavar="NAME", help="a detector's, one for each SCORES, in order"
        )


def fit(arguments: argparse.Namespace) -> int:
    """Fit, write the JSON, and disclose each detector's weight and own figures."""
    from dfeval.calibrate import Target
    from dfeval.fuse import fit

    detectors = options.trials_of_each(arguments)
    for note in dict.fromkeys(note for trials in detectors for note in trials.notes()):
        print(f"dfeval: note: {note}", file=sys.stderr)
    fusion = fit(detectors, Target(arguments.target_far, arguments.target_frr, options.costs_of(arguments)))
    fusion.save(arguments.out)
    about = fusion.fitted_on
    print(f"fused on {about['n_bonafide']:,} bona fide and {about['n_spoof']:,} spoof trials of {about['protocol']}")
    for member in fusion.members:
        own = f"alone: EER {member.figures['eer']:.2%}, Cllr {member.figures['cllr']:.4f}"
        print(f"  {member.detector}: weight {member.weight:+.4f}; {own}")
        if member.weight < 0:
            print(f"    a weight below zero: beside the others, a higher score of {member.detector} means spoof")
    figures = fusion.figures
    print(f"  fused: EER {figures['eer']:.2%}, Cllr {figures['cllr']:.4f} (least possible {figures['min_cllr']:.4f})")
    print(f"  bona fide from the LLR {fusion.threshold.llr:.4f}: {fusion.threshold.rule}")
    print("  all on the trials that it was fitted on, hence optimistic")
    print(f"wrote {arguments.out}")
    return 0


def apply(arguments: argparse.Namespace) -> int:
    """Write the fused scores."""
    from dfcontract.fusion import Fusion
    from dfeval.errors import EvalError
    from dfeval.fuse import apply
    from dfeval.scores import check_id_column, load_scores

    files, names = arguments.scores, arguments.name or [None] * len(arguments.scores)
    if len(names) != len(files):
        raise EvalError(f"expected a --name for each of the {len(files)} score files, in order, found {len(names)}")
    fusion = Fusion.load(arguments.fusion)
    scores = [
        load_scores(path, arguments.score_column, arguments.model, id_column=arguments.id_column, name=name)
        for path, name in zip(files, names, strict=True)
    ]
    for one in scores:
        check_id_column(one, arguments.id_column)
    for note in dict.fromkeys(note for one in scores for note in one.notes):
        print(f"dfeval: note: {note}", file=sys.stderr)
    n_rows, n_without = apply(fusion, scores, arguments.out)
    print(f"wrote {arguments.out}: {n_rows:,} rows with a fused score")
    if n_without:
        print(f"dfeval: note: {n_without:,} recordings lack a detector's score, hence a fused one", file=sys.stderr)
    return 0
