"""The machine's rate of matrix products in each precision: the ceiling under which every network stays.

No library is fastest everywhere (on an AMD processor PyTorch reaches half of what ONNX Runtime does), so the ceiling of
a precision is the best of those that are asked.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dfexport.speed.ways import DTYPES

CPU_SIZE, CUDA_SIZE = 1536, 8192
REPEATS = 4


class Rate(NamedTuple):
    """What one library reached: 10⁹ operations a second, two a multiply-add."""

    precision: str
    library: str
    gflop_per_s: float


def rates(device: str, threads: int, precisions: tuple[str, ...] = ("fp32", "bf16", "int8", "fp16")) -> list[Rate]:
    """Multiply square matrices; the best of a few turns counts.

    Args:
        device: ``cpu`` or ``cuda``.
        threads: of ONNX Runtime; PyTorch's are the process's.
        precisions: which; fp16 is for a GPU, int8 for a CPU.
    """
    found = []
    for precision, library, size, call in _calls(device, threads):
        if precision in precisions:
            call()
            seconds = min(_timed(call, device) for _ in range(REPEATS))
            found.append(Rate(precision, library, 2 * size**3 / seconds / 1e9))
    return found


def _calls(device: str, threads: int) -> Iterator[tuple[str, str, int, Callable[[], object]]]:
    size = CPU_SIZE if device == "cpu" else CUDA_SIZE
    for precision in ("fp32", "bf16", *(["fp16"] if device == "cuda" else [])):
        matrix = torch.randn(size, size, device=device).to(DTYPES[precision])
        yield precision, "PyTorch", size, partial(torch.matmul, matrix, matrix)
    if device == "cpu":
        for precision in ("fp32", "int8"):
            yield precision, "ONNX Runtime", size, _onnx_product(precision, size, threads)


def _onnx_product(precision: str, size: int, threads: int) -> Callable[[], object]:
    import onnxruntime
    from onnx import TensorProto, helper
    from onnx.numpy_helper import from_array

    noise = np.random.default_rng(0)
    if precision == "fp32":
        operator, kind, answer = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
        left = right = noise.standard_normal((size, size)).astype(np.float32)
    else:
        operator, kind, answer = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
        left = noise.integers(0, 127, (size, size)).astype(np.uint8)
        right = noise.integers(-63, 63, (size, size)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", kind, [size, size])],
        [helper.make_tensor_value_info("y", answer, [size, size])],
        [from_array(right, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As served; and a pool that spins would take a core from whoever's turn it is.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": left})


def _timed(call: Callable[[], object], device: str) -> float:
    began_s = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began_s
