"""How near a whole XLS-R detector comes to this machine's fp32 matrix rate; prints a table of docs/detectors.md.

The model and plain products of two 2048 x 2048 matrices take turns in one process on all cores, so that a busy machine
slows them alike. The products run in torch and in ONNX Runtime, and the faster counts as the machine's rate: torch's
library reaches only half of it on an AMD processor, and a share of that would flatter (above 100 %). Only the encoder's
arithmetic is counted for the model; its head's is 1 % more.

    python docs/benchmarks/xlsr_rate.py MODEL_FOLDER… [--rounds N]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

SIZE = 2048
GFLOP_SQUARE = 2 * SIZE**3 / 1e9
# XLS-R 300M on 64,600 samples (201 frames): extractor, position convolution, and 24 layers of projections,
# feed-forward and attention, two operations a multiply-add.
FRAMES, HIDDEN, FEED_FORWARD, LAYERS, CHANNELS = 201, 1024, 4096, 24, 512
LENGTHS, KERNELS = (12_919, 6_459, 3_229, 1_614, 806, 403, 201), (10, 3, 3, 3, 3, 2, 2)


def encoder_gflop() -> float:
    """Arithmetic of one window."""
    inputs = (1, *[CHANNELS] * 6)
    extractor = sum(2 * n * k * c * CHANNELS for n, k, c in zip(LENGTHS, KERNELS, inputs, strict=True))
    position = 2 * FRAMES * HIDDEN * (HIDDEN // 16) * 128
    products = 4 * HIDDEN * HIDDEN + 2 * HIDDEN * FEED_FORWARD
    layer = 2 * FRAMES * products + 4 * FRAMES * FRAMES * HIDDEN
    return (extractor + 2 * FRAMES * CHANNELS * HIDDEN + position + LAYERS * layer) / 1e9


def onnx_product(matrix: NDArray[np.float32], threads: int) -> Callable[[], object]:
    """The matrix times itself, the right one a weight, as in the model."""
    size = [SIZE, SIZE]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name in ("a", "c")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product", ends[:1], ends[1:], [from_array(matrix, "b")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = open_session(model.SerializeToString(), threads)
    return lambda: session.run(None, {"a": matrix})


def open_session(model: Path | bytes, threads: int) -> onnxruntime.InferenceSession:
    """On the CPU, with this many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="folders of built models, as model_repository/ssl_aasist")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (default: %(default)s)")
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    square = torch.randn(SIZE, SIZE)
    products = (lambda: square @ square, onnx_product(square.numpy(), threads))
    print(f"encoder {encoder_gflop():.1f} GFLOP a window, {threads} threads, {arguments.rounds} rounds")
    print("| model | s a window, best | median | GFLOP/s | GEMM GFLOP/s | share, best | share, median turn |")
    print("|---|---|---|---|---|---|---|")
    for folder in arguments.models:
        session = open_session(folder / "1/model.onnx", threads)
        window = {"WAVEFORM": np.fromfile(folder / "warmup/WAVEFORM", "<f4")[None]}
        turns = []
        for _ in range(arguments.rounds):
            fastest_s = min(timed(product) for product in products for _ in range(6))
            turns.append((GFLOP_SQUARE / fastest_s, timed(lambda: session.run(None, window))))  # noqa: B023
        rates, seconds = (np.array(values) for values in zip(*turns, strict=True))
        achieved = encoder_gflop() / seconds
        print(
            f"| {folder.name} | {seconds.min():.3f} | {np.median(seconds):.3f} | {achieved.max():.0f} "
            f"| {rates.max():.0f} | {achieved.max() / rates.max():.0%} | {np.median(achieved / rates):.0%} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
