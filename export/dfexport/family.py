"""What the pipeline needs to know of a detector's architecture; a family's file states it, and nothing else knows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name

from torch import Tensor, nn

from dfexport.seeded import SeededRules, seeded_state
from dfexport.spec import DetectorSpec
from dfexport.state import Shapes, State


@dataclass(frozen=True)
class Family:
    """An architecture.

    Attributes:
        shapes: published state-dict key → shape.
        build: the network in eval mode, loaded strictly from such a state dict. It maps a float32 waveform
            ``(batch, window_samples)`` to float32 logits ``(batch, 2)``: spoof, bona fide.
        seeded_rules: what seeded weights of this family need besides the common rules.
        encoder_prefix: how the keys of a pre-trained encoder begin, which several families may share; "" for none.
        pretraining_keys: beginnings of encoder keys, behind the prefix, that only pre-training used; they are dropped.
        averaged_files: names of the checkpoints whose average is the model, where its authors publish several.
    """

    shapes: Callable[[], Shapes]
    build: Callable[[State], nn.Module]
    seeded_rules: SeededRules = field(default_factory=dict)
    encoder_prefix: str = ""
    pretraining_keys: tuple[str, ...] = ()
    averaged_files: tuple[str, ...] = ()

    def seeded_state(self) -> dict[str, Tensor]:
        """Weights by rule for every key."""
        return seeded_state(self.shapes(), self.seeded_rules)

    def is_of(self, state: State) -> bool:
        """Whether the tensors behind the encoder are this family's, by name and shape."""
        found = self._head({key: tuple(value.shape) for key, value in state.items()})
        return bool(found) and found == self._head(self.shapes())

    def dropped_keys(self, state: State) -> list[str]:
        """Keys of a checkpoint that only pre-training used."""
        beginnings = tuple(self.encoder_prefix + key for key in self.pretraining_keys)
        return sorted(key for key in state if key.startswith(beginnings)) if beginnings else []

    def _head(self, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
        prefix = self.encoder_prefix
        return {key: shape for key, shape in shapes.items() if not (prefix and key.startswith(prefix))}


def family_of(spec: DetectorSpec) -> Family:
    """The family that a registry row names. It is loaded here, so that listing detectors needs no torch."""
    family = resolve_name(f"dfexport.detectors.{spec.family}")
    if not isinstance(family, Family):
        raise TypeError(f"{spec.name}: expected a Family as dfexport.detectors.{spec.family}, found {type(family)}")
    return family
