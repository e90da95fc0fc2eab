"""OpenVINO, for Triton's ``openvino`` backend: the ONNX file, which every release of OpenVINO reads.

OpenVINO's own format (IR) is read only by the release that wrote it and by newer ones, and nobody here knows which
release a server carries.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dfcontract.openvino import BF16, DEVICE, FILE, MAX_BATCH_SIZE, compile_options
from dfcontract.tensors import IDENTITY, OUTPUTS, WAVEFORM, Samples
from dfexport.errors import ExportError
from dfexport.formats.format import Answers, Format, Runner
from dfexport.formats.onnx import OPSET, write_onnx

# One stream has all cores: the backend's instance computes one batch at a time.
BACKEND_PARAMETERS = {"NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}


def open_openvino(path: Path, precision: str = "fp32") -> Runner:
    """A build of a precision on this machine's CPU, in batches as it is served."""
    core = _core()
    model = core.read_model(path)
    samples = model.input(WAVEFORM).get_partial_shape()[1]
    model.reshape({WAVEFORM: [(1, MAX_BATCH_SIZE), samples]})
    options = compile_options(precision, core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))
    request = core.compile_model(model, DEVICE, options).create_infer_request()
    found = {name for output in model.outputs for name in output.get_names()}
    names = [name for name in OUTPUTS if name in found or name != IDENTITY]

    def answer(batch: Samples) -> list[Any]:
        request.infer({WAVEFORM: batch})
        return [request.get_tensor(name).data.copy() for name in names]

    def run(waveforms: Samples) -> Answers:
        starts = range(0, len(waveforms), MAX_BATCH_SIZE)
        parts = [answer(np.ascontiguousarray(waveforms[start : start + MAX_BATCH_SIZE])) for start in starts]
        logits, score, *identity = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Answers(logits, score, identity[0] if identity else None)

    return run


def why_no_bf16() -> str:
    """What this machine lacks to compute in bf16, and so to judge it; empty where it can."""
    if BF16 in _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
        return ""
    return (
        "this CPU has no bf16 (on x86-64 AVX512_BF16 or AMX; lscpu lists them), so that scores in bf16 can't be "
        "compared here: build it on the machine that will serve it, or in fp32"
    )


def _core() -> Any:
    try:
        import openvino
    except ModuleNotFoundError:
        raise ExportError("--format openvino needs openvino; pip install 'dfserve[openvino]'") from None
    return openvino.Core()


OPENVINO = Format(
    name="openvino",
    file=FILE,
    backend="openvino",
    runtime="OpenVINO",
    version=f"opset {OPSET}",
    write=write_onnx,
    open=open_openvino,
    openers={precision: partial(open_openvino, precision=precision) for precision in ("bf16", "int8")},
    parameters=dict.fromkeys(("cpu", "nvidia_cpu"), BACKEND_PARAMETERS),
    precision_parameters={precision: {"HINT_BF16": "YES"} for precision in ("bf16", "int8")},
    is_named=True,  # it would open model.xml
    # NVIDIA's backend makes the batch a constant, `max_batch_size`. It can pad a smaller one, but what it counted as
    # padding stays for the next, full batch, whose last answers it cuts off (`batch_pad_size_` in src/openvino.cc).
    native_max_batch_size=1,
    max_batch_size=MAX_BATCH_SIZE,
    # INT64 is computed as INT32 on a CPU, and what is larger becomes the largest INT32.
    identity_bits=32,
    runs_on_gpu=False,
    takes_clips=False,  # the backend is written for models of fixed shapes
)
