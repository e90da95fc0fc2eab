"""Network → ONNX: static time, dynamic batch, the contract's tensor names."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from dfexport.errors import ExportError

INPUT = "WAVEFORM"
OUTPUTS = ("LOGITS", "SCORE")
OPSET = 20  # the first with Gelu as one operator
# Triton 24.10 carries ONNX Runtime 1.19, which reads no newer file format.
NEWEST_IR_VERSION = 10
SCOPES = "pkg.torch.onnx.name_scopes"
# Beyond this, weights lie beside the graph: protobuf ends at 2 GB, and ONNX Runtime maps such a file where it would
# first parse, then copy, what is inside the graph.
INLINE_BYTES = 64 << 20


class ServedDetector(nn.Module):
    """What the server answers: WAVEFORM (batch, samples) → LOGITS (batch, 2), SCORE (batch, 1)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """The score is the bona fide column, so that higher means more bona fide."""
        logits: Tensor = self.network(waveform)
        return logits, logits[:, 1:]


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep torch's notes to its own developers (no torchvision, deprecated internals) off the user's screen."""
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


def to_onnx(network: nn.Module, window_samples: int, path: Path) -> None:
    """Write what the server answers for a detector; see `write_onnx`."""
    write_onnx(ServedDetector(network), OUTPUTS, window_samples, path)


def write_onnx(module: nn.Module, outputs: Sequence[str], window_samples: int, path: Path) -> None:
    """Write ``path``, and ``<path>.data`` for the weights of a module beyond 64 MB.

    Args:
        module: WAVEFORM (batch, samples) → a tuple of tensors.
        outputs: their names.
        window_samples: length of a waveform.
        path: where to.

    Raises:
        ExportError: the file would not load in the server's ONNX Runtime.
    """
    example = torch.zeros(2, window_samples)  # two rows, or the exporter would take the batch for a constant
    with quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes={"waveform": {0: torch.export.Dim("batch")}},
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
