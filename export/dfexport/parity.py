"""Does the exported graph answer what the network answers, whatever the batch?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from dfexport.errors import ParityError
from dfexport.signals import wave
from dfexport.spec import DetectorSpec
from dfexport.to_onnx import INPUT, OUTPUTS

BATCH_TOLERANCE = 1e-5
BATCH = 4


@dataclass(frozen=True)
class Parity:
    """Largest differences of a logit, and what eager answers for the self-check's waveform, ``wave(1)``."""

    eager_difference: float
    batch_difference: float
    self_check_logits: tuple[float, float]


def probes(window_samples: int) -> NDArray[np.float32]:
    """Waveforms to compare on: tones, faint tones, and digital silence; ``(BATCH, window_samples)``."""
    tones = [wave(seed, window_samples) for seed in (1, 2)]
    return np.stack([*tones, 0.01 * wave(3, window_samples), np.zeros(window_samples, np.float32)])


def check(spec: DetectorSpec, network: nn.Module, model_path: Path) -> Parity:
    """Compare eager with ONNX Runtime, and a batch with its rows alone.

    Raises:
        ParityError: a difference beyond the detector's tolerance.
    """
    waveforms = probes(spec.window_samples)
    with torch.inference_mode():
        eager = network(torch.from_numpy(waveforms)).numpy()
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    logits, score = session.run(list(OUTPUTS), {INPUT: waveforms})
    alone = np.concatenate([session.run(["LOGITS"], {INPUT: row[None]})[0] for row in waveforms])
    if not np.array_equal(score, logits[:, 1:]):
        raise ParityError(f"{spec.name}: SCORE is not the bona fide column of LOGITS")
    parity = Parity(
        eager_difference=float(np.abs(eager - logits).max()),
        batch_difference=float(np.abs(logits - alone).max()),
        self_check_logits=(float(eager[0, 0]), float(eager[0, 1])),
    )
    _judge(spec, parity)
    return parity


def _judge(spec: DetectorSpec, parity: Parity) -> None:
    for what, difference, tolerance in (
        ("eager and ONNX Runtime", parity.eager_difference, spec.tolerance),
        ("a batch and its rows alone", parity.batch_difference, BATCH_TOLERANCE),
    ):
        if not difference <= tolerance:  # a NaN fails too
            raise ParityError(
                f"{spec.name}: logits of {what} differ by {difference:.2e}, more than the stated {tolerance:.0e}; "
                "nothing was written to the repository"
            )
