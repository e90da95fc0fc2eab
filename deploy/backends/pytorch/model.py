"""Python twin of Triton's native PyTorch backend: for every model whose config says ``backend: "pytorch"``.

It needs torch in the server's environment. As with the ONNX Runtime twin, a batch runs whole on a GPU and clip by clip
on a CPU, where it would be no faster and where an answer is then independent of its neighbours.
"""

from pathlib import Path

from detector_model import DetectorModel, answer_together, stack

MODEL_FILE = "model.pt"


class TritonPythonModel(DetectorModel):
    """One instance of one model."""

    def open_cpu(self, folder, threads):
        """Load ``<folder>/model.pt`` for this many cores."""
        torch = import_torch(folder)
        torch.set_num_threads(threads)
        return Runner(torch, folder, "cpu")

    def open_gpu(self, folder, device_id):
        """Load ``<folder>/model.pt`` onto a GPU."""
        torch = import_torch(folder)
        if not torch.cuda.is_available():
            raise RuntimeError(
                "the gpu profile needs a build of torch for CUDA in the server's environment, and a GPU: "
                "use --profile cpu, or NVIDIA's container (--server docker)"
            )
        return Runner(torch, folder, f"cuda:{device_id}")


class Runner:
    """A traced module on one device."""

    def __init__(self, torch, folder, device):
        self.torch, self.device = torch, device
        # The profiling executor would compile again at each batch size that it meets.
        torch._C._jit_set_profiling_executor(False)
        self.module = torch.jit.load(str(folder / MODEL_FILE), map_location=device).eval()

    def run(self, waveforms):
        """For each (batch, samples) array: its output arrays, or the exception that it caused."""
        if self.device != "cpu":
            return answer_together(self._call, waveforms)
        return [
            stack([self._answer(waveform[row : row + 1]) for row in range(len(waveform))]) for waveform in waveforms
        ]

    def close(self):
        """Nothing to release by hand."""

    def _answer(self, clip):
        try:
            return self._call(clip)
        except Exception as error:
            return error

    def _call(self, batch):
        with self.torch.inference_mode():
            outputs = self.module(self.torch.from_numpy(batch).to(self.device))
        return [output.cpu().numpy() for output in outputs]


def import_torch(folder: Path):
    """The torch of the server's environment, or an error that says where it belongs."""
    try:
        import torch
    except ModuleNotFoundError:
        raise RuntimeError(
            f"{folder.parent.name} is TorchScript, and the server's environment has no torch: "
            "make setup-server FORMAT=torchscript, or build it with --format onnx"
        ) from None
    return torch
