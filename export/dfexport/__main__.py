"""``dfexport``: list what can be built, build it, check what was built."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from dfexport.errors import ExportError
from dfexport.registry import DETECTORS, find

if TYPE_CHECKING:
    from dfexport.parity import Parity

REPOSITORY = Path("model_repository")
RANDOM_REPOSITORY = Path("model_repository_random")
RANDOM_BANNER = "[bold white on red] RANDOM WEIGHTS [/] {name}: the graph is right, its scores mean nothing"

console = Console(soft_wrap=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 when a detector could not be built."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ExportError as error:
        print(f"dfexport: error: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"dfexport: error: {error.name} is missing; pip install 'dfserve[export]'", file=sys.stderr)
    except KeyboardInterrupt:
        print("dfexport: stopped; what had been built stays", file=sys.stderr)
        return 130
    return 1


def default_weights_dir() -> Path:
    """WEIGHTS_DIR, else ``weights`` or ``../shared/weights``, whichever exists, else ``weights``."""
    if configured := os.environ.get("WEIGHTS_DIR"):
        return Path(configured)
    candidates = (Path("weights"), Path("../shared/weights"))
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dfexport", description="Checkpoints in, a Triton model repository out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the detectors that can be built, and whether their checkpoint is here")
    listing.add_argument("--weights-dir", type=Path, default=default_weights_dir())
    listing.set_defaults(run=_list)

    building = commands.add_parser("build", help="export detectors into a model repository")
    building.add_argument("names", nargs="+", metavar="NAME", help="a detector (see list)")
    building.add_argument("--as", dest="served_name", metavar="NAME", help="the model's name at the server")
    building.add_argument("--calibration", type=Path, metavar="FILE", help="what dfeval calibrate wrote, for the card")
    building.set_defaults(run=_build)

    checking = commands.add_parser("check", help="compare built models with their checkpoints again")
    checking.add_argument("names", nargs="+", metavar="NAME", help="a detector (see list)")
    checking.set_defaults(run=_check)

    for command in (building, checking):
        command.add_argument("--checkpoint", type=Path, help="your own weights of the same architecture")
        command.add_argument(
            "--weights",
            choices=("published", "random"),
            default="published",
            help="random: seeded weights, for trying the pipeline without a checkpoint",
        )
        command.add_argument(
            "--weights-dir",
            type=Path,
            default=default_weights_dir(),
            help="where checkpoints are looked for and downloaded to (default: %(default)s)",
        )
        command.add_argument(
            "--repository",
            type=Path,
            help=f"default: {REPOSITORY}, and {RANDOM_REPOSITORY} for random weights",
        )
    return parser


def _list(arguments: argparse.Namespace) -> int:
    columns = ("name", "window", "parameters", "checkpoint", "here", "licence", "published")
    table = Table(*columns, box=None, pad_edge=False)
    for spec in DETECTORS.values():
        files = [arguments.weights_dir / remote.name for remote in spec.checkpoint.files]
        table.add_row(
            spec.name,
            f"{spec.window_s:.2f} s",
            f"{spec.parameters:,}",
            ", ".join(path.name for path in files),
            "yes" if all(path.exists() for path in files) else "no",
            spec.checkpoint.licence,
            spec.published_result,
        )
    console.print(table)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    specs = [find(name) for name in arguments.names]
    _one_detector_for_own_weights(arguments)
    from dfexport.build import build, load_weights

    for spec in specs:
        name = arguments.served_name or spec.name
        with console.status(f"{name}: exporting"):
            weights = load_weights(
                spec,
                weights_dir=arguments.weights_dir,
                checkpoint=arguments.checkpoint,
                random=arguments.weights == "random",
            )
            result = build(spec, weights, _repository(arguments), name, arguments.calibration)
        console.print(f"[green]built[/] {result.folder}  {weights.kind} weights, {_describe(result.parity)}")
        if weights.kind == "random":
            console.print(RANDOM_BANNER.format(name=name))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    specs = [find(name) for name in arguments.names]
    _one_detector_for_own_weights(arguments)
    from dfexport.build import check_built, load_weights

    for spec in specs:
        weights = load_weights(
            spec,
            weights_dir=arguments.weights_dir,
            checkpoint=arguments.checkpoint,
            random=arguments.weights == "random",
        )
        folder = _repository(arguments) / spec.name
        console.print(f"[green]ok[/] {folder}  {_describe(check_built(spec, weights, folder))}")
    return 0


def _one_detector_for_own_weights(arguments: argparse.Namespace) -> None:
    served_name: str | None = getattr(arguments, "served_name", None)
    calibration: Path | None = getattr(arguments, "calibration", None)
    if len(arguments.names) > 1 and (arguments.checkpoint or served_name or calibration):
        raise ExportError("--checkpoint, --as and --calibration go with one detector; name one")


def _repository(arguments: argparse.Namespace) -> Path:
    default = RANDOM_REPOSITORY if arguments.weights == "random" else REPOSITORY
    return Path(arguments.repository or default)


def _describe(parity: "Parity") -> str:
    return f"logits equal eager's to {parity.eager_difference:.1e}, whatever the batch to {parity.batch_difference:.1e}"


if __name__ == "__main__":
    sys.exit(main())
