"""``dfeval calibrate fit | apply``: a calibration and a threshold, fitted on labelled scores, applied to others."""

import argparse
import sys
from pathlib import Path

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("calibrate", help="fit a calibration and a threshold, or apply one")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    fitting = actions.add_parser(
        "fit",
        help="fit on labelled scores, write JSON",
        epilog="Example: dfeval calibrate fit dev.csv --protocol dev_set.csv --target-frr 0.05 --out calibration.json",
    )
    options.add_scores(fitting, options.PARTS)
    fitting.add_argument("--kind", type=_kind, default="affine", help="affine or isotonic (default: %(default)s)")
    options.add_target(fitting)
    options.add_costs(fitting)
    fitting.add_argument("--out", type=Path, required=True, metavar="FILE", help="the calibration, JSON")
    options.add_protocol(fitting)
    fitting.set_defaults(run=fit)
    applying = actions.add_parser(
        "apply",
        help="add the columns llr and verdict to a score file",
        epilog="Example: dfeval calibrate apply eval.csv --calibration calibration.json --out calibrated.csv",
    )
    applying.add_argument("scores", type=Path, metavar="SCORES", help="a score file of the same model")
    applying.add_argument("--calibration", type=Path, required=True, metavar="FILE", help="of dfeval calibrate fit")
    applying.add_argument("--out", type=Path, required=True, metavar="FILE", help="the score file to write")
    applying.set_defaults(run=apply, may_overwrite=("scores",))
    for action in (fitting, applying):
        options.add_columns(action)


def fit(arguments: argparse.Namespace) -> int:
    """Fit, write the JSON, and say what it is worth on the trials that it was fitted on."""
    from dfeval.calibrate import Target, fit

    trials = options.trials_of_one(arguments)
    for note in trials.notes():
        print(f"dfeval: note: {note}", file=sys.stderr)
    target = Target(arguments.target_far, arguments.target_frr, options.costs_of(arguments))
    calibration = fit(trials, arguments.kind, target)
    calibration.save(arguments.out)
    figures, threshold = calibration.figures, calibration.threshold
    print(f"{arguments.kind} calibration of {calibration.detector}, fitted on {calibration.fitted_on['protocol']}")
    print(
        f"  Cllr {figures['cllr_before']:.4f} → {figures['cllr_after']:.4f} (least possible {figures['min_cllr']:.4f})"
    )
    print(f"  bona fide from the score {threshold.score:.4f}, LLR {threshold.llr:.4f}: {threshold.rule}")
    print(f"wrote {arguments.out}")
    return 0


def apply(arguments: argparse.Namespace) -> int:
    """Copy a score file with the columns that the calibration adds."""
    from dfcontract.calibration import Calibration
    from dfeval.calibrate import apply

    calibration = Calibration.load(arguments.calibration)
    n_rows = apply(
        calibration,
        arguments.scores,
        arguments.out,
        arguments.score_column,
        model=arguments.model,
        id_column=arguments.id_column,
        warn=lambda note: print(f"dfeval: note: {note}", file=sys.stderr),
    )
    print(f"wrote {arguments.out}: {n_rows:,} rows with llr and verdict")
    return 0


def _kind(text: str) -> str:
    from dfcontract.calibration import PARAMETERS  # loads NumPy, which no other command needs while it parses

    if text not in PARAMETERS:
        raise argparse.ArgumentTypeError(f"expected {' or '.join(PARAMETERS)}, found {text}")
    return text
