"""Checkpoint → network → exported graph → parity → repository, in that order; a failed build changes nothing."""

import importlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dfexport import drift, live, parity, repository
from dfexport.calibration import card_entries
from dfexport.checkpoints import RANDOM_DIGEST, LoadedWeights, custom, published
from dfexport.drift import Drift, DriftAudio
from dfexport.errors import CheckpointInvalid, DriftError, ExportError
from dfexport.formats import FORMATS
from dfexport.layers import xlsr
from dfexport.parity import Parity
from dfexport.precision import PRECISIONS
from dfexport.registry import DETECTORS, find
from dfexport.seeded import seeded_state
from dfexport.signals import wave
from dfexport.spec import DetectorSpec, FormatName, PrecisionName

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Variant:
    """In what form a detector is built.

    Attributes:
        format: the file's format.
        precision: of the encoder; any but fp32 is judged by its drift.
        drift_audio: recordings to judge on.
        force: build although scores drift past the precision's limits.
    """

    format: FormatName = "onnx"
    precision: PrecisionName = "fp32"
    drift_audio: DriftAudio = field(default_factory=lambda: DriftAudio(EXAMPLES))
    force: bool = False


FP32_ONNX = Variant()


@dataclass(frozen=True)
class Build:
    """What a build wrote."""

    folder: Path
    weights: LoadedWeights
    parity: Parity
    drift: Drift | None = None


def architecture(spec: DetectorSpec) -> Any:
    """The detector's module: ``shapes(**options)`` and ``build(state, **options)``."""
    return importlib.import_module(f"dfexport.detectors.{spec.architecture}")


def seeded(spec: DetectorSpec) -> LoadedWeights:
    """Weights by rule, for trying the pipeline; their scores mean nothing."""
    state = seeded_state(architecture(spec).shapes(**spec.options))
    return LoadedWeights(state, "random", RANDOM_DIGEST, "seeded by rule (dfexport.seeded)")


def load_weights(spec: DetectorSpec, *, weights_dir: Path, checkpoint: Path | None, random: bool) -> LoadedWeights:
    """The weights that the caller asked for: their own, seeded ones, or the published."""
    if checkpoint is not None:
        return custom(checkpoint)
    return seeded(spec) if random else published(spec, weights_dir)


def load_network(spec: DetectorSpec, weights: LoadedWeights) -> nn.Module:
    """Build the network strictly from the weights, in eval mode.

    Raises:
        CheckpointInvalid: they are not of this architecture; says of which they are, where that is known.
    """
    try:
        network: nn.Module = architecture(spec).build(weights.state, **spec.options)
    except CheckpointInvalid as error:
        other = recognise(weights.state)
        # Detectors of the same network can't be told apart, and then the encoder is at fault.
        is_another = other is not None and _network_of(find(other)) != _network_of(spec)
        hint = f"{weights.source} is a checkpoint of {other}, not of {spec.name}. " if is_another else ""
        raise CheckpointInvalid(f"{hint}{error}") from None
    return network


def _network_of(spec: DetectorSpec) -> tuple[str, Mapping[str, object]]:
    return spec.architecture, spec.options


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """Which detector a checkpoint's tensors behind the encoder belong to."""
    found = {key: tuple(value.shape) for key, value in state.items() if not key.startswith(xlsr.PREFIX)}
    for spec in DETECTORS.values():
        expected = architecture(spec).shapes(**spec.options)
        if found and found == {key: shape for key, shape in expected.items() if not key.startswith(xlsr.PREFIX)}:
            return spec.name
    return None


def build(
    spec: DetectorSpec,
    weights: LoadedWeights,
    repository_dir: Path,
    name: str,
    calibration: Path | None = None,
    *,
    variant: Variant = FP32_ONNX,
) -> Build:
    """Write ``<repository_dir>/<name>`` and its live sibling, replacing what was there once all has been checked.

    Args:
        spec: what to build.
        weights: with which weights.
        repository_dir: where to.
        name: the model's name at the server.
        calibration: JSON of ``dfeval calibrate``, for the model card.
        variant: format and precision.

    Raises:
        ExportError: the checkpoint does not fit, the graph does not answer like the network, or scores drift.
    """
    live.check_name(name)
    check_variant(spec, variant)
    calibrated = card_entries(calibration, weights) if calibration else {}
    repository_dir.mkdir(parents=True, exist_ok=True)
    # Beside the repository, not in it: Triton would take an unfinished folder for a model.
    with tempfile.TemporaryDirectory(dir=repository_dir.parent, prefix=f".{name}-") as scratch:
        folder = Path(scratch) / name
        (folder / "1").mkdir(parents=True)
        network = load_network(spec, weights)
        result = _write_version(spec, network, variant.format, folder / "1")
        moved = None
        if variant.precision != "fp32":
            answers, batch, moved = _reduce(spec, network, weights.kind, variant, folder)
            result = replace(result, self_check_logits=answers, batch_difference=batch)
        card = repository.model_card(
            spec,
            weights=weights.kind,
            sha256=weights.sha256,
            source=weights.source,
            self_check_logits=result.self_check_logits,
            format=variant.format,
            precision=variant.precision,
        )
        card |= calibrated | ({"drift": moved.summary()} if moved else {})
        repository.write_model(folder, name, spec, card, wave(1, spec.window_samples))
        live.write_live_model(folder.with_name(name + live.SUFFIX), name, spec)
        for made in (folder.with_name(name + live.SUFFIX), folder):
            target = repository_dir / made.name
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
    return Build(target, weights, result, moved)


def check_variant(spec: DetectorSpec, variant: Variant) -> None:
    """Refuse what can't be built, before minutes are spent.

    Raises:
        ExportError: a precision that this detector or format does not have.
    """
    if variant.precision not in spec.precisions:
        raise ExportError(
            f"{spec.name} is built in {', '.join(spec.precisions)}, not in {variant.precision}: it has no XLS-R "
            "encoder, and fewer bits would save nothing"
        )
    if variant.precision != "fp32" and variant.format != "onnx":
        raise ExportError(f"--precision {variant.precision} goes with --format onnx; {variant.format} is built in fp32")


def _write_version(spec: DetectorSpec, network: nn.Module, format_name: FormatName, folder: Path) -> Parity:
    form = FORMATS[format_name]
    form.export(network, spec.window_samples, folder / form.file)
    return parity.check(spec, network, form.runtime, form.open(folder / form.file))


def _reduce(
    spec: DetectorSpec, network: nn.Module, weights_kind: str, variant: Variant, folder: Path
) -> tuple[tuple[float, float], float, Drift]:
    """Replace the fp32 file in ``folder/1`` by one of fewer bits, judged against it; alters ``network``.

    Returns:
        What the new file answers for the self-check, how much a batch changes its answers, and its drift.
    """
    precision, form = PRECISIONS[variant.precision], FORMATS[variant.format]
    clips = drift.recordings(variant.drift_audio.folder, spec.window_samples)
    reference = folder / "fp32"
    (folder / "1").rename(reference)
    (folder / "1").mkdir()
    before = drift.scores_of(form.open(reference / form.file), clips.values())
    precision.convert(network, spec.window_samples, reference / form.file, folder / "1" / form.file)
    shutil.rmtree(reference)
    run = form.open(folder / "1" / form.file)
    found = drift.measure(
        variant.precision,
        weights_kind,
        precision.limits,
        on=variant.drift_audio,
        before=dict(zip(clips, before.tolist(), strict=True)),
        after=drift.scores_of(run, clips.values()),
    )
    if found.failures and not variant.force:
        raise DriftError(
            f"{spec.name} in {variant.precision} was not built: {'; '.join(found.failures)} ({found.clips} recordings "
            f"in {variant.drift_audio.folder}). Build it in fp32, or with --force"
        )
    found.write(folder / drift.DRIFT_FILE, forced=bool(found.failures))
    waveforms = parity.probes(spec.window_samples)
    logits = run(waveforms[:1])[0]
    batch = 0.0 if precision.max_batch_size == 1 else parity.batch_difference(run, waveforms, run(waveforms)[0])
    return (float(logits[0, 0]), float(logits[0, 1])), batch, found


def check_built(spec: DetectorSpec, weights: LoadedWeights, folder: Path) -> Parity:
    """Judge a built model against its checkpoint once more, within what its precision may differ.

    Raises:
        ExportError: nothing built there, or it no longer answers like the network.
    """
    if not (folder / "config.pbtxt").exists():
        raise ExportError(f"nothing built at {folder}; run dfexport build {spec.name}")
    card = repository.read_card(folder)
    spec = spec.with_window(int(card["window_samples"]))
    form = FORMATS[repository.built_format(card)]
    precision = PRECISIONS.get(repository.built_precision(card))
    if precision is not None:
        spec = replace(spec, tolerance=precision.limits.max_difference)
    run = form.open(folder / "1" / form.file)
    return parity.check(
        spec,
        load_network(spec, weights),
        form.runtime,
        run,
        batches=precision is None or precision.max_batch_size != 1,
    )
