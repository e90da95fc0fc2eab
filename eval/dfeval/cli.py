"""``dfeval``: figures, reports, comparisons and calibration from score files."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfcontract.errors import DfserveError
from dfeval.arguments import parse
from dfeval.formats import FORMATS

if TYPE_CHECKING:
    from dfeval.evaluation import Settings
    from dfeval.trials import Trials

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PARTS = "one detector's scores; several files count as one with the rows of all"
DESCRIPTION = "Scores and a protocol in, the figures that the field publishes out. Higher scores are more bona fide."


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when the figures could be had, 1 when not."""
    arguments = parse(_parser(), sys.argv[1:] if argv is None else argv)
    try:
        return int(arguments.run(arguments))
    except DfserveError as error:
        print(f"dfeval: error: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"dfeval: error: {error.name} is missing; pip install 'dfserve[eval]'", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"dfeval: error: {error.filename}: {error.strerror}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dfeval", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    metrics = commands.add_parser("metrics", help="figures of one detector, in the terminal or as JSON")
    metrics.add_argument("scores", type=Path, nargs="*", metavar="SCORES", help=PARTS)
    metrics.add_argument("--json", action="store_true", help="print JSON instead of tables")
    metrics.set_defaults(run=_metrics)

    report = commands.add_parser("report", help="one HTML page with pictures, tables and files; several detectors")
    report.add_argument("scores", type=Path, nargs="*", metavar="SCORES")
    report.add_argument("--out", type=Path, required=True, metavar="DIR", help="where index.html and the rest go")
    report.set_defaults(run=_report)

    compare = commands.add_parser("compare", help="is one detector better than another on the same trials?")
    compare.add_argument("scores", type=Path, nargs="*", metavar="SCORES", help="two files")
    compare.set_defaults(run=_compare, n_scores=2)

    fitting, applying = _add_calibrate(commands)
    _add_timeline(commands)
    _add_sasv(commands)
    for command in (metrics, report, compare, fitting):
        _add_protocol(command)
    for command in (metrics, report, fitting, applying):
        command.add_argument(
            "--score-column",
            metavar="NAME",
            help="the column to evaluate (default: score); its number, from 1, in a file without header",
        )
        command.add_argument("--model", metavar="NAME", help="the model to evaluate, where a file has several")
    for command in (metrics, report):
        _add_settings(command)
    for command in (metrics, report, compare):
        command.add_argument("--bootstrap", type=_count, default=1000, metavar="N", help="replicates (%(default)s)")
        command.add_argument("--seed", type=_count, default=0, help="of the bootstrap (%(default)s)")
    return parser


def _add_calibrate(commands: "Commands") -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    calibrate = commands.add_parser("calibrate", help="fit a calibration and a threshold, or apply one")
    actions = calibrate.add_subparsers(required=True, metavar="ACTION")
    fitting = actions.add_parser("fit", help="fit on labelled scores, write JSON")
    fitting.add_argument("scores", type=Path, nargs="*", metavar="SCORES", help=PARTS)
    _add_calibration(fitting)
    applying = actions.add_parser("apply", help="add the columns llr and verdict to a score file")
    applying.add_argument("scores", type=Path, metavar="SCORES")
    applying.add_argument("--calibration", type=Path, required=True, metavar="FILE")
    applying.add_argument("--out", type=Path, required=True, metavar="FILE")
    applying.set_defaults(run=_calibrate_apply)
    return fitting, applying


def _add_timeline(commands: "Commands") -> None:
    timeline = commands.add_parser("timeline", help="picture of the score along a recording (sliding mode)")
    timeline.add_argument("scores", type=Path, metavar="SCORES")
    timeline.add_argument("--utt-id", metavar="ID", help="which recording (default: the one with most windows)")
    timeline.add_argument("--threshold", type=float, help="mark windows below this score as spoof")
    timeline.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .png or .svg")
    timeline.set_defaults(run=_timeline)


def _add_sasv(commands: "Commands") -> None:
    sasv = commands.add_parser("sasv", help="a-DCF, t-EER and min t-DCF of ASVspoof 5, track 2")
    sasv.add_argument("scores", type=Path, metavar="SCORES", help="TSV: spk filename cm-score asv-score sasv-score")
    sasv.add_argument("--key", type=Path, required=True, metavar="FILE", help="TSV: spk filename cm-label asv-label")
    sasv.add_argument("--json", action="store_true", help="print JSON")
    sasv.set_defaults(run=_sasv)


def _add_protocol(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("protocol")
    group.add_argument(
        "--protocol", type=Path, nargs="+", required=True, metavar="FILE", help="two files for BRSpeech-DF"
    )
    group.add_argument("--protocol-format", choices=FORMATS, default="csv", help="(default: %(default)s)")
    group.add_argument("--phase", help="which trials count (2021: progress, eval, hidden; default eval), or all")


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--by",
        nargs="*",
        metavar="COLUMN",
        help="break figures down by these protocol columns, numbers at edges as in duration_s:2,4; none: pooled alone",
    )
    command.add_argument(
        "--threshold", type=float, help="decide at this score (default: this data's own EER threshold)"
    )
    _add_costs(command)
    group = command.add_argument_group("t-DCF: the speaker verifier's errors, from its scores or as given")
    group.add_argument("--asv-scores", type=Path, metavar="FILE")
    group.add_argument("--asv-key", type=Path, metavar="FILE", help="ASVspoof 2021's ASV/trial_metadata.txt")
    group.add_argument("--asv-rates", type=float, nargs=3, metavar=("P_FA", "P_MISS", "P_FA_SPOOF"))


def _add_costs(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("detection cost (defaults: ASVspoof 5)")
    group.add_argument("--p-spoof", type=float, default=0.05, help="prior of spoof (%(default)s)")
    group.add_argument("--c-miss", type=float, default=1.0, help="cost of rejecting bona fide (%(default)s)")
    group.add_argument("--c-fa", type=float, default=10.0, help="cost of accepting spoof (%(default)s)")


def _add_calibration(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kind", type=_calibration_kind, default="affine", help="affine or isotonic (default: %(default)s)"
    )
    target = command.add_mutually_exclusive_group()
    target.add_argument("--target-far", type=_share, metavar="RATE", help="accept at most this share of spoof")
    target.add_argument("--target-frr", type=_share, metavar="RATE", help="reject at most this share of bona fide")
    _add_costs(command)
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the calibration, JSON")
    command.set_defaults(run=_calibrate_fit)


def _count(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, found {text}")
    return number


def _share(text: str) -> float:
    if not 0 <= (share := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, found {text}")
    return share


def _calibration_kind(text: str) -> str:
    from dfcontract.calibration import PARAMETERS  # loads NumPy, which no other command needs while it parses

    if text not in PARAMETERS:
        raise argparse.ArgumentTypeError(f"expected {' or '.join(PARAMETERS)}, found {text}")
    return text


def _trials(arguments: argparse.Namespace, detectors: Sequence[Path | Sequence[Path]]) -> "list[Trials]":
    """The trials of each detector, whose scores are in one file or in several."""
    from dfeval.protocols import load_protocol
    from dfeval.scores import load_scores
    from dfeval.trials import join

    protocol = load_protocol(arguments.protocol, arguments.protocol_format, arguments.phase)
    column, model = getattr(arguments, "score_column", None), getattr(arguments, "model", None)
    return [join(load_scores(paths, column, model), protocol) for paths in detectors]


def _settings(arguments: argparse.Namespace) -> "Settings":
    from dfeval.evaluation import Settings
    from dfeval.metrics.dcf import DcfCosts
    from dfeval.metrics.tdcf import AsvRates
    from dfeval.tandem import load_asv_rates

    asv = AsvRates(*arguments.asv_rates) if arguments.asv_rates else None
    if arguments.asv_scores:
        phase = arguments.phase or FORMATS[arguments.protocol_format].default_phase
        asv = load_asv_rates(arguments.asv_scores, arguments.asv_key, phase)
    return Settings(
        by=arguments.by,
        threshold=arguments.threshold,
        costs=DcfCosts(arguments.p_spoof, arguments.c_miss, arguments.c_fa),
        asv=asv,
        n_replicates=arguments.bootstrap,
        seed=arguments.seed,
    )


def _metrics(arguments: argparse.Namespace) -> int:
    from dfeval.evaluation import evaluate

    (trials,) = _trials(arguments, [arguments.scores])
    evaluation = evaluate(trials, _settings(arguments))
    if arguments.json:
        print(json.dumps(evaluation.as_dict(), indent=2))
        return 0
    from dfeval.console import console, show

    show(evaluation, console())
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from dfeval.evaluation import evaluate
    from dfeval.report import write_report

    settings = _settings(arguments)
    evaluations = [evaluate(trials, settings) for trials in _trials(arguments, arguments.scores)]
    page = write_report(evaluations, arguments.out)
    print(f"wrote {page} and, beside it, metrics.json, metrics.csv and the pictures as PNG and SVG")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from dfeval.comparison import compare_trials
    from dfeval.console import console, show_comparison

    first, second = _trials(arguments, arguments.scores)
    out = console()
    for note in dict.fromkeys([*first.source.notes, *second.source.notes, *first.protocol.notes]):
        out.print(f"note: {note}", style="yellow")
    comparison = compare_trials(first, second, arguments.bootstrap, arguments.seed)
    show_comparison(comparison, first.detector, second.detector, out)
    return 0


def _calibrate_fit(arguments: argparse.Namespace) -> int:
    from dfeval.calibrate import Target, fit
    from dfeval.metrics.dcf import DcfCosts

    costs = DcfCosts(arguments.p_spoof, arguments.c_miss, arguments.c_fa)
    (trials,) = _trials(arguments, [arguments.scores])
    for note in trials.notes():
        print(f"dfeval: note: {note}", file=sys.stderr)
    calibration = fit(trials, arguments.kind, Target(arguments.target_far, arguments.target_frr, costs))
    calibration.save(arguments.out)
    figures, threshold = calibration.figures, calibration.threshold
    print(f"{arguments.kind} calibration of {calibration.detector}, fitted on {calibration.fitted_on['protocol']}")
    print(
        f"  Cllr {figures['cllr_before']:.4f} → {figures['cllr_after']:.4f} (least possible {figures['min_cllr']:.4f})"
    )
    print(f"  bona fide from the score {threshold.score:.4f}, LLR {threshold.llr:.4f}: {threshold.rule}")
    print(f"wrote {arguments.out}")
    return 0


def _calibrate_apply(arguments: argparse.Namespace) -> int:
    from dfcontract.calibration import Calibration
    from dfeval.calibrate import apply

    calibration = Calibration.load(arguments.calibration)
    n_rows = apply(calibration, arguments.scores, arguments.out, arguments.score_column, arguments.model)
    print(f"wrote {arguments.out}: {n_rows:,} rows with llr and verdict")
    return 0


def _timeline(arguments: argparse.Namespace) -> int:
    from dfeval.plots import draw_timeline
    from dfeval.plots.style import save_as
    from dfeval.window_scores import load_window_scores

    recording = load_window_scores(arguments.scores, arguments.utt_id)
    save_as(draw_timeline(recording, arguments.threshold), arguments.out)
    print(f"wrote {arguments.out}: {recording.utt_id}, {len(recording.scores)} windows of {recording.window_s:.2f} s")
    return 0


def _sasv(arguments: argparse.Namespace) -> int:
    from dfeval.tandem import evaluate_tandem

    figures = evaluate_tandem(arguments.scores, arguments.key)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(", ".join(f"{figures[f'n_{kind}']:,} {kind}" for kind in ("target", "nontarget", "spoof")) + " trials")
    shown = (
        ("a-DCF", "a_dcf", ".5f", ""),
        ("t-EER", "t_eer", ".2%", ""),
        ("min t-DCF", "min_tdcf", ".5f", "  (2021 form, the ASV rates of the ASVspoof 5 organisers)"),
        ("CM EER", "cm_eer", ".2%", ""),
    )
    for label, name, layout, note in shown:
        value = f"{figures[name]:{layout}}{note}" if name in figures else "-  (its scores are not in the file)"
        print(f"  {label:<9}  {value}")
    return 0
