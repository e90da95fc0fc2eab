"""The file formats that a detector can be served from: a row each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dfexport.spec import FormatName
from dfexport.to_onnx import INPUT, OUTPUTS, to_onnx
from dfexport.to_torchscript import to_torchscript

Array = NDArray[np.float32]
# WAVEFORM (batch, samples) → LOGITS (batch, 2), SCORE (batch, 1)
Runner = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Format:
    """How a detector is written, and how what was written is run outside a server.

    Attributes:
        file: the model's file in its version folder.
        backend: Triton's backend for it.
        runtime: what runs it, as an error names it.
        export: writes the file: network, window in samples, path.
        open: loads the file.
    """

    file: str
    backend: str
    runtime: str
    export: Callable[[nn.Module, int, Path], None]
    open: Callable[[Path], Runner]


def open_onnx(path: Path) -> Runner:
    """A session on this machine's CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(waveforms: Array) -> tuple[Array, Array]:
        logits, score = session.run(list(OUTPUTS), {INPUT: waveforms})
        return logits, score

    return run


def open_torchscript(path: Path) -> Runner:
    """The module on this machine's CPU."""
    import torch

    module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(waveforms: Array) -> tuple[Array, Array]:
        with torch.inference_mode():
            logits, score = module(torch.from_numpy(waveforms))
        return logits.numpy(), score.numpy()

    return run


FORMATS: dict[FormatName, Format] = {
    "onnx": Format("model.onnx", "onnxruntime", "ONNX Runtime", to_onnx, open_onnx),
    "torchscript": Format("model.pt", "pytorch", "TorchScript", to_torchscript, open_torchscript),
}
