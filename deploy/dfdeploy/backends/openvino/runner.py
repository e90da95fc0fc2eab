"""A model file in OpenVINO, on a CPU, a clip at a time: the native backend can't take batches of changing size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfdeploy.backends.common.batches import Outputs, Waveforms, stack

MODEL_FILE = "model.onnx"
DEVICE = "CPU"


class Runner:
    """One compiled model with one stream.

    Args:
        openvino: the package.
        folder: holds the model file.
        input_name, output_names: of its tensors.
        threads: of one inference.
        is_bf16: whether to compute in bf16.

    Raises:
        RuntimeError: this CPU has no bf16, so that the answers would not be those of the card.
    """

    def __init__(
        self, openvino: Any, folder: Path, input_name: str, output_names: list[str], threads: int, *, is_bf16: bool
    ) -> None:
        self.input, self.outputs = input_name, output_names
        core = openvino.Core()
        if is_bf16 and "BF16" not in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
            raise RuntimeError(
                f"{folder.parent.name} was built to be computed in bf16, which this CPU does not have "
                "(AVX512_BF16, AMX): build it with --precision fp32"
            )
        model = core.read_model(folder / MODEL_FILE)
        # All sizes are known before the first clip, and so is the memory.
        model.reshape({input_name: [1, model.input(input_name).get_partial_shape()[1]]})
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Unless told otherwise OpenVINO computes in bf16 where the CPU can.
            "INFERENCE_PRECISION_HINT": "bf16" if is_bf16 else "f32",
            # Several models share the cores: a thread that is bound to one would wait for it while others are free.
            "ENABLE_CPU_PINNING": False,
        }
        self.request = core.compile_model(model, DEVICE, options).create_infer_request()

    def run(self, waveforms: Sequence[Waveforms]) -> list[Outputs | Exception]:
        """For each (batch, samples) array: its outputs, or the exception that it caused."""
        return [
            stack([self._answer(waveform[row : row + 1]) for row in range(len(waveform))]) for waveform in waveforms
        ]

    def close(self) -> None:
        """Nothing to release by hand."""

    def _answer(self, clip: Waveforms) -> Outputs | Exception:
        try:
            self.request.infer({self.input: np.ascontiguousarray(clip)})
            # Copied: the next clip's answer takes the place of this one's.
            return [self.request.get_tensor(name).data.copy() for name in self.outputs]
        except Exception as error:
            return error


def import_openvino(folder: Path) -> Any:
    """The OpenVINO of the server's environment.

    Raises:
        RuntimeError: there is none; says which model needs it and where it belongs.
    """
    try:
        import openvino
    except ModuleNotFoundError:
        raise RuntimeError(
            f"{folder.parent.name} is for OpenVINO, and the server's environment has none: "
            "run dfdeploy setup --openvino, or build the model with --format onnx"
        ) from None
    return openvino
