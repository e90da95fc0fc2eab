"""A model file in ONNX Runtime, for as many cores as there are or for a GPU.

On a CPU a batch is no faster than its clips one by one, and takes more memory, so it is split into clips. That also
makes an answer independent of its neighbours. A network of many small operations (AASIST) uses the cores best with one
clip a core: on two cores 16 clips/s, against 13 to 15 with all threads on one clip after the other and 8 to 10 where
two callers share a session of two threads. A clip that is alone gets all threads: 64 ms instead of 112. Networks of big
matrix products (XLS-R) keep all cores busy with one clip. On a GPU the batch runs whole.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnxruntime

from dfdeploy.backends.common.batches import Outputs, Waveforms, answer_together, stack

MODEL_FILE = "model.onnx"
# A second session, for one clip a core, holds the weights again: fine for megabytes, of no use for gigabytes.
SMALL_MODEL_BYTES = 64 << 20

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class CpuRunner:
    """One clip at a time in each session: several side by side with a thread each, or one with all threads.

    Args:
        folder: holds the model file.
        input_name, output_names: of its tensors.
        threads: how many.
        has_memory_plans: see `open_session`; of no use where clips have many lengths.
    """

    def __init__(
        self,
        folder: Path,
        input_name: str,
        output_names: list[str],
        threads: int,
        *,
        has_memory_plans: bool = True,
    ) -> None:
        self.input, self.outputs, self.threads = input_name, output_names, threads
        self.wide = open_session(folder, threads, [CPU], has_memory_plans=has_memory_plans)
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        small = threads > 1 and size <= SMALL_MODEL_BYTES
        self.narrow = open_session(folder, 1, [CPU], has_memory_plans=has_memory_plans) if small else None
        self.workers = ThreadPoolExecutor(threads)

    def run(self, waveforms: Sequence[Waveforms]) -> list[Outputs | Exception]:
        """For each (batch, samples) array: its outputs, or the exception that it caused."""
        clips = [waveform[row : row + 1] for waveform in waveforms for row in range(len(waveform))]
        n_side_by_side = self.clips_side_by_side(len(clips))
        rows = list(self.workers.map(lambda clip: self._answer(self.narrow, clip), clips[:n_side_by_side]))
        rows += [self._answer(self.wide, clip) for clip in clips[n_side_by_side:]]
        remaining = iter(rows)
        return [stack([next(remaining) for _ in waveform]) for waveform in waveforms]

    def clips_side_by_side(self, count: int) -> int:
        """How many of ``count`` clips take a thread each; the others, one after the other, take all threads."""
        if self.narrow is None:
            return 0
        rest = count % self.threads
        return count - rest if 2 * rest <= self.threads else count

    def close(self) -> None:
        """Wait for the worker threads."""
        self.workers.shutdown()

    def _answer(self, session: Any, clip: Waveforms) -> Outputs | Exception:
        try:
            outputs: Outputs = session.run(self.outputs, {self.input: clip})
        except Exception as error:
            return error
        return outputs


class GpuRunner:
    """The whole batch in one call.

    Args:
        folder: holds the model file.
        input_name, output_names: of its tensors.
        device_id: which GPU.
        is_fp32: whether the model was built in fp32, so that products must not be rounded to TF32's 10 bits, which
            moves logits by up to 0.009. An fp16 model would lose its tensor cores by that.

    Raises:
        RuntimeError: ONNX Runtime would run it on the CPU.
    """

    def __init__(
        self, folder: Path, input_name: str, output_names: list[str], device_id: int, *, is_fp32: bool
    ) -> None:
        self.input, self.outputs = input_name, output_names
        preload_cuda()
        if CUDA not in onnxruntime.get_available_providers():
            raise RuntimeError(
                "the gpu profile needs onnxruntime-gpu in the server's environment: "
                "use --profile cpu, or NVIDIA's container (--server docker)"
            )
        options = {
            "device_id": device_id,
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            **({"use_tf32": "0"} if is_fp32 else {}),
        }
        self.session = open_session(folder, 1, [(CUDA, options), CPU], has_memory_plans=False)
        # Without CUDA's libraries the session opens all the same, on the CPU and with one thread.
        first, *_ = self.session.get_providers()
        if first != CUDA:
            raise RuntimeError(
                f"the gpu profile needs CUDA's libraries, and ONNX Runtime fell back to {first}: install those of your "
                "onnxruntime-gpu beside it, use --profile cpu, or NVIDIA's container (--server docker)"
            )

    def run(self, waveforms: Sequence[Waveforms]) -> list[Outputs | Exception]:
        """For each (batch, samples) array: its outputs, or the exception that the batch caused."""
        return answer_together(lambda batch: self.session.run(self.outputs, {self.input: batch}), waveforms)

    def close(self) -> None:
        """Nothing to release by hand."""


def preload_cuda() -> None:
    """Load CUDA's and cuDNN's libraries from pip's packages, where ONNX Runtime's loader would not look for them."""
    preload = getattr(onnxruntime, "preload_dlls", None)  # from 1.21 on
    if preload is not None:
        preload()


def open_session(folder: Path, threads: int, providers: list[Any], *, has_memory_plans: bool = True) -> Any:
    """An ONNX Runtime session with ``threads`` threads that sleep, not spin, while others use the cores.

    Args:
        folder: holds the model file.
        threads: of one inference.
        providers: of ONNX Runtime, the preferred one first.
        has_memory_plans: whether each shape that it meets keeps a plan, with a block of memory as large as that.
    """
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = has_memory_plans
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(folder / MODEL_FILE, options, providers=providers)
