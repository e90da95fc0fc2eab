"""Weights filled by a rule that any language can repeat: ``WEIGHTS=random``, and the golden figures of XLS-R models."""

import zlib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
# Pattern → standard normal noise of a tensor's shape → its values. A pattern with a dot is compared with the whole key,
# one without with its last part. The first that matches decides.
SeededRules = Mapping[str, Callable[[Array], Array]]

COMMON_RULES: SeededRules = {
    "running_mean": lambda noise: 0.1 * noise,
    "running_var": lambda noise: 1 + 0.1 * np.abs(noise),
    "bias": lambda noise: 0.05 * noise,
}


def seeded_state(shapes: Mapping[str, tuple[int, ...]], rules: SeededRules | None = None) -> dict[str, Tensor]:
    """Fill every key of a state dict; values depend on the key, the shape and the rules alone.

    Args:
        shapes: key → shape.
        rules: a family's own, which come before the common ones.
    """
    all_rules = {**(rules or {}), **COMMON_RULES}
    return {key: torch.from_numpy(np.asarray(_fill(key, shape, all_rules))) for key, shape in shapes.items()}


def scaled(noise: Array) -> Array:
    """Noise over the square root of the inputs of each output, so that a layer keeps its input's variance."""
    return np.asarray(noise / np.sqrt(np.prod(noise.shape[1:])))


def _fill(key: str, shape: tuple[int, ...], rules: SeededRules) -> Array:
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    noise: Array = np.asarray(normal, dtype=np.float32)
    matching = (fill for pattern, fill in rules.items() if fnmatchcase(key if "." in pattern else last, pattern))
    return np.asarray(next(matching, _default)(noise), dtype=np.float32)


def _default(noise: Array) -> Array:
    return scaled(noise) if noise.ndim > 1 else np.asarray(1 + 0.1 * noise)
