"""Entry of the twin of Triton's native ONNX Runtime backend: serves models whose config says `backend: "onnxruntime"`.

It knows nothing of a model but the config that it is handed.
"""

from pathlib import Path

from dfdeploy.backends.common.detector_model import DetectorModel
from dfdeploy.backends.onnxruntime.runner import CpuRunner, GpuRunner


class TritonPythonModel(DetectorModel):
    """One instance of one model."""

    def open_cpu(self, folder: Path, threads: int) -> CpuRunner:
        """Load ``<folder>/model.onnx`` for this many cores."""
        has_memory_plans = self.parameters.get("enable_mem_pattern") != "0"
        return CpuRunner(folder, self.input, [*self.outputs], threads, has_memory_plans=has_memory_plans)

    def open_gpu(self, folder: Path, device_id: int) -> GpuRunner:
        """Load ``<folder>/model.onnx`` onto a GPU."""
        # Cards from before precisions were stated are fp32's.
        is_fp32 = self.parameters.get("precision", "fp32") == "fp32"
        return GpuRunner(folder, self.input, [*self.outputs], device_id, is_fp32=is_fp32)
