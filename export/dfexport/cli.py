"""``dfexport``: list what can be built, build it, check what was built."""

import argparse
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from dfcontract.errors import DfserveError
from dfcontract.startup import complain, completed, described
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfexport.errors import ExportError
from dfexport.formats import FORMATS
from dfexport.precision import FP32, PRECISIONS
from dfexport.registry import DETECTORS, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfexport.build import Variant
    from dfexport.checkpoints import LoadedWeights
    from dfexport.parity import Parity
    from dfexport.spec import DetectorSpec

REPOSITORY = Path("model_repository")
RANDOM_REPOSITORY = Path("model_repository_random")
RANDOM_BANNER = "[bold white on red] RANDOM WEIGHTS [/] {name}: the graph is right, its scores mean nothing"

console = Console(soft_wrap=True, highlight=False)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 when a detector could not be built."""
    arguments = completed(build_parser()).parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except DfserveError as error:
        complain("dfexport", error)
    except ModuleNotFoundError as error:
        complain("dfexport", f"{error.name} is missing; pip install 'dfserve[export]'")
    except BrokenPipeError:
        raise
    except OSError as error:
        complain("dfexport", error)
    return 1


def default_weights_dir() -> Path:
    """WEIGHTS_DIR, else ``weights``."""
    return Path(os.environ.get("WEIGHTS_DIR") or "weights")


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options; the reference in the documentation is written from it, too."""
    parser = argparse.ArgumentParser(prog="dfexport", description="Checkpoints in, a Triton model repository out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the detectors that can be built, and whether their checkpoint is here")
    listing.add_argument(
        "--weights-dir",
        type=Path,
        default=default_weights_dir(),
        metavar="DIR",
        help="where checkpoints are looked for (default: %(default)s)",
    )
    listing.set_defaults(run=_list)

    building = commands.add_parser(
        "build",
        help="export detectors into a model repository",
        epilog="Example: dfexport build aasist --checkpoint runs/best.pth --as phone",
    )
    building.add_argument("names", nargs="+", metavar="NAME", help="a detector (see list)")
    building.add_argument("--as", dest="served_name", metavar="NAME", help="the model's name at the server")
    building.add_argument("--calibration", type=Path, metavar="FILE", help="what dfeval calibrate wrote, for the card")
    building.add_argument(
        "--window",
        type=int,
        metavar="SAMPLES",
        help="another window: 64600 for xlsr_mamba, or a fixed one for antideepfake",
    )
    building.add_argument(
        "--accept-licence",
        action="store_true",
        help="you have read and accept a licence that restricts the weights' use",
    )
    _add_variant(building)
    building.set_defaults(run=_build)

    checking = commands.add_parser("check", help="compare built models with their checkpoints again")
    checking.add_argument("names", nargs="+", metavar="NAME", help="a model in the repository")
    checking.set_defaults(run=_check)

    averaging = commands.add_parser("average", help="save the mean of a folder's best_0.pth … best_4.pth as one file")
    averaging.add_argument("folder", type=Path, metavar="FOLDER", help="where the five checkpoints are")
    averaging.add_argument("out", type=Path, metavar="FILE", help="a name that ends in .safetensors")
    averaging.set_defaults(run=_average)

    for command in (building, checking):
        command.add_argument(
            "--checkpoint", type=Path, metavar="PATH", help="your own weights of the same architecture"
        )
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
            metavar="DIR",
            help="where checkpoints are looked for and downloaded to (default: %(default)s)",
        )
        command.add_argument(
            "--repository",
            type=Path,
            metavar="DIR",
            help=f"where models are (default: {REPOSITORY}, and {RANDOM_REPOSITORY} for random weights)",
        )
    return described(parser)


def _add_variant(building: argparse.ArgumentParser) -> None:
    building.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="onnx",
        help="torchscript: for Triton's pytorch backend, openvino: for its openvino backend (default: %(default)s)",
    )
    building.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default=FP32,
        help="fp16 for GPUs, bf16 (--format openvino) and int8 for CPUs; compared with fp32 (default: %(default)s)",
    )
    building.add_argument(
        "--int8-range",
        choices=("auto", "reduced", "full"),
        default="auto",
        help="reduced: weights of 7 bits, for CPUs without VNNI, whose 8-bit sums saturate (default: by this CPU)",
    )
    building.add_argument(
        "--drift-audio", type=Path, metavar="DIR", help="16 kHz mono recordings to compare on (default: three examples)"
    )
    building.add_argument(
        "--drift-labels", type=Path, metavar="FILE", help="their labels, CSV with utt_id,label, for the EER of both"
    )
    building.add_argument("--force", action="store_true", help="build although scores drift past the stated limits")


def _list(arguments: argparse.Namespace) -> int:
    for spec in DETECTORS.values():
        files = [arguments.weights_dir / remote.name for remote in spec.checkpoint.files]
        names = ", ".join(path.name for path in files)
        here = "here" if all(path.exists() for path in files) else f"not in {arguments.weights_dir}"
        console.print(
            f"[bold]{spec.name:<14}[/] {spec.parameters:>11,} parameters, {_heard(spec)}, {' '.join(spec.precisions)}"
        )
        console.print(f"{'':14} {escape(names)} ({escape(here)}); licence: {spec.checkpoint.licence}")
        console.print(f"{'':14} {spec.result}", style="dim")
    return 0


def _heard(spec: "DetectorSpec") -> str:
    if spec.clip is None:
        return f"window {spec.window_s:.3f} s"
    return f"whole clips to {spec.clip.most / SAMPLE_RATE_HZ:g} s"


def _build(arguments: argparse.Namespace) -> int:
    specs = [find(name) for name in arguments.names]
    if arguments.window is not None:
        specs = [spec.with_window(arguments.window) for spec in specs]
    _check_weights_asked_for(arguments)
    from dfexport.build import build, check_variant, load_weights

    variant = _variant(arguments)
    for spec in specs:
        check_variant(spec, variant)
    for spec in specs:
        began_s = time.monotonic()
        name = arguments.served_name or spec.name
        # Outside of the spinner, which would share its line with a download's bar.
        weights = load_weights(
            spec,
            weights_dir=arguments.weights_dir,
            checkpoint=arguments.checkpoint,
            random=arguments.weights == "random",
            accept_licence=arguments.accept_licence,
        )
        with console.status(f"{name}: exporting"):
            result = build(spec, weights, _repository(arguments), name, arguments.calibration, variant=variant)
        folder, kind = escape(str(result.folder)), weights.kind
        console.print(f"[green]built[/] {folder}  {kind} weights, {_describe(result.parity)}")
        _print_notes(result.weights.notes)
        _print_notes(_dropped(spec, result.weights))
        if result.drift:
            forced = f" [yellow]forced: {'; '.join(result.drift.failures)}[/]" if result.drift.failures else ""
            console.print(f"  {variant.precision} {result.drift.summary()}{forced}")
        console.print(f"  {time.monotonic() - began_s:.0f} s, {_size(result.folder)}, peak memory {_peak_memory()}")
        if weights.kind == "random":
            console.print(RANDOM_BANNER.format(name=name))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    _check_weights_asked_for(arguments)
    from dfexport.check import check_built, weights_of
    from dfexport.repository import read_card

    for name in arguments.names:
        folder = _repository(arguments) / name
        weights = weights_of(read_card(folder), weights_dir=arguments.weights_dir, checkpoint=arguments.checkpoint)
        with console.status(f"{name}: checking"):
            checked = check_built(weights, folder)
        console.print(f"[green]ok[/] {escape(str(folder))}  {_describe(checked)}")
        _print_notes(weights.notes)
    return 0


def _average(arguments: argparse.Namespace) -> int:
    from dfexport.averaging import checkpoint_files, require_safetensors, save
    from dfexport.checkpoints import load_files
    from dfexport.family import family_of

    require_safetensors(arguments.out)
    families = [family_of(spec) for spec in DETECTORS.values()]
    averaged = next((family.averaged_files for family in families if family.averaged_files), ())
    files = checkpoint_files(arguments.folder, averaged)
    if len(files) == 1:
        raise ExportError(f"{arguments.folder} holds one checkpoint, {files[0].name}: there is nothing to average")
    with console.status(f"averaging {len(files)} checkpoints"):
        read = load_files(files)
        save(read.state, arguments.out)
    names = ", ".join(file.name for file in files)
    console.print(f"[green]saved[/] {escape(str(arguments.out))}  the mean of {escape(names)}")
    _print_notes(read.notes)
    return 0


def _variant(arguments: argparse.Namespace) -> "Variant":
    from dfexport.build import Variant
    from dfexport.drift_set import DriftSet, example_set, read_labels, read_recordings

    audio, labels = arguments.drift_audio, arguments.drift_labels
    if arguments.precision == FP32 and (audio or labels or arguments.force):
        raise ExportError("--drift-audio, --drift-labels and --force go with fewer bits than fp32 (--precision)")
    if arguments.precision != "int8" and arguments.int8_range != "auto":
        raise ExportError("--int8-range goes with --precision int8")
    drift_set = None
    if audio or labels:
        waveforms = read_recordings(audio) if audio else example_set().waveforms
        drift_set = DriftSet(str(audio or "examples"), waveforms, read_labels(labels) if labels else {})
    reduce_range = {"auto": None, "reduced": True, "full": False}[arguments.int8_range]
    return Variant(arguments.format, arguments.precision, drift_set, arguments.force, reduce_range)


def _dropped(spec: "DetectorSpec", weights: "LoadedWeights") -> list[str]:
    """The parts of a checkpoint that scoring has no use for, and how many tensors they are; a line a reason."""
    from dfexport.family import family_of

    family = family_of(spec)
    return [
        f"left out, since {reason}: {', '.join(family.parts_of(keys))} ({len(keys)} tensors)"
        for reason, keys in family.dropped(weights.state).items()
        if keys
    ]


def _print_notes(notes: "Sequence[str]") -> None:
    for note in notes:
        console.print(f"  {note}", markup=False)  # it may hold a stranger's keys


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in (folder / '1').iterdir()) / 1e6:,.0f} MB"


def _peak_memory() -> str:
    # On Linux ru_maxrss is in KiB.
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f} GB"


def _check_weights_asked_for(arguments: argparse.Namespace) -> None:
    served_name: str | None = getattr(arguments, "served_name", None)
    calibration: Path | None = getattr(arguments, "calibration", None)
    if len(arguments.names) > 1 and (arguments.checkpoint or served_name or calibration):
        raise ExportError("--checkpoint, --as and --calibration go with one detector; name one")
    if arguments.checkpoint and arguments.weights == "random":
        raise ExportError("--checkpoint and --weights random ask for two kinds of weights: leave one of them out")


def _repository(arguments: argparse.Namespace) -> Path:
    default = RANDOM_REPOSITORY if arguments.weights == "random" else REPOSITORY
    return Path(arguments.repository or default)


def _describe(parity: "Parity") -> str:
    batch = parity.batch_difference
    batches = "one clip at a time" if batch is None else f"whatever the batch to {batch:.1e}"
    return f"logits equal eager's to {parity.eager_difference:.1e}, {batches}"
