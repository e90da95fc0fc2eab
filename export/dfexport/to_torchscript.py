"""Network → TorchScript, for Triton's ``pytorch`` backend: static time, dynamic batch."""

import warnings
from pathlib import Path

import torch
from torch import nn

from dfexport.signals import wave
from dfexport.to_onnx import ServedDetector


def to_torchscript(network: nn.Module, window_samples: int, path: Path) -> None:
    """Write what the server answers for a detector; see `write_torchscript`."""
    write_torchscript(ServedDetector(network), window_samples, path)


def write_torchscript(module: nn.Module, window_samples: int, path: Path) -> None:
    """Write ``path``: the module, WAVEFORM (batch, samples) → a tuple of tensors, traced."""
    waveforms = torch.from_numpy(wave(1, window_samples)).expand(2, -1)
    with warnings.catch_warnings(), torch.inference_mode():
        # These notes are for whoever wrote the model: tracing is deprecated, and Python numbers become constants. The
        # constants are sizes along time, which is static here; parity on other batches is checked.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            module.eval(), (waveforms,), check_trace=False
        )
        torch.jit.save(traced, path)
