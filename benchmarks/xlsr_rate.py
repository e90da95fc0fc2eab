"""How near a whole XLS-R detector comes to this machine's fp32 matrix rate; prints two tables of docs/detectors.md.

The model and plain matrix products take turns in one process on all cores, so that a busy machine slows them alike.
The machine's rate depends on the library that multiplies: those of numpy and torch reach half of what ONNX Runtime
does on an AMD processor. So the model's share of each rate is given. The last rate is of products as the model has
them: a window's 201 frames by weights that come from memory each time, not from the cache. Only the encoder's
arithmetic is counted for the model; its head's is 1 % more.

    OMP_WAIT_POLICY=passive python benchmarks/xlsr_rate.py MODEL_FOLDER… [--rounds N]

(Passive, so that torch's threads don't spin while it is another's turn.)
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

from dfexport.layers.xlsr import CONV_STRIDES, XLSR_300M

SIZE = 2048
PAIRS = 12  # 400 MB of weights, many times the cache
GFLOP_SQUARE = 2 * SIZE**3 / 1e9
FRAMES, HIDDEN, FEED_FORWARD = 201, 1024, 4096  # of a window of 64,600 samples through XLS-R 300M


def encoder_gflop(window_samples: int) -> float:
    """Arithmetic of one window, two operations a multiply-add.

    The extractor's convolutions, the one for positions, and 24 layers of projections, feed-forward and attention.
    """
    size = XLSR_300M
    frames, extractor, channels = window_samples, 0, 1
    for kernel, stride in zip(size.conv_kernels, CONV_STRIDES, strict=True):
        frames = (frames - kernel) // stride + 1
        extractor += 2 * frames * kernel * channels * size.conv_channels
        channels = size.conv_channels
    position = 2 * frames * size.hidden * (size.hidden // size.position_groups) * size.position_kernel
    products = 4 * size.hidden * size.hidden + 2 * size.hidden * size.feed_forward
    layer = 2 * frames * products + 4 * frames * frames * size.hidden
    return (extractor + 2 * frames * channels * size.hidden + position + size.layers * layer) / 1e9


def onnx_products(rows: int, weights: list[NDArray[np.float32]], threads: int) -> Callable[[], object]:
    """A chain of products, each by a weight of its own."""
    names = [f"x{index}" for index in range(len(weights) + 1)]
    ends = [
        helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [rows, weights[0].shape[0]]),
        helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [rows, weights[-1].shape[1]]),
    ]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(len(weights))]
    constants = [from_array(weight, f"w{index}") for index, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = open_session(model.SerializeToString(), threads)
    rows_in = noise(rows, weights[0].shape[0])
    return lambda: session.run(None, {"x0": rows_in})


def noise(*shape: int) -> NDArray[np.float32]:
    """Normal noise, scaled so that a chain of products neither vanishes nor overflows."""
    return (np.random.default_rng(0).standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def rates(threads: int) -> dict[str, tuple[float, Callable[[], object]]]:
    """Name → GFLOP of a call, and the call."""
    square = noise(SIZE, SIZE)
    tensor = torch.from_numpy(square)
    feed_forward = [noise(HIDDEN, FEED_FORWARD), noise(FEED_FORWARD, HIDDEN)] * PAIRS
    return {
        f"numpy, {SIZE} square": (GFLOP_SQUARE, lambda: square @ square),
        f"torch, {SIZE} square": (GFLOP_SQUARE, lambda: tensor @ tensor),
        f"ONNX Runtime, {SIZE} square": (GFLOP_SQUARE, onnx_products(SIZE, [square], threads)),
        "ONNX Runtime, the feed-forward's": (
            PAIRS * 4 * FRAMES * HIDDEN * FEED_FORWARD / 1e9,
            onnx_products(FRAMES, feed_forward, threads),
        ),
    }


def open_session(model: Path | bytes, threads: int) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, with this many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As served; and a pool that spins would take a core from the session whose turn it is.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def model_call(folder: Path, threads: int) -> tuple[float, Callable[[], object]]:
    """GFLOP of one window through a built model, and the call."""
    session = open_session(folder / "1/model.onnx", threads)
    window = {"WAVEFORM": np.fromfile(folder / "warmup/WAVEFORM", "<f4")[None]}
    return encoder_gflop(window["WAVEFORM"].shape[1]), lambda: session.run(None, window)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="folders of built models, as model_repository/ssl_aasist")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (default: %(default)s)")
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    products = rates(threads)
    models = {folder.name: model_call(folder, threads) for folder in arguments.models}
    turns: list[dict[str, float]] = []
    for _ in range(arguments.rounds):
        turn = {name: gflop / min(timed(call) for _ in range(4)) for name, (gflop, call) in products.items()}
        turns.append(turn | {name: timed(call) for name, (_, call) in models.items()})
    print(f"{threads} threads, {arguments.rounds} rounds")
    print("| product | GFLOP/s, best | median |", "|---|---|---|", sep="\n")
    for name in products:
        achieved = np.array([turn[name] for turn in turns])
        print(f"| {name} | {achieved.max():.0f} | {np.median(achieved):.0f} |")
    names = " | ".join(f"of {name}" for name in products)
    print(f"| model | GFLOP a window | s, best | s, median | {names} |", "|---" * (4 + len(products)) + "|", sep="\n")
    for name, (gflop, _) in models.items():
        seconds = np.array([turn[name] for turn in turns])
        # Of each turn, so that what slows a turn slows both sides of the quotient.
        shares = [np.median([gflop / turn[name] / turn[product] for turn in turns]) for product in products]
        columns = " | ".join(f"{share:.0%}" for share in shares)
        print(f"| {name} | {gflop:.1f} | {seconds.min():.3f} | {np.median(seconds):.3f} | {columns} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
