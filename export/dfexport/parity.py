"""Does the exported graph answer what the network answers, whatever the batch?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from dfexport.errors import ParityError
from dfexport.formats import Array, Runner
from dfexport.signals import wave
from dfexport.spec import DetectorSpec

BATCH_TOLERANCE = 1e-5
BATCH = 4


@dataclass(frozen=True)
class Parity:
    """Largest differences of a logit, and what eager answers for the self-check's waveform, ``wave(1)``."""

    eager_difference: float
    batch_difference: float
    self_check_logits: tuple[float, float]


def probes(window_samples: int) -> Array:
    """Waveforms to compare on: tones, faint tones, and digital silence; ``(BATCH, window_samples)``."""
    tones = [wave(seed, window_samples) for seed in (1, 2)]
    return np.stack([*tones, 0.01 * wave(3, window_samples), np.zeros(window_samples, np.float32)])


def check(spec: DetectorSpec, network: nn.Module, runtime: str, run: Runner, *, batches: bool = True) -> Parity:
    """Compare the network with what was written, and a batch with its rows alone.

    Args:
        spec: the detector.
        network: eager, in eval mode.
        runtime: what ``run`` runs, as an error names it.
        run: the written model.
        batches: whether it answers batches; otherwise each clip is sent alone.

    Raises:
        ParityError: a difference beyond the detector's tolerance.
    """
    waveforms = probes(spec.window_samples)
    with torch.inference_mode():
        eager = network(torch.from_numpy(waveforms)).numpy()
    parts = [waveforms] if batches else list(waveforms[:, None])
    logits, score = (np.concatenate(answers) for answers in zip(*map(run, parts), strict=True))
    if not np.array_equal(score, logits[:, 1:]):
        raise ParityError(f"{spec.name}: SCORE is not the bona fide column of LOGITS")
    parity = Parity(
        eager_difference=float(np.abs(eager - logits).max()),
        batch_difference=batch_difference(run, waveforms, logits),
        self_check_logits=(float(eager[0, 0]), float(eager[0, 1])),
    )
    judge(spec, f"eager and {runtime}", parity.eager_difference, spec.tolerance)
    judge(spec, "a batch and its rows alone", parity.batch_difference, BATCH_TOLERANCE)
    return parity


def batch_difference(run: Runner, waveforms: Array, logits: Array) -> float:
    """How far the logits of a batch are from those of its rows alone."""
    alone = np.concatenate([run(row[None])[0] for row in waveforms])
    return float(np.abs(logits - alone).max())


def judge(spec: DetectorSpec, what: str, difference: float, tolerance: float) -> None:
    """Refuse a difference beyond a tolerance, or a NaN.

    Raises:
        ParityError: it is.
    """
    if not difference <= tolerance:
        raise ParityError(
            f"{spec.name}: logits of {what} differ by {difference:.2e}, more than the stated {tolerance:.0e}; "
            "nothing was written to the repository"
        )
