"""A checkpoint given to a detector of another architecture is named for what it is, for every pair of them."""

import re

import pytest
import torch

from dfexport.build import load_network, recognise
from dfexport.checkpoints import LoadedWeights
from dfexport.errors import CheckpointInvalid
from dfexport.family import family_of
from dfexport.registry import DETECTORS, find

# The first detector of each architecture stands for all of it.
FIRST = list({spec.family: spec.name for spec in reversed(DETECTORS.values())}.values())


DEEPER_LAYER = re.compile(r"\.encoder\.layers\.[1-9]")


def empty(name: str) -> LoadedWeights:
    """The keys of its published file that scoring uses, of an encoder's layers the first, without memory for values."""
    shapes = family_of(find(name)).known_shapes
    state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items() if not DEEPER_LAYER.search(key)}
    return LoadedWeights(state, "custom", "0" * 64, f"{name}.pth")


@pytest.fixture(autouse=True)
def _without_a_look_at_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are 0, and looking for infinite ones among hundreds of millions takes minutes."""
    monkeypatch.setattr(torch, "isfinite", lambda values: torch.ones((), dtype=torch.bool))


@pytest.mark.parametrize("given", FIRST)
def test_a_checkpoint_of_another_architecture_is_named(given: str) -> None:
    weights = empty(given)
    found = recognise(weights.state)
    assert found is not None
    assert found.name == given
    for asked in FIRST:
        if asked != given:
            with pytest.raises(
                CheckpointInvalid, match=rf"^{given}\.pth is a checkpoint of {given}, not of {asked}\. "
            ):
                load_network(find(asked), weights)
