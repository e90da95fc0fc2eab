"""TorchScript, for Triton's ``pytorch`` backend: dynamic batch, and static time but for networks of whole clips."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dfcontract.tensors import Samples
from dfexport.formats.format import Answers, Format, Runner
from dfexport.signals import wave

if TYPE_CHECKING:
    import torch
    from torch import nn

# No gradients; and no profiling executor, which compiles again at each batch size that it meets.
BACKEND_PARAMETERS = {"INFERENCE_MODE": "true", "DISABLE_OPTIMIZED_EXECUTION": "true"}


def write_torchscript(module: "nn.Module", window_samples: int, path: Path) -> None:
    """Write ``path``: the module, WAVEFORM (batch, samples) → a tuple of tensors, traced."""
    import torch

    torch.jit.save(traced(module, window_samples), path)


def traced(module: "nn.Module", window_samples: int, device: "torch.device | str" = "cpu") -> "torch.jit.ScriptModule":
    """The module's operations on ``device``, recorded, for any batch of waveforms of this length."""
    import torch

    waveforms = torch.from_numpy(wave(1, window_samples)).expand(2, -1).to(device)
    # Each recorded convolution keeps two switches, whatever the server says. Whether a GPU may round what goes into it
    # to TF32's 10 bits: that moved AASIST's logits by up to 0.003 on an H100. And whether cuDNN may compute it, which
    # this function switches off unless it is told: Nes2Net-X took 14 times as long there in batches of 64.
    whole = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with warnings.catch_warnings(), torch.inference_mode(), whole:
        # These notes are for whoever wrote the model: tracing is deprecated, and Python numbers become constants. The
        # constants are sizes along time, which is static, or of no account in networks of whole clips; parity on other
        # batches and lengths is checked.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        recorded: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            module.eval(), (waveforms,), check_trace=False
        )
    return recorded


def open_torchscript(path: Path) -> Runner:
    """The module on this machine's CPU."""
    import torch

    module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(waveforms: Samples) -> Answers:
        with torch.inference_mode():
            logits, score, *identity = module(torch.from_numpy(waveforms))
        return Answers(logits.numpy(), score.numpy(), identity[0].numpy() if identity else None)

    return run


TORCHSCRIPT = Format(
    name="torchscript",
    file="model.pt",
    backend="pytorch",
    runtime="TorchScript",
    version="",
    write=write_torchscript,
    open=open_torchscript,
    parameters=dict.fromkeys(("cpu", "gpu", "tensorrt"), BACKEND_PARAMETERS),
)
