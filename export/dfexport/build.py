"""Checkpoint → network → exported graph → parity → repository, in that order; a failed build changes nothing."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from dfcontract.calibration import Calibration
from dfcontract.card import ModelCard
from dfcontract.live import live_name
from dfcontract.windows import Windowing
from dfexport import drift, live, parity, repository, swap
from dfexport.card import calibrated, model_card, with_self_check
from dfexport.checkpoints import RANDOM_DIGEST, LoadedWeights, custom, published
from dfexport.drift import Drift
from dfexport.drift_set import DriftSet, example_set
from dfexport.errors import CheckpointInvalid, DriftError, ExportError
from dfexport.family import family_of
from dfexport.formats import Runner, find_format
from dfexport.formats.served import ServedDetector
from dfexport.parity import Parity
from dfexport.precision import (
    FP32,
    PRECISIONS,
    REDUCTIONS,
    Conversion,
    Reduction,
    find_reduction,
    this_cpu_needs_reduced_range,
)
from dfexport.registry import DETECTORS
from dfexport.signals import wave
from dfexport.spec import DetectorSpec
from dfexport.state import State


@dataclass(frozen=True)
class Variant:
    """In what form a detector is built.

    Attributes:
        format: the file's format.
        precision: of the encoder; any but fp32 is judged by its drift.
        drift_set: recordings to judge on; None for the three examples.
        force: build although scores drift past the precision's limits.
        reduce_range: whether int8 weights use 7 bits; None to let this machine's CPU decide.
    """

    format: str = "onnx"
    precision: str = FP32
    drift_set: DriftSet | None = None
    force: bool = False
    reduce_range: bool | None = None

    @property
    def has_reduced_range(self) -> bool:
        """Whether 7 bits are used in the end: only int8 has a choice, which this machine's CPU may make."""
        reduction = find_reduction(self.precision, self.format)
        if reduction is None or not reduction.has_range:
            return False
        return this_cpu_needs_reduced_range() if self.reduce_range is None else self.reduce_range


FP32_ONNX = Variant()


@dataclass(frozen=True)
class Build:
    """What a build wrote."""

    folder: Path
    weights: LoadedWeights
    parity: Parity
    card: ModelCard
    drift: Drift | None = None


def seeded(spec: DetectorSpec) -> LoadedWeights:
    """Weights by rule, for trying the pipeline; their scores mean nothing."""
    return LoadedWeights(family_of(spec).seeded_state(), "random", RANDOM_DIGEST, "seeded by rule (dfexport.seeded)")


def load_weights(
    spec: DetectorSpec, *, weights_dir: Path, checkpoint: Path | None, random: bool, accept_licence: bool = False
) -> LoadedWeights:
    """The weights that the caller asked for: their own, seeded ones, or the published."""
    if checkpoint is not None:
        return custom(checkpoint, family_of(spec).averaged_files)
    return seeded(spec) if random else published(spec, weights_dir, accept_licence=accept_licence)


def load_network(spec: DetectorSpec, weights: LoadedWeights) -> nn.Module:
    """Build the network strictly from the weights, in eval mode.

    Raises:
        CheckpointInvalid: they are not of this architecture; says of which they are, where that is known.
    """
    try:
        return family_of(spec).load(weights.state)
    except CheckpointInvalid as error:
        other = recognise(weights.state)
        # Detectors of one family can't be told apart, and then the encoder or the values are at fault.
        is_another = other is not None and other.family != spec.family
        known = (
            f"{weights.source} is a checkpoint of {other.name}, not of {spec.name}. " if other and is_another else ""
        )
        raise CheckpointInvalid(f"{known or f'{weights.source}: '}{error}") from None


def recognise(state: State) -> DetectorSpec | None:
    """The first detector that a checkpoint's tensors behind the encoder belong to."""
    return next((spec for spec in DETECTORS.values() if family_of(spec).is_of(state)), None)


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
        CalibrationError: the calibration can't be read, or was changed since it was fitted.
    """
    live.check_name(name)
    check_variant(spec, variant)
    fitted = Calibration.load(calibration) if calibration else None
    plan = model_card(
        name,
        spec,
        weights=weights.kind,
        sha256=weights.sha256,
        source=weights.source,
        format=variant.format,
        precision=variant.precision,
        reduce_range=variant.has_reduced_range,
    )
    if fitted is not None:
        plan = calibrated(plan, fitted, str(calibration))
    try:
        with swap.scratch_folder(repository_dir) as scratch:
            made, checked, moved = _write(spec, weights, plan, variant, scratch / name)
            live.write_live_model(scratch / live_name(name), name, spec.window_samples, spec.pre_emphasis, spec.clip)
            swap.put_in_place(scratch, repository_dir, (name, live_name(name)))
    except OSError as error:
        raise ExportError(f"{repository_dir}: cannot write the model: {error.strerror or error}") from None
    return Build(repository_dir / name, weights, checked, made, moved)


def check_variant(spec: DetectorSpec, variant: Variant) -> None:
    """Refuse what can't be built, before minutes are spent.

    Raises:
        ExportError: an unknown format or precision, or one that this detector or format does not have.
    """
    form = find_format(variant.format)
    if spec.clip is not None and not form.takes_clips:
        raise ExportError(
            f"{spec.name} scores clips of any length, which --format {variant.format} can't serve: add --window "
            f"{spec.window_samples} for one fixed window, or choose another format"
        )
    if variant.precision in PRECISIONS and variant.precision not in spec.precisions:
        reasons = {row.without_encoder for (of, _), row in REDUCTIONS.items() if of == variant.precision} - {""}
        raise ExportError(
            f"{spec.name} is built in {', '.join(spec.precisions)}, not in {variant.precision}"
            + "".join(f": {reason}" for reason in reasons)
        )
    reduction = find_reduction(variant.precision, variant.format)
    if variant.reduce_range is not None and reduction is not None and not reduction.has_range:
        raise ExportError(f"--int8-range goes with --precision int8 of --format onnx, not of {variant.format}")
    if reduction is not None and (complaint := reduction.missing()):
        raise ExportError(f"--precision {variant.precision}: {complaint}")


def _write(
    spec: DetectorSpec, weights: LoadedWeights, plan: ModelCard, variant: Variant, folder: Path
) -> tuple[ModelCard, Parity, Drift | None]:
    """Write a whole model into ``folder``, checked; its final card, its parity and its drift."""
    form, reduction = find_format(variant.format), find_reduction(variant.precision, variant.format)
    (folder / "1").mkdir(parents=True)
    network = load_network(spec, weights)
    # An fp32 file that only serves to make another one carries that one's identity already.
    served = ServedDetector(network, plan.identity, spec.score_kind, spec.clip)
    form.write(served, spec.window_samples, folder / "1" / form.file)
    checked = parity.check(
        spec,
        network,
        form.runtime,
        form.open(folder / "1" / form.file),
        plan.identity,
        batches=form.max_batch_size != 1,
    )
    moved = None
    if reduction is not None:
        run, moved = _reduce(served, reduction, plan, variant, folder)
        checked = parity.of_reduced(
            spec,
            checked,
            run,
            plan.identity,
            batches=1 not in (form.max_batch_size, reduction.max_batch_size),
            batch_tolerance=reduction.limits.max_difference,
        )
        if not reduction.runs_on_gpu and (checked.batch_difference or 0) > parity.BATCH_TOLERANCE:
            # A CPU's kernels can round otherwise in batches of another size, and few bits carry that to the score: how
            # busy a server is must not show in what it answers.
            spec, checked = replace(spec, max_batch_size=1), replace(checked, batch_difference=None)
    card = with_self_check(replace(plan, drift=moved.summary() if moved else ""), spec, checked.self_check_logits)
    repository.write_model(folder, spec, card, wave(1, spec.window_samples))
    return card, checked, moved


def _reduce(
    served: ServedDetector, reduction: Reduction, plan: ModelCard, variant: Variant, folder: Path
) -> tuple[Runner, Drift]:
    """Replace the fp32 file in ``folder/1`` by one of fewer bits, judged against it; alters ``served``."""
    form, recordings = find_format(variant.format), variant.drift_set or example_set()
    window_samples = plan.window_samples
    windowing = Windowing.checked(window_samples, plan.sample_rate_hz, clip=plan.clip)
    reference = folder / FP32
    (folder / "1").rename(reference)
    (folder / "1").mkdir()
    before = drift.scores_of(form.open(reference / form.file), recordings.waveforms, windowing, plan.score_kind)
    target = folder / "1" / form.file
    job = Conversion(served, window_samples, form, reference / form.file, target, variant.has_reduced_range)
    reduction.convert(job)
    shutil.rmtree(reference)
    run = form.open_in(variant.precision, target)
    after = drift.scores_of(run, recordings.waveforms, windowing, plan.score_kind)
    moved = drift.measure(variant.precision, plan.weights, reduction.limits, on=recordings, before=before, after=after)
    if moved.failures and not variant.force:
        raise DriftError(
            f"{plan.detector} in {variant.precision} was not built: {'; '.join(moved.failures)} ({moved.clips} "
            f"recordings in {recordings.name}). Build it in fp32, or with --force"
        )
    moved.write(folder / drift.DRIFT_FILE, forced=bool(moved.failures))
    return run, moved
