"""Entry of the twin of Triton's native OpenVINO backend: serves models whose config says ``backend: "openvino"``."""

from pathlib import Path

from dfdeploy.backends.common.detector_model import DetectorModel
from dfdeploy.backends.openvino.runner import Runner, import_openvino


class TritonPythonModel(DetectorModel):
    """One instance of one model."""

    def open_cpu(self, folder: Path, threads: int) -> Runner:
        """Load ``<folder>/model.onnx`` for this many cores."""
        return Runner(
            import_openvino(folder),
            folder,
            self.input,
            [*self.outputs],
            threads,
            precision=self.parameters.get("precision", "fp32"),
            max_batch_size=self.max_batch_size,
        )

    def open_gpu(self, folder: Path, device_id: int) -> Runner:  # noqa: ARG002 (there is none)
        """Refuse, as the native backend does."""
        raise RuntimeError(
            f"{folder.parent.name} is for OpenVINO, which serves on CPUs alone: build it again, or use --profile cpu"
        )
