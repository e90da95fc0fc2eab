"""OpenVINO, for Triton's ``openvino`` backend: the ONNX file, which every release of OpenVINO reads, a clip at a time.

OpenVINO's own format (IR) is read only by the release that wrote it and by newer ones, and nobody here knows which
release a server carries.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dfcontract.tensors import IDENTITY, OUTPUTS, WAVEFORM, Samples
from dfexport.errors import ExportError
from dfexport.formats.format import Answers, Format, Runner
from dfexport.formats.onnx import OPSET, write_onnx

DEVICE = "CPU"
# One stream has all cores: the backend's instance sends one clip at a time.
BACKEND_PARAMETERS = {"NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}


def open_openvino(path: Path) -> Runner:
    """The model in fp32 on this machine's CPU."""
    return _open(path, "f32")


def open_openvino_bf16(path: Path) -> Runner:
    """The model in bf16 on this machine's CPU."""
    return _open(path, "bf16")


def _open(path: Path, precision: str) -> Runner:
    # Unless told otherwise OpenVINO computes an fp32 file in bf16 where the CPU can.
    model = _core().read_model(path)
    model.reshape({WAVEFORM: [1, model.input(WAVEFORM).get_partial_shape()[1]]})  # as the backend does
    request = _core().compile_model(model, DEVICE, {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()
    found = {name for output in model.outputs for name in output.get_names()}
    names = [name for name in OUTPUTS if name in found or name != IDENTITY]

    def answer(waveform: Samples) -> list[Any]:
        request.infer({WAVEFORM: waveform})
        return [request.get_tensor(name).data.copy() for name in names]

    def run(waveforms: Samples) -> Answers:
        rows = [answer(np.ascontiguousarray(waveform)[None]) for waveform in waveforms]
        logits, score, *identity = (np.concatenate(column) for column in zip(*rows, strict=True))
        return Answers(logits, score, identity[0] if identity else None)

    return run


def why_no_bf16() -> str:
    """What this machine lacks to compute in bf16, and so to judge it; empty where it can."""
    capabilities = _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    if "BF16" in capabilities:
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
    file="model.onnx",
    backend="openvino",
    runtime="OpenVINO",
    version=f"opset {OPSET}",
    write=write_onnx,
    open=open_openvino,
    openers={"bf16": open_openvino_bf16},
    parameters={"cpu": BACKEND_PARAMETERS},
    precision_parameters={"bf16": {"HINT_BF16": "YES"}},
    is_named=True,  # it would open model.xml
    # The backend makes the batch a constant, `max_batch_size`. It can pad a smaller one, but what it counted as padding
    # stays for the next, full batch, whose last answers it then cuts off (`batch_pad_size_` in src/openvino.cc).
    max_batch_size=1,
    # INT64 is computed as INT32 on a CPU, and what is larger becomes the largest INT32.
    identity_bits=32,
    runs_on_gpu=False,
    takes_clips=False,  # the backend is written for models of fixed shapes
)
