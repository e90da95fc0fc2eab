"""A model file in OpenVINO, on a CPU: batches as Triton makes them, where the configuration allows any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfcontract.openvino import BF16, DEVICE, FILE, compile_options
from dfdeploy.backends.common.batches import Outputs, Waveforms, answer_together


class Runner:
    """One compiled model with one stream.

    Args:
        openvino: the package.
        folder: holds the model file.
        input_name, output_names: of its tensors.
        threads: of one inference.
        precision: of the build.
        max_batch_size: clips of one inference.

    Raises:
        RuntimeError: it is a bf16 build and this CPU has no bf16, so that the answers would not be those of the card.
    """

    def __init__(
        self,
        openvino: Any,
        folder: Path,
        input_name: str,
        output_names: list[str],
        threads: int,
        *,
        precision: str,
        max_batch_size: int,
    ) -> None:
        self.input, self.outputs = input_name, output_names
        core = openvino.Core()
        capabilities = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and BF16 not in capabilities:
            raise RuntimeError(
                f"{folder.parent.name} was built to be computed in bf16, which this CPU does not have "
                "(AVX512_BF16, AMX): build it with --precision fp32"
            )
        model = core.read_model(folder / FILE)
        # All sizes are known before the first clip, and so is the memory.
        batch = 1 if max_batch_size == 1 else (1, max_batch_size)
        model.reshape({input_name: [batch, model.input(input_name).get_partial_shape()[1]]})
        options = {
            **compile_options(precision, capabilities),
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Several models share the cores: a thread that is bound to one would wait for it while others are free.
            "ENABLE_CPU_PINNING": False,
        }
        self.request = core.compile_model(model, DEVICE, options).create_infer_request()

    def run(self, waveforms: Sequence[Waveforms]) -> list[Outputs | Exception]:
        """For each (batch, samples) array: its outputs, or the exception that the batch caused."""
        return answer_together(self._answer, waveforms)

    def close(self) -> None:
        """Nothing to release by hand."""

    def _answer(self, batch: Waveforms) -> Outputs:
        self.request.infer({self.input: batch})
        # Copied: the next batch's answer takes the place of this one's.
        return [self.request.get_tensor(name).data.copy() for name in self.outputs]


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
