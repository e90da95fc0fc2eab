"""A TorchScript file, with the torch of the server's environment.

As with ONNX Runtime, a batch runs whole on a GPU and clip by clip on a CPU, where it would be no faster and where an
answer is then independent of its neighbours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfdeploy.backends.common.batches import Outputs, Waveforms, answer_together, stack

MODEL_FILE = "model.pt"


class Runner:
    """A traced module on one device: ``cpu`` or ``cuda:N``."""

    def __init__(self, torch: Any, folder: Path, device: str) -> None:
        self.torch, self.device = torch, device
        # The profiling executor would compile again at each batch size that it meets.
        torch._C._jit_set_profiling_executor(False)
        if device != "cpu":
            # As the native backend does where it is told DISABLE_OPTIMIZED_EXECUTION: on a GPU the other executor
            # writes kernels of its own, and aborts the process at its end.
            torch._C._set_graph_executor_optimize(False)
        self.module = torch.jit.load(str(folder / MODEL_FILE), map_location=device).eval()

    def run(self, waveforms: Sequence[Waveforms]) -> list[Outputs | Exception]:
        """For each (batch, samples) array: its outputs, or the exception that it caused."""
        if self.device != "cpu":
            return answer_together(self._call, waveforms)
        return [
            stack([self._answer(waveform[row : row + 1]) for row in range(len(waveform))]) for waveform in waveforms
        ]

    def close(self) -> None:
        """Nothing to release by hand."""

    def _answer(self, clip: Waveforms) -> Outputs | Exception:
        try:
            return self._call(clip)
        except Exception as error:
            return error

    def _call(self, batch: Waveforms) -> Outputs:
        with self.torch.inference_mode():
            outputs = self.module(self.torch.from_numpy(batch).to(self.device))
        return [output.cpu().numpy() for output in outputs]


def import_torch(folder: Path) -> Any:
    """The torch of the server's environment.

    Raises:
        RuntimeError: there is none; says which model needs it and where it belongs.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise RuntimeError(
            f"{folder.parent.name} is TorchScript, and the server's environment has no torch: "
            "run dfdeploy setup --torch, or build the model with --format onnx"
        ) from None
    return torch
