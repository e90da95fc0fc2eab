"""Checkpoint → network → exported graph → parity → repository, in that order; a failed build changes nothing."""

import importlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dfexport import live, parity, repository
from dfexport.calibration import card_entries
from dfexport.checkpoints import RANDOM_DIGEST, LoadedWeights, custom, published
from dfexport.errors import ExportError
from dfexport.parity import Parity
from dfexport.seeded import seeded_state
from dfexport.signals import wave
from dfexport.spec import DetectorSpec
from dfexport.to_onnx import to_onnx

MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class Build:
    """What a build wrote."""

    folder: Path
    weights: LoadedWeights
    parity: Parity


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
    """Build the network strictly from the weights, in eval mode."""
    network: nn.Module = architecture(spec).build(weights.state, **spec.options)
    return network


def build(
    spec: DetectorSpec, weights: LoadedWeights, repository_dir: Path, name: str, calibration: Path | None = None
) -> Build:
    """Write ``<repository_dir>/<name>`` and its live sibling, replacing what was there once everything has been checked.

    Args:
        spec: what to build.
        weights: with which weights.
        repository_dir: where to.
        name: the model's name at the server.
        calibration: JSON of ``dfeval calibrate``, for the model card.

    Raises:
        ExportError: the checkpoint does not fit, or the graph does not answer like the network.
    """
    calibrated = card_entries(calibration, weights) if calibration else {}
    network = load_network(spec, weights)
    repository_dir.mkdir(parents=True, exist_ok=True)
    # Beside the repository, not in it: Triton would take an unfinished folder for a model.
    with tempfile.TemporaryDirectory(dir=repository_dir.parent, prefix=f".{name}-") as scratch:
        folder = Path(scratch) / name
        (folder / "1").mkdir(parents=True)
        to_onnx(network, spec.window_samples, folder / "1" / MODEL_FILE)
        result = parity.check(spec, network, folder / "1" / MODEL_FILE)
        card = repository.model_card(
            spec,
            weights=weights.kind,
            sha256=weights.sha256,
            source=weights.source,
            self_check_logits=result.self_check_logits,
        )
        repository.write_model(folder, name, spec, card | calibrated, wave(1, spec.window_samples))
        live.write_live_model(folder.with_name(name + live.SUFFIX), name, spec)
        for made in (folder.with_name(name + live.SUFFIX), folder):
            target = repository_dir / made.name
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
    return Build(target, weights, result)


def check_built(spec: DetectorSpec, weights: LoadedWeights, folder: Path) -> Parity:
    """Judge a built model against its checkpoint once more.

    Raises:
        ExportError: nothing built there, or it no longer answers like the network.
    """
    model = folder / "1" / MODEL_FILE
    if not model.exists():
        raise ExportError(f"nothing built at {model}; run dfexport build {spec.name}")
    return parity.check(spec, load_network(spec, weights), model)
