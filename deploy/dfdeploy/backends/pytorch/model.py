"""Entry of the twin of Triton's native PyTorch backend: serves models whose config says ``backend: "pytorch"``."""

from pathlib import Path

from dfdeploy.backends.common.detector_model import DetectorModel
from dfdeploy.backends.pytorch.runner import Runner, import_torch


class TritonPythonModel(DetectorModel):
    """One instance of one model."""

    def open_cpu(self, folder: Path, threads: int) -> Runner:
        """Load ``<folder>/model.pt`` for this many cores."""
        torch = import_torch(folder)
        torch.set_num_threads(threads)
        return Runner(torch, folder, "cpu")

    def open_gpu(self, folder: Path, device_id: int) -> Runner:
        """Load ``<folder>/model.pt`` onto a GPU."""
        torch = import_torch(folder)
        if not torch.cuda.is_available():
            raise RuntimeError(
                "the gpu profile needs a build of torch for CUDA in the server's environment, and a GPU: "
                "use --profile cpu, or NVIDIA's container (--server docker)"
            )
        return Runner(torch, folder, f"cuda:{device_id}")
