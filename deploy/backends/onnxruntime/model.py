"""Python twin of Triton's native ONNX Runtime backend: for every model whose config says ``backend: "onnxruntime"``.

It runs inside the server's own environment (numpy < 2) and knows nothing of dfserve but the config it is handed.

On a CPU a batch is no faster than its clips one by one, and takes more memory, so it is split into clips. That also
makes an answer independent of its neighbours. A network of many small operations (AASIST) uses the cores best with one
clip a core: on two cores 16 clips/s, against 13 to 15 with all threads on one clip after the other and 8 to 10 where
two callers share a session of two threads. A clip that is alone gets all threads: 64 ms instead of 112. Networks of big
matrix products (XLS-R) keep all cores busy with one clip. On a GPU the batch runs whole.
"""

from concurrent.futures import ThreadPoolExecutor

import onnxruntime
from detector_model import DetectorModel, answer_together, stack

MODEL_FILE = "model.onnx"
# A second session, for one clip a core, holds the weights again: fine for megabytes, of no use for gigabytes.
SMALL_MODEL_BYTES = 64 << 20


class TritonPythonModel(DetectorModel):
    """One instance of one model."""

    def open_cpu(self, folder, threads):
        """Load ``<folder>/model.onnx`` for this many cores."""
        return CpuRunner(folder, self.input, self.outputs, threads)

    def open_gpu(self, folder, device_id):
        """Load ``<folder>/model.onnx`` onto a GPU."""
        return GpuRunner(folder, self.input, self.outputs, device_id)


class CpuRunner:
    """One clip at a time in each session: several side by side with a thread each, or one with all threads."""

    def __init__(self, folder, input_name, output_names, threads):
        self.input, self.outputs, self.threads = input_name, output_names, threads
        self.wide = open_session(folder, threads, ["CPUExecutionProvider"])
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        small = threads > 1 and size <= SMALL_MODEL_BYTES
        self.narrow = open_session(folder, 1, ["CPUExecutionProvider"]) if small else None
        self.workers = ThreadPoolExecutor(threads)

    def run(self, waveforms):
        """For each (batch, samples) array: its output arrays, or the exception that it caused."""
        clips = [waveform[row : row + 1] for waveform in waveforms for row in range(len(waveform))]
        abreast = self.clips_abreast(len(clips))
        rows = list(self.workers.map(lambda clip: self._answer(self.narrow, clip), clips[:abreast]))
        rows += [self._answer(self.wide, clip) for clip in clips[abreast:]]
        remaining = iter(rows)
        return [stack([next(remaining) for _ in waveform]) for waveform in waveforms]

    def clips_abreast(self, count):
        """How many of ``count`` clips take a thread each; the others, one after the other, take all threads."""
        if self.narrow is None:
            return 0
        rest = count % self.threads
        return count - rest if 2 * rest <= self.threads else count

    def close(self):
        """Wait for the worker threads."""
        self.workers.shutdown()

    def _answer(self, session, clip):
        try:
            return session.run(self.outputs, {self.input: clip})
        except Exception as error:
            return error


class GpuRunner:
    """The whole batch in one call."""

    def __init__(self, folder, input_name, output_names, device_id):
        self.input, self.outputs = input_name, output_names
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise RuntimeError(
                "the gpu profile needs onnxruntime-gpu in the server's environment: "
                "use --profile cpu, or NVIDIA's container (--server docker)"
            )
        cuda = {
            "device_id": device_id,
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        self.session = open_session(folder, 1, [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"])

    def run(self, waveforms):
        """For each (batch, samples) array: its output arrays, or the exception that the batch caused."""
        return answer_together(lambda batch: self.session.run(self.outputs, {self.input: batch}), waveforms)

    def close(self):
        """Nothing to release by hand."""


def open_session(folder, threads, providers):
    """An ONNX Runtime session with ``threads`` threads that sleep, not spin, while others use the cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(folder / MODEL_FILE, options, providers=providers)
