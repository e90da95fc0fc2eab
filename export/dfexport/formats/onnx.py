"""ONNX, for Triton's ``onnxruntime`` backend: dynamic batch, the contract's tensor names.

Time is static, but for a network that scores whole clips.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dfcontract.tensors import IDENTITY, OUTPUTS, WAVEFORM, Samples
from dfexport.errors import ExportError
from dfexport.formats.format import Answers, Format, Runner

if TYPE_CHECKING:
    from torch import nn

OPSET = 20  # the first with Gelu as one operator
# Triton 24.10 carries ONNX Runtime 1.19, which reads no newer file format.
NEWEST_IR_VERSION = 10
SCOPES = "pkg.torch.onnx.name_scopes"
# Beyond this, weights lie beside the graph: protobuf ends at 2 GB, and ONNX Runtime maps such a file where it would
# first parse, then copy, what is inside the graph.
INLINE_BYTES = 64 << 20
# 1 is kSameAsRequested: grow by what is asked for, not by doubling. 1 is HEURISTIC: DEFAULT is slow since 1.20. Memory
# patterns keep a plan, and a block as large as it needs, for each batch size.
CUDA_PARAMETERS = {"arena_extend_strategy": "1", "cudnn_conv_algo_search": "1", "enable_mem_pattern": "0"}
# The same holds for each length of a clip, on a CPU too.
CLIP_PARAMETERS = {"enable_mem_pattern": "0"}


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporter's notes to its own developers (no torchvision, deprecated internals) off the user's screen."""
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            yield
        finally:
            exporter_log.setLevel(level)


def write_onnx(module: "nn.Module", window_samples: int, path: Path, outputs: Sequence[str] = tuple(OUTPUTS)) -> None:
    """Write ``path``, and ``<path>.data`` for the weights of a module beyond 64 MB.

    Args:
        module: WAVEFORM (batch, samples) → a tuple of tensors; one with a ``clip`` takes any number of samples.
        window_samples: length of a waveform.
        path: where to.
        outputs: the tensors' names.

    Raises:
        ExportError: the file would not load in the server's ONNX Runtime.
    """
    import onnx
    import torch

    example = torch.zeros(2, window_samples)  # two rows, or the exporter would take the batch for a constant
    axes = {0: torch.export.Dim("batch")}
    if getattr(module, "clip", None) is not None:
        axes[1] = torch.export.Dim.AUTO  # the convolutions' strides put conditions on it that the exporter works out
    with quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[WAVEFORM],
            output_names=list(outputs),
            dynamic_shapes={"waveform": axes},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program")
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    # Stack traces would carry this machine's paths to others; scopes tell the encoder from the head.
    for node in program.model.graph:
        scopes = node.metadata_props.get(SCOPES)
        node.metadata_props.clear()
        if scopes is not None:
            node.metadata_props[SCOPES] = scopes
    program.save(path, external_data=size_bytes > INLINE_BYTES)
    ir_version = onnx.load(path, load_external_data=False).ir_version
    if ir_version > NEWEST_IR_VERSION:
        raise ExportError(f"{path} has ONNX IR version {ir_version}; the server reads up to {NEWEST_IR_VERSION}")


def open_onnx(path: Path) -> Runner:
    """A session on this machine's CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = {output.name for output in session.get_outputs()}
    names = [name for name in OUTPUTS if name in found or name != IDENTITY]

    def run(waveforms: Samples) -> Answers:
        logits, score, *identity = session.run(names, {WAVEFORM: waveforms})
        return Answers(logits, score, identity[0] if identity else None)

    return run


ONNX = Format(
    name="onnx",
    file="model.onnx",
    backend="onnxruntime",
    runtime="ONNX Runtime",
    version=f"opset {OPSET}",
    write=write_onnx,
    open=open_onnx,
    parameters={"gpu": CUDA_PARAMETERS, "tensorrt": CUDA_PARAMETERS},
    clip_parameters=CLIP_PARAMETERS,
    # TF32 rounds what goes into a product to 10 bits, which moves logits by up to 0.009; without it fp16 would lose the
    # tensor cores.
    cuda_options={"fp32": {"use_tf32": "0"}},
    tensorrt_precisions=("fp16",),
)
