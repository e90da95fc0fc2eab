"""Signals made by rule, the same on every machine: what parity and self-checks are judged on."""

import numpy as np
from numpy.typing import NDArray

from dfcontract.tensors import SAMPLE_RATE_HZ


def wave(seed: int, samples: int) -> NDArray[np.float32]:
    """Eight tones under a 3 Hz tremolo with a little noise; ``(samples,)``, well inside [-1, 1].

    ``wave(1..3, 64600)`` are the inputs of the golden figures in ``tests/golden/models.json``.
    """
    random = np.random.RandomState(seed)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    signal = np.zeros(samples)
    for _ in range(8):
        amplitude, frequency_hz, phase = random.uniform(0.02, 0.2), random.uniform(80, 4000), random.uniform(0, 6.28)
        signal += amplitude * np.sin(2 * np.pi * frequency_hz * time_s + phase)
    signal *= 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s)
    return (signal + 0.01 * random.standard_normal(samples)).astype(np.float32)
