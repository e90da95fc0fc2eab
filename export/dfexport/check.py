"""Does a model that was built before still answer like its checkpoint?"""

from dataclasses import replace
from pathlib import Path

from dfcontract.card import RANDOM, ModelCard
from dfexport import parity
from dfexport.build import load_network, load_weights
from dfexport.checkpoints import LoadedWeights
from dfexport.errors import ExportError
from dfexport.formats import find_format
from dfexport.parity import Parity
from dfexport.precision import find_reduction
from dfexport.registry import find
from dfexport.repository import read_card
from dfexport.spec import DetectorSpec


def weights_of(card: ModelCard, *, weights_dir: Path, checkpoint: Path | None) -> LoadedWeights:
    """The weights that a model was built with, as its card states them.

    Raises:
        ExportError: custom weights without ``checkpoint``, or a checkpoint with another digest.
    """
    if card.weights == "custom" and checkpoint is None:
        raise ExportError(f"{card.model} was built from your own {card.checkpoint_source}: name it with --checkpoint")
    spec = find(card.detector)
    weights = load_weights(spec, weights_dir=weights_dir, checkpoint=checkpoint, random=card.weights == RANDOM)
    if weights.sha256 != card.checkpoint_sha256:
        raise ExportError(
            f"{card.model} was built from another checkpoint: expected sha256 {card.checkpoint_sha256}, found "
            f"{weights.sha256} ({weights.source}); build it again"
        )
    return weights


def built_spec(card: ModelCard) -> DetectorSpec:
    """The detector that was built, at the window that its card states.

    Raises:
        ExportError: this version does not build it with that window.
    """
    spec = find(card.detector)
    return spec if card.clip == spec.clip is not None else spec.with_window(card.window_samples)


def check_built(weights: LoadedWeights, folder: Path) -> Parity:
    """Judge a built model against its checkpoint once more, within what its precision may differ.

    Raises:
        ExportError: nothing built there, or it no longer answers like the network, or under another identity.
    """
    card = read_card(folder)
    spec = built_spec(card)
    form, reduction = find_format(card.format), find_reduction(card.precision, card.format)
    if reduction is not None:
        spec = replace(spec, tolerance=reduction.limits.max_difference)
    return parity.check(
        spec,
        load_network(spec, weights),
        form.runtime,
        form.open_in(card.precision, folder / "1" / form.file),
        card.identity,
        batches=1 not in (form.max_batch_size, reduction.max_batch_size if reduction else None),
        batch_tolerance=parity.BATCH_TOLERANCE if reduction is None else reduction.limits.max_difference,
    )
