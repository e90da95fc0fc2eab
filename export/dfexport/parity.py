"""Does the exported graph answer what the network answers, whatever the batch?"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from dfcontract.tensors import Samples
from dfexport.errors import ParityError
from dfexport.formats import Answers, Runner
from dfexport.signals import wave
from dfexport.spec import DetectorSpec

BATCH_TOLERANCE = 1e-5
SOFTMAX_TOLERANCE = 1e-6
BATCH = 4


@dataclass(frozen=True)
class Parity:
    """Largest differences of a logit, and what eager answers for the self-check's waveform, ``wave(1)``.

    ``batch_difference`` is None of a file that answers one clip at a time.
    """

    eager_difference: float
    batch_difference: float | None
    self_check_logits: tuple[float, float]


def probes(window_samples: int) -> Samples:
    """Waveforms to compare on: tones, faint tones, and digital silence; ``(BATCH, window_samples)``."""
    tones = [wave(seed, window_samples) for seed in (1, 2)]
    return np.stack([*tones, 0.01 * wave(3, window_samples), np.zeros(window_samples, np.float32)])


def check(
    spec: DetectorSpec,
    network: nn.Module,
    runtime: str,
    run: Runner,
    identity: int,
    *,
    batches: bool = True,
    batch_tolerance: float = BATCH_TOLERANCE,
) -> Parity:
    """Compare the network with what was written, and a batch with its rows alone.

    Args:
        spec: the detector.
        network: eager, in eval mode.
        runtime: what ``run`` runs, as an error names it.
        run: the written model.
        identity: what it should answer as IDENTITY; 0 where it has none.
        batches: whether it answers batches; otherwise each clip is sent alone, and there is no batch to compare.
        batch_tolerance: how far a batch's logits may be from those of its rows alone.

    Raises:
        ParityError: a difference beyond a tolerance, or another identity.
    """
    waveforms = probes(spec.window_samples)
    with torch.inference_mode():
        eager = network(torch.from_numpy(waveforms)).numpy()
    answers = [run(part) for part in ([waveforms] if batches else waveforms[:, None])]
    for answer in answers:
        check_identity(spec, answer, identity)
    logits, score = (np.concatenate([answer[index] for answer in answers]) for index in (0, 1))
    check_score(spec, logits, score)
    parity = Parity(
        eager_difference=max(float(np.abs(eager - logits).max()), *other_lengths_difference(spec, network, run)),
        batch_difference=batch_difference(run, waveforms, logits) if batches else None,
        self_check_logits=(float(eager[0, 0]), float(eager[0, 1])),
    )
    judge(spec, f"eager and {runtime}", parity.eager_difference, spec.tolerance)
    if parity.batch_difference is not None:
        judge(spec, "a batch and its rows alone", parity.batch_difference, batch_tolerance)
    return parity


def other_lengths_difference(spec: DetectorSpec, network: nn.Module, run: Runner) -> list[float]:
    """How far logits are from eager's at other lengths than the window; zero where there are none."""
    lengths = (spec.clip.least, (spec.clip.least + spec.window_samples) // 2, spec.clip.most) if spec.clip else ()
    differences = [0.0]
    for samples in lengths:
        waveform = wave(1, samples)[None]
        with torch.inference_mode():
            eager = network(torch.from_numpy(waveform)).numpy()
        differences.append(float(np.abs(eager - run(waveform).logits).max()))
    return differences


def of_reduced(
    spec: DetectorSpec, fp32: Parity, run: Runner, identity: int, *, batches: bool, batch_tolerance: float
) -> Parity:
    """The parity of a file of fewer bits, from that of the fp32 file that it was made from.

    The difference from eager stays the fp32 file's, since drift judges how far fewer bits move the scores. What two
    runs of the new file give is its own: the self-check's logits, and how far a batch is from its rows alone.

    Raises:
        ParityError: another identity than it should have, or a batch farther from its rows than `batch_tolerance`.
    """
    waveforms = probes(spec.window_samples)
    answer = run(waveforms[:1])
    check_identity(spec, answer, identity)
    batch = batch_difference(run, waveforms, run(waveforms).logits) if batches else None
    if batch is not None:
        judge(spec, "a batch and its rows alone", batch, batch_tolerance)
    spoof, bonafide = answer.logits[0].tolist()
    return replace(fp32, batch_difference=batch, self_check_logits=(spoof, bonafide))


def check_score(spec: DetectorSpec, logits: Samples, score: Samples) -> None:
    """Refuse a score that is not what the detector's ``score_kind`` makes of the logits.

    Raises:
        ParityError: it is not.
    """
    if spec.score_kind == "softmax":
        log_odds = logits[:, 1:].astype(np.float64) - logits[:, :1]
        if not np.allclose(score, 1 / (1 + np.exp(-log_odds)), rtol=0, atol=SOFTMAX_TOLERANCE):
            raise ParityError(f"{spec.name}: SCORE is not the bona fide share of the softmax of LOGITS")
    elif not np.array_equal(score, logits[:, 1:]):
        raise ParityError(f"{spec.name}: SCORE is not the bona fide column of LOGITS")


def check_identity(spec: DetectorSpec, answer: Answers, identity: int) -> None:
    """Refuse an answer whose rows do not all carry the model's identity.

    Raises:
        ParityError: one does not.
    """
    if identity == 0:
        return
    expected = np.full((len(answer.logits), 1), identity, np.int64)
    if answer.identity is None or not np.array_equal(answer.identity, expected):
        found = None if answer.identity is None else answer.identity.tolist()
        raise ParityError(f"{spec.name}: expected the IDENTITY {identity} in each row of an answer, found {found}")


def batch_difference(run: Runner, waveforms: Samples, logits: Samples) -> float:
    """How far the logits of a batch are from those of its rows alone."""
    alone = np.concatenate([run(row[None]).logits for row in waveforms])
    return float(np.abs(logits - alone).max())


def judge(spec: DetectorSpec, what: str, difference: float, tolerance: float) -> None:
    """Refuse a difference beyond a tolerance, or a NaN.

    Raises:
        ParityError: it is.
    """
    if not difference <= tolerance:
        raise ParityError(
            f"{spec.name}: logits of {what} differ by {difference:.2e}, more than the stated {tolerance:.0e}"
        )
