"""State dicts (key → tensor), compared with the network that they should fill: keys, shapes and values."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dfexport.errors import CheckpointInvalid, listed

State = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def shapes_of(network: nn.Module) -> Shapes:
    """Key → shape of a network's state dict."""
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def load_strictly(network: nn.Module, state: State) -> nn.Module:
    """Load every key, no more and no fewer, and put the network into eval mode.

    A network made on the meta device, without memory, takes the checkpoint's tensors themselves.

    Raises:
        CheckpointInvalid: lists the keys that are missing, unexpected, of another shape or without usable values.
    """
    problems = differences(network.state_dict(), state)
    if any(problems.values()):
        raise CheckpointInvalid(f"this checkpoint does not fit {type(network).__name__}: {listed(problems)}")
    is_empty = any(value.is_meta for value in network.state_dict().values())
    values = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    network.load_state_dict(values, strict=True, assign=is_empty)
    return network.eval()


def differences(expected: State, found: State) -> dict[str, list[str]]:
    """Kind of problem → the keys that have it; all lists are empty where ``found`` can be loaded.

    Args:
        expected: the network's own state dict; only shapes and types count.
        found: the checkpoint's.
    """
    both = sorted(expected.keys() & found.keys())
    return {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{key} (expected {tuple(expected[key].shape)}, found {tuple(found[key].shape)})"
            for key in both
            if expected[key].shape != found[key].shape
        ],
        "not plain numbers": [
            f"{key} ({_kind(found[key])})" for key in both if expected[key].is_floating_point() and _kind(found[key])
        ],
        "with NaN or infinite values": [
            key for key in both if not _kind(found[key]) and not bool(torch.isfinite(found[key].float()).all())
        ],
    }


def _kind(tensor: Tensor) -> str:
    """What makes a tensor unfit to be weights; "" where nothing does."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "sparse or quantized"
    if not tensor.is_floating_point():
        return f"{str(tensor.dtype).removeprefix('torch.')} where floats belong"
    return ""
