"""``dfeval``: figures, reports and calibration from score files."""

import argparse
import sys
from pathlib import Path

from dfeval.errors import EvalError
from dfeval.formats import FORMATS


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when the figures could be had, 1 when not."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except EvalError as error:
        print(f"dfeval: error: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"dfeval: error: {error.name} is missing; pip install 'dfserve[eval]'", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dfeval", description="Scores and a protocol in, figures out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    metrics = commands.add_parser("metrics", help="figures of one score file")
    metrics.add_argument("scores", type=Path, metavar="SCORES")
    _add_protocol(metrics)
    metrics.set_defaults(run=_metrics)
    return parser


def _add_protocol(command: argparse.ArgumentParser) -> None:
    command.add_argument("--protocol", type=Path, nargs="+", required=True, metavar="FILE")
    command.add_argument("--protocol-format", choices=FORMATS, default="csv")
    command.add_argument("--phase")
    command.add_argument("--by", nargs="+", metavar="COLUMN")


def _metrics(arguments: argparse.Namespace) -> int:
    from dfeval.groups import split
    from dfeval.metrics.eer import eer
    from dfeval.protocols import load_protocol
    from dfeval.scores import load_scores
    from dfeval.trials import join

    protocol = load_protocol(arguments.protocol, arguments.protocol_format, arguments.phase)
    trials = join(load_scores(arguments.scores), protocol)
    print(f"{trials.detector} on {protocol.description}")
    for note in trials.matching.notes():
        print(f"  note: {note}")
    pooled = eer(trials.bonafide, trials.spoof)
    print(f"  {'pooled':30} {len(trials.bonafide):6} bona fide {len(trials.spoof):6} spoof  EER {pooled.value:7.2%}")
    for column in arguments.by or protocol.groups:
        for group in split(trials, column):
            mine = trials.table.iloc[group.rows]
            bonafide = (mine["label"] == "bonafide").to_numpy(dtype=bool)
            values = mine["score"].to_numpy(dtype=float)
            rate = eer(values[bonafide], values[~bonafide]).value
            print(f"  {group.name:30} {group.n_bonafide:6} bona fide {group.n_spoof:6} spoof  EER {rate:7.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
