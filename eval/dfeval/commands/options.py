"""Options that several commands have, and what is read by them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfeval.formats import FORMATS

if TYPE_CHECKING:
    from dfeval.evaluation import Settings
    from dfeval.metrics.dcf import DcfCosts
    from dfeval.trials import Trials

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PARTS = "one detector's scores; several files count as one with the rows of all"


def add_scores(command: argparse.ArgumentParser, text: str) -> None:
    """SCORES, one or several, wherever they stand on the command line (see `dfeval.arguments`)."""
    command.add_argument("scores", type=Path, nargs="*", metavar="SCORES", help=text)


def add_protocol(command: argparse.ArgumentParser) -> None:
    """Which protocol, and which of its trials."""
    group = command.add_argument_group("protocol")
    group.add_argument(
        "--protocol", type=Path, nargs="+", required=True, metavar="FILE", help="two files for BRSpeech-DF"
    )
    group.add_argument("--protocol-format", choices=FORMATS, default="csv", help="(default: %(default)s)")
    group.add_argument("--phase", help="which trials count (2021: progress, eval, hidden; default eval), or all")


def add_columns(command: argparse.ArgumentParser) -> None:
    """Which column of a score file counts, and which model."""
    command.add_argument(
        "--score-column",
        metavar="NAME",
        help="the column to evaluate (default: score); its number, from 1, in a file without header",
    )
    command.add_argument("--model", metavar="NAME", help="the model to evaluate, where a file has several")


def add_bootstrap(command: argparse.ArgumentParser) -> None:
    """How many replicates, and from which seed."""
    command.add_argument("--bootstrap", type=count, default=1000, metavar="N", help="replicates (%(default)s)")
    command.add_argument("--seed", type=count, default=0, help="of the bootstrap (%(default)s)")


def add_settings(command: argparse.ArgumentParser) -> None:
    """What `settings_of` reads: groups, the decision threshold, costs, the speaker verifier, the bootstrap."""
    command.add_argument(
        "--by",
        nargs="*",
        metavar="COLUMN",
        help="break figures down by these protocol columns, numbers at edges as in duration_s:2,4; none: pooled alone",
    )
    command.add_argument(
        "--threshold", type=float, help="decide at this score (default: this data's own EER threshold)"
    )
    add_costs(command)
    group = command.add_argument_group("t-DCF: the speaker verifier's errors, from its scores or as given")
    group.add_argument("--asv-scores", type=Path, metavar="FILE")
    group.add_argument("--asv-key", type=Path, metavar="FILE", help="ASVspoof 2021's ASV/trial_metadata.txt")
    group.add_argument("--asv-rates", type=float, nargs=3, metavar=("P_FA", "P_MISS", "P_FA_SPOOF"))
    add_bootstrap(command)


def add_costs(command: argparse.ArgumentParser) -> None:
    """The prior of spoof and the costs of both errors."""
    group = command.add_argument_group("detection cost (defaults: ASVspoof 5)")
    group.add_argument("--p-spoof", type=float, default=0.05, help="prior of spoof (%(default)s)")
    group.add_argument("--c-miss", type=float, default=1.0, help="cost of rejecting bona fide (%(default)s)")
    group.add_argument("--c-fa", type=float, default=10.0, help="cost of accepting spoof (%(default)s)")


def add_target(command: argparse.ArgumentParser) -> None:
    """What a threshold is set for: a rate, or the costs."""
    target = command.add_mutually_exclusive_group()
    target.add_argument("--target-far", type=share, metavar="RATE", help="accept at most this share of spoof")
    target.add_argument("--target-frr", type=share, metavar="RATE", help="reject at most this share of bona fide")


def count(text: str) -> int:
    """A whole number from 0 on."""
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, found {text}")
    return number


def share(text: str) -> float:
    """A number between 0 and 1."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, found {text}")
    return value


def trials_of(arguments: argparse.Namespace, detectors: Sequence[Path | Sequence[Path]]) -> "list[Trials]":
    """The trials of each detector, whose scores are in one file or in several."""
    from dfeval.protocols import load_protocol
    from dfeval.scores import load_scores
    from dfeval.trials import join

    protocol = load_protocol(arguments.protocol, arguments.protocol_format, arguments.phase)
    column, model = getattr(arguments, "score_column", None), getattr(arguments, "model", None)
    return [join(load_scores(paths, column, model), protocol) for paths in detectors]


def costs_of(arguments: argparse.Namespace) -> "DcfCosts":
    """What `add_costs` asked for."""
    from dfeval.metrics.dcf import DcfCosts

    return DcfCosts(arguments.p_spoof, arguments.c_miss, arguments.c_fa)


def settings_of(arguments: argparse.Namespace) -> "Settings":
    """What `add_settings` asked for."""
    from dfeval.evaluation import Settings
    from dfeval.metrics.tdcf import AsvRates
    from dfeval.tandem import load_asv_rates

    asv = AsvRates(*arguments.asv_rates) if arguments.asv_rates else None
    if arguments.asv_scores:
        phase = arguments.phase or FORMATS[arguments.protocol_format].default_phase
        asv = load_asv_rates(arguments.asv_scores, arguments.asv_key, phase)
    return Settings(
        by=arguments.by,
        threshold=arguments.threshold,
        costs=costs_of(arguments),
        asv=asv,
        n_replicates=arguments.bootstrap,
        seed=arguments.seed,
    )
