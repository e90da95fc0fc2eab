"""Options that several commands have, and what is read by them."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfeval.errors import EvalError
from dfeval.formats import FORMATS

if TYPE_CHECKING:
    from dfeval.evaluation import Settings
    from dfeval.metrics.dcf import DcfCosts
    from dfeval.metrics.tdcf import AsvRates
    from dfeval.protocols import Protocol
    from dfeval.trials import Trials

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PARTS = "one detector's scores; several files count as one with the rows of all"


def add_scores(command: argparse.ArgumentParser, text: str) -> None:
    """SCORES, one or several, wherever they stand on the command line (see `dfeval.arguments`)."""
    command.add_argument("scores", type=Path, nargs="*", metavar="SCORES", help=text)


def add_protocol(command: argparse.ArgumentParser, required: bool = True) -> None:
    """Which protocol, and which of its trials."""
    group = command.add_argument_group("protocol")
    group.add_argument(
        "--protocol", type=Path, nargs="+", required=required, metavar="FILE", help="two files for BRSpeech-DF"
    )
    group.add_argument("--protocol-format", choices=FORMATS, default="csv", help="(default: %(default)s)")
    group.add_argument("--phase", help="which trials count (2021: progress, eval, hidden; default eval), or all")
    group.add_argument(
        "--where", action="append", default=[], metavar="CONDITION", help="trials that count: codec=C05, duration_s>=2"
    )
    group.add_argument("--label-column", metavar="NAME", help="the protocol's column of labels (default: label)")
    group.add_argument("--bonafide-label", metavar="LABEL", help="the label of bona fide trials; all others are spoof")


def add_columns(command: argparse.ArgumentParser) -> None:
    """Which columns of a score file count, and which model."""
    command.add_argument(
        "--id-column",
        metavar="NAME",
        help="the column of ids, in the score files or the protocol, whichever has it; its number without header",
    )
    command.add_argument(
        "--score-column",
        metavar="NAME",
        help="the column to evaluate (default: score); its number, from 1, in a file without header",
    )
    command.add_argument("--model", metavar="NAME", help="the model to evaluate, where a file has several")


def add_naming(command: argparse.ArgumentParser, several: bool) -> None:
    """What detectors are called, and which way their scores point."""
    meaning = "; one for each SCORES, in order: files of one name are one detector" if several else ""
    command.add_argument(
        "--name", action="append", default=[], metavar="NAME", help=f"what the detector is called{meaning}"
    )
    command.add_argument("--invert", action="store_true", help="a higher score is more spoof: negate all scores")


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
        "--threshold", type=finite, help="decide at this score (default: this data's own EER threshold)"
    )
    add_costs(command)
    add_asv(command)
    add_bootstrap(command)


def add_asv(command: argparse.ArgumentParser) -> None:
    """The speaker verifier's errors."""
    group = command.add_argument_group("t-DCF: the speaker verifier's errors, from its scores or as given")
    group.add_argument("--asv-scores", type=Path, metavar="FILE", help="the verifier's, as ASVspoof publishes them")
    group.add_argument("--asv-key", type=Path, metavar="FILE", help="ASVspoof 2021's ASV/trial_metadata.txt")
    add_asv_rates(group)


def add_asv_rates(group: argparse._ActionsContainer) -> None:
    """The same errors as three numbers."""
    group.add_argument(
        "--asv-rates",
        type=finite,
        nargs=3,
        metavar=("P_FA", "P_MISS", "P_FA_SPOOF"),
        help="of the verifier: impostors accepted, targets missed, spoof accepted; shares of 1",
    )


def add_costs(command: argparse.ArgumentParser) -> None:
    """The prior of spoof and the costs of both errors."""
    group = command.add_argument_group("detection cost (defaults: ASVspoof 5)")
    group.add_argument("--p-spoof", type=finite, default=0.05, help="prior of spoof (%(default)s)")
    group.add_argument("--c-miss", type=finite, default=1.0, help="cost of rejecting bona fide (%(default)s)")
    group.add_argument("--c-fa", type=finite, default=10.0, help="cost of accepting spoof (%(default)s)")


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


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN."""
    if not math.isfinite(value := float(text)):
        raise argparse.ArgumentTypeError(f"expected a finite number, found {text}")
    return value


def share(text: str) -> float:
    """A number between 0 and 1."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, found {text}")
    return value


def refuse_overwriting(arguments: argparse.Namespace) -> None:
    """Refuse an --out that is one of the command's own inputs: what it read would be lost.

    Options that may be overwritten are those that the command names as ``may_overwrite``.

    Raises:
        EvalError: it is one.
    """
    out = getattr(arguments, "out", None)
    if not isinstance(out, Path) or not out.is_file():
        return
    for name, value in vars(arguments).items():
        if name == "out" or name in getattr(arguments, "may_overwrite", ()):
            continue
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and path.exists() and out.samefile(path):
                raise EvalError(f"--out {out}: would overwrite {path}, which is read; name another file")


def protocol_of(arguments: argparse.Namespace) -> "Protocol":
    """What `add_protocol` asked for."""
    from dfeval.protocols import ProtocolColumns, load_protocol

    columns = ProtocolColumns(getattr(arguments, "id_column", None), arguments.label_column, arguments.bonafide_label)
    return load_protocol(
        arguments.protocol, arguments.protocol_format, arguments.phase, columns=columns, where=arguments.where
    )


def trials_of_one(arguments: argparse.Namespace) -> "Trials":
    """The trials of the one detector whose scores are in all the files."""
    names = getattr(arguments, "name", [])
    if len(names) > 1:
        raise EvalError(f"expected one --name for one detector, found {len(names)}")
    return _joined(arguments, [(names[0] if names else None, arguments.scores)])[0]


def trials_of_each(arguments: argparse.Namespace) -> "list[Trials]":
    """The trials of each detector: a file each, or all the files that have one name."""
    files, names = arguments.scores, getattr(arguments, "name", [])
    if names and len(names) != len(files):
        raise EvalError(f"expected a --name for each of the {len(files)} score files, in order, found {len(names)}")
    if not names:
        return _joined(arguments, [(None, [path]) for path in files])
    return _joined(
        arguments,
        [
            (name, [path for path, own in zip(files, names, strict=True) if own == name])
            for name in dict.fromkeys(names)
        ],
    )


def _joined(arguments: argparse.Namespace, detectors: Sequence[tuple[str | None, Sequence[Path]]]) -> "list[Trials]":
    from dfeval.scores import load_scores
    from dfeval.trials import join

    protocol = protocol_of(arguments)
    options = {name: getattr(arguments, name, None) for name in ("score_column", "model", "id_column")}
    invert = getattr(arguments, "invert", False)
    scores = [load_scores(paths, name=name, invert=invert, **options) for name, paths in detectors]
    wanted = options["id_column"]
    for one in scores:
        used = [*one.id_columns, *protocol.id_columns]
        if wanted and wanted.lower() not in [str(name).lower() for name in used]:
            raise EvalError(f"neither {one.name} nor the protocol has the --id-column {wanted!r}; they have {used}")
    return [join(one, protocol) for one in scores]


def costs_of(arguments: argparse.Namespace) -> "DcfCosts":
    """What `add_costs` asked for."""
    from dfeval.metrics.dcf import DcfCosts

    return DcfCosts(arguments.p_spoof, arguments.c_miss, arguments.c_fa)


def asv_of(arguments: argparse.Namespace) -> "AsvRates | None":
    """What `add_asv` asked for; None where nothing was."""
    from dfeval.metrics.tdcf import AsvRates
    from dfeval.tandem import load_asv_rates

    if arguments.asv_scores:
        phase = arguments.phase or FORMATS[arguments.protocol_format].default_phase
        return load_asv_rates(arguments.asv_scores, arguments.asv_key, phase)
    return AsvRates(*arguments.asv_rates) if arguments.asv_rates else None


def settings_of(arguments: argparse.Namespace) -> "Settings":
    """What `add_settings` asked for."""
    from dfeval.evaluation import Settings

    return Settings(
        by=arguments.by,
        threshold=arguments.threshold,
        costs=costs_of(arguments),
        asv=asv_of(arguments),
        n_replicates=arguments.bootstrap,
        seed=arguments.seed,
    )
