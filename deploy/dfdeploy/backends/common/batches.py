"""Batches taken apart and put together again, so that what is wrong with one request stays that request's."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Waveforms = npt.NDArray[np.float32]  # (batch, samples)
Outputs = list[npt.NDArray[Any]]  # one array an output, each with the batch as its first axis


class Runner(Protocol):
    """An opened model file."""

    def run(self, waveforms: Sequence[Waveforms]) -> "list[Outputs | Exception]":
        """For each request's waveforms: its outputs, or the exception that it caused."""

    def close(self) -> None:
        """Let go of what the runner holds beyond memory."""


def answer_together(
    call: Callable[[Waveforms], Outputs], waveforms: Sequence[Waveforms]
) -> "list[Outputs | Exception]":
    """Send all as one batch; for each its outputs, or the exception that the batch caused."""
    if not waveforms:
        return []
    try:
        outputs = call(np.concatenate(waveforms))
    except Exception as error:
        return [error] * len(waveforms)
    ends = np.cumsum([len(waveform) for waveform in waveforms])[:-1]
    return [list(parts) for parts in zip(*(np.split(output, ends) for output in outputs), strict=True)]


def stack(answers: "Sequence[Outputs | Exception]") -> "Outputs | Exception":
    """Outputs of single clips → outputs of their batch, or the first exception among them."""
    rows: list[Outputs] = []
    for answer in answers:
        if isinstance(answer, Exception):
            return answer
        rows.append(answer)
    return [np.concatenate(column) for column in zip(*rows, strict=True)]
