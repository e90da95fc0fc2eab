"""Weights filled by a rule that any language can repeat: ``WEIGHTS=random``, and the golden figures of XLS-R models."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


def seeded_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Fill every key of a state dict; values depend on the key and the shape alone."""
    return {key: torch.from_numpy(np.asarray(_fill(key, shape))) for key, shape in shapes.items()}


def _fill(key: str, shape: tuple[int, ...]) -> Array:
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    normal: Array = np.asarray(noise, dtype=np.float32)
    value = next((value for matches, value in _RULES if matches(key, last, shape)), None)
    if value is not None:
        filled = value(normal)
    else:
        # The head of SLS sums 22,847 inputs and would saturate.
        filled = normal / np.sqrt(np.prod(shape[1:])) * (0.02 if key == "fc1.weight" else 1.0)
    return np.asarray(filled, dtype=np.float32)


_SMALL = {"pos_S", "master", "master1", "master2", "mask_emb"}

# The first rule that matches a key decides.
_RULES: tuple[tuple[Callable[[str, str, tuple[int, ...]], bool], Callable[[Array], Array]], ...] = (
    (lambda _key, last, _shape: last == "running_mean", lambda n: 0.1 * n),
    (lambda _key, last, _shape: last == "running_var", lambda n: 1 + 0.1 * np.abs(n)),
    (lambda _key, last, _shape: last == "A_log", lambda n: np.log(np.arange(1, n.shape[1] + 1)) + 0.1 * n),
    (lambda _key, last, _shape: last == "D", lambda n: 1 + 0.1 * n),
    (lambda key, _last, _shape: key.endswith("dt_proj.bias"), lambda n: -3 + 0.5 * n),
    (lambda _key, last, _shape: last == "weight_g", lambda n: 1 + 0.1 * np.abs(n)),
    (lambda _key, last, _shape: last == "bias", lambda n: 0.05 * n),
    (lambda _key, last, _shape: last in _SMALL or last.startswith("att_weight"), lambda n: 0.3 * n),
    (lambda _key, _last, shape: len(shape) <= 1, lambda n: 1 + 0.1 * n),
)
