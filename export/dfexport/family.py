"""What the pipeline needs to know of a detector's architecture; a family's file states it, and nothing else knows."""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from dfexport.errors import CheckpointInvalid
from dfexport.seeded import SeededRules, seeded_state
from dfexport.spec import DetectorSpec
from dfexport.state import Shapes, State
from dfexport.wrapping import WEIGHT_NORM_ENDINGS

CLASSES = ("spoof", "bona fide")
COUNTER = ".num_batches_tracked"  # batch norm's; it is used while training only


@dataclass(frozen=True)
class Family:
    """An architecture.

    Attributes:
        shapes: published state-dict key → shape.
        build: the network in eval mode, loaded strictly from such a state dict. It maps a float32 waveform
            ``(batch, window_samples)`` to float32 logits ``(batch, 2)``: spoof, bona fide.
        seeded_rules: what seeded weights of this family need besides the common rules.
        output_layer: the layer that gives the logits; its rows are counted, so that one of another task is named.
        encoder_prefix: how the keys of a pre-trained encoder begin, which several families may share; "" for none.
        pretraining_keys: beginnings of encoder keys, behind the prefix, that only pre-training used; they are dropped.
        unused_keys: beginnings of keys that the authors' code may hold and no score depends on; they are dropped.
        averaged_files: names of the checkpoints whose average is the model, where its authors publish several.
    """

    shapes: Callable[[], Shapes]
    build: Callable[[State], nn.Module]
    output_layer: str
    seeded_rules: SeededRules = field(default_factory=dict)
    encoder_prefix: str = ""
    pretraining_keys: tuple[str, ...] = ()
    unused_keys: tuple[str, ...] = ()
    averaged_files: tuple[str, ...] = ()

    @cached_property
    def known_shapes(self) -> Shapes:
        """As ``shapes`` says, asked once: recognising a checkpoint compares it with every family."""
        with torch.device("meta"):
            return self.shapes()

    def seeded_state(self) -> dict[str, Tensor]:
        """Weights by rule for every key."""
        return seeded_state(self.known_shapes, self.seeded_rules)

    def load(self, state: State) -> nn.Module:
        """The network in eval mode, from a state dict that may hold droppable keys besides its own.

        Raises:
            CheckpointInvalid: it fits this architecture in no other way, or has another number of outputs.
        """
        self._require_two_outputs(state)
        return self.build(self._used(state))

    def is_of(self, state: State) -> bool:
        """Whether the tensors behind the encoder are this family's, by name and shape."""
        used, own = self._used(state), self.known_shapes
        found = self._head({key: tuple(value.shape) for key, value in used.items()})
        # Two encoders of one width differ in what their layers hold; how many layers there are does not count.
        return bool(found) and found == self._head(own) and self._encoder_parts(used) == self._encoder_parts(own)

    def dropped_keys(self, state: State) -> list[str]:
        """Keys of a checkpoint that scoring has no use for."""
        return sorted(key for keys in self.dropped(state).values() for key in keys)

    def dropped(self, state: State) -> dict[str, list[str]]:
        """Why keys of a checkpoint are dropped → those keys, sorted."""
        pretraining = tuple(self.encoder_prefix + key for key in self.pretraining_keys)
        counters = {key for key in state if key.endswith(COUNTER)}
        extra_counters = counters - self.known_shapes.keys() if counters else counters
        return {
            "only pre-training used it": sorted(key for key in state if key.startswith(pretraining)),
            "no score depends on it": sorted(
                key for key in state if key.startswith(self.unused_keys) or key in extra_counters
            ),
        }

    def parts_of(self, dropped: Iterable[str]) -> list[str]:
        """The parts that dropped keys belong to: the beginning that a family states, without the encoder's prefix."""
        beginnings = (*self.pretraining_keys, *self.unused_keys)
        names = [key.removeprefix(self.encoder_prefix) for key in dropped]
        return sorted({next((b for b in beginnings if name.startswith(b)), name).rstrip(".") for name in names})

    def _used(self, state: State) -> State:
        dropped = set(self.dropped_keys(state))
        return self.spelled({key: value for key, value in state.items() if key not in dropped})

    def spelled(self, state: State) -> State:
        """The same, with weight norm's tensors as the publisher calls them: a file may spell them either way."""
        own = self.known_shapes
        return {_spelled(key, own): value for key, value in state.items()}

    def _encoder_parts(self, keys: Iterable[str]) -> set[str]:
        """Names of the encoder's tensors, without the numbers of its layers."""
        prefix = self.encoder_prefix
        return {re.sub(r"\.layers\.\d+\.", ".layers.", key) for key in keys if prefix and key.startswith(prefix)}

    def _require_two_outputs(self, state: State) -> None:
        bias = state.get(f"{self.output_layer}.bias")
        outputs = bias.numel() if bias is not None else len(CLASSES)
        if outputs != len(CLASSES):
            raise CheckpointInvalid(
                f"expected {len(CLASSES)} outputs ({', '.join(CLASSES)}), found {outputs} in {self.output_layer}: "
                "a network of one logit or of other classes can't be served as this detector"
            )

    def _head(self, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
        prefix = self.encoder_prefix
        return {key: shape for key, shape in shapes.items() if not (prefix and key.startswith(prefix))}


def _spelled(key: str, own: Container[str]) -> str:
    """The key as ``own`` has it, where that is weight norm's; `wrapping` reads both names of those as the older one."""
    for new, old in WEIGHT_NORM_ENDINGS.items():
        renamed = f"{key.removesuffix(old)}{new}"
        if key.endswith(old) and key not in own and renamed in own:
            return renamed
    return key


def family_of(spec: DetectorSpec) -> Family:
    """The family that a registry row names. It is loaded here, so that listing detectors needs no torch."""
    family = resolve_name(f"dfexport.detectors.{spec.family}")
    if not isinstance(family, Family):
        raise TypeError(f"{spec.name}: expected a Family as dfexport.detectors.{spec.family}, found {type(family)}")
    return family
