"""``dfeval transfer``: a threshold set on one data set, judged on another."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dfeval.commands import options
from dfeval.errors import EvalError
from dfeval.formats import FORMATS

if TYPE_CHECKING:
    from dfeval.transfer import Source


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser(
        "transfer",
        help="a threshold or calibration set on one set, judged on another",
        epilog="Example: dfeval transfer eval.csv --protocol eval_set.csv --from dev.csv --from-protocol dev_set.csv",
    )
    options.add_scores(command, options.PARTS)
    source = command.add_argument_group("where the threshold comes from (one of --from…, --calibration, --threshold)")
    source.add_argument("--from", dest="origin", type=Path, nargs="+", metavar="SCORES", help="of the set it is set on")
    source.add_argument("--from-protocol", type=Path, nargs="+", metavar="FILE", help="(default: --protocol)")
    source.add_argument("--from-format", choices=FORMATS, help="(default: --protocol-format)")
    source.add_argument("--from-phase", help="which trials it is set on")
    source.add_argument(
        "--from-where", action="append", default=[], metavar="CONDITION", help="as --where, of the set it is set on"
    )
    source.add_argument("--calibration", type=Path, metavar="FILE", help="of dfeval calibrate fit")
    source.add_argument("--threshold", type=options.finite, help="a score; at or above it is bona fide")
    options.add_target(command)
    command.add_argument("--by", metavar="COLUMN", help="besides, for each value of this protocol column")
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    command.set_defaults(run=run)
    options.add_protocol(command)
    options.add_columns(command)
    options.add_naming(command, several=False)
    options.add_costs(command)
    options.add_bootstrap(command)


def run(arguments: argparse.Namespace) -> int:
    """Judge and print."""
    from dfeval.console import console, show_transfers
    from dfeval.evaluation import Settings
    from dfeval.transfer import transfer, transfer_by

    source, trials = _source(arguments), options.trials_of_one(arguments)
    settings = Settings(costs=options.costs_of(arguments), n_replicates=arguments.bootstrap, seed=arguments.seed, by=())
    found = [transfer(source, trials, settings)]
    if arguments.by:
        found += transfer_by(source, trials, arguments.by, settings)
    for note in dict.fromkeys([*source.notes, *found[0].notes]):
        print(f"dfeval: note: {note}", file=sys.stderr)
    if arguments.json:
        origin = {"threshold": source.threshold, "rule": source.rule, "data": source.data, "eer": source.eer}
        content = {"detector": trials.shown_as, "source": origin, "sets": [one.as_dict() for one in found]}
        print(json.dumps(content, indent=2))
        return 0
    show_transfers(trials.shown_as, source, found, console())
    return 0


def _source(arguments: argparse.Namespace) -> "Source":
    from dfcontract.calibration import Calibration
    from dfeval.calibrate import Target
    from dfeval.transfer import Source, source_of_calibration, source_of_trials

    is_from = bool(arguments.origin or arguments.from_where or arguments.from_phase)
    has_target = arguments.target_far is not None or arguments.target_frr is not None
    given = [is_from, arguments.calibration is not None, arguments.threshold is not None]
    if sum(given) != 1:
        raise EvalError(
            "expected one place that the threshold comes from: --from SCORES --from-protocol FILE (or --from-where of "
            f"the same files), --calibration FILE or --threshold SCORE, found {sum(given)}"
        )
    if has_target and not is_from:
        raise EvalError("--target-far and --target-frr set a threshold on the scores of --from: give those")
    if arguments.calibration is not None:
        return source_of_calibration(Calibration.load(arguments.calibration))
    if arguments.threshold is not None:
        return Source(arguments.threshold, "as given")
    if arguments.origin and not arguments.from_protocol and not arguments.from_where:
        raise EvalError("--from needs the protocol of its scores: --from-protocol FILE")
    origin = argparse.Namespace(**vars(arguments))
    origin.scores = arguments.origin or arguments.scores
    origin.protocol = arguments.from_protocol or arguments.protocol
    origin.protocol_format = arguments.from_format or arguments.protocol_format
    origin.phase, origin.where = arguments.from_phase, arguments.from_where
    target = Target(arguments.target_far, arguments.target_frr) if has_target else None
    return source_of_trials(options.trials_of_one(origin), target)
