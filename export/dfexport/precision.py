"""Fewer bits for the encoder's weights: from an fp32 network and file that have passed parity to fp16 or int8.

Only the XLS-R encoder is touched, 99 % of the arithmetic; the heads keep fp32.

- fp16, for GPUs: everything in the encoder but its layer norms, whose sums of squares overflow.
- int8, for CPUs: the encoder's MatMuls by a weight (attention projections, feed-forward: 96 % of the weights), weights
  per output channel, activations as they come. The convolutions stay fp32: they hear the waveform itself, whose range
  is the recording's level. Attention's own products have no weights to shrink.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from dfexport.layers.xlsr import halve
from dfexport.spec import PrecisionName
from dfexport.to_onnx import SCOPES, to_onnx

ENCODER_SCOPE = "'network.encoder'"
# From the network, its window and its fp32 file to the file to write.
Convert = Callable[[nn.Module, int, Path, Path], None]


@dataclass(frozen=True)
class DriftLimits:
    """How far scores may be from fp32's for a build to succeed.

    Attributes:
        max_difference: of one clip's score.
        mean_difference: over the clips.
        rank_correlation: least Spearman correlation, judged from ten clips on.
        eer_difference: between both equal error rates, a proportion; judged where a protocol is given.
    """

    max_difference: float
    mean_difference: float
    rank_correlation: float
    eer_difference: float


@dataclass(frozen=True)
class Precision:
    """A row: how a file is converted, what it is called in the card, how far it may drift.

    ``max_batch_size`` is 1 where a batch would share one scale for its activations: then a clip's score would depend on
    its neighbours.
    """

    convert: Convert
    note: str
    limits: DriftLimits
    max_batch_size: int | None = None


def to_fp16(network: nn.Module, window_samples: int, _fp32: Path, target: Path) -> None:
    """Write ``target``: the encoder in fp16; inputs, outputs, layer norms and the head in fp32. Alters ``network``."""
    halve(network.get_submodule("encoder"))  # type: ignore[arg-type]
    to_onnx(network, window_samples, target)


def to_int8(_network: nn.Module, _window_samples: int, fp32: Path, target: Path) -> None:
    """Write ``target``: the encoder's MatMuls by a weight in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(fp32, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    chosen = [
        node.name for node in graph.node if node.op_type == "MatMul" and _in_encoder(node) and node.input[1] in weights
    ]
    quantize_dynamic(
        fp32,
        target,
        nodes_to_quantize=chosen,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True},
    )
    for file in target.parent.iterdir():
        file.chmod(0o644)  # the quantizer's are its owner's alone, and a container serves as another user


PRECISIONS: dict[PrecisionName, Precision] = {
    "fp16": Precision(
        to_fp16,
        "fp16 encoder, for GPUs; layer norms and the head stay fp32",
        DriftLimits(max_difference=0.05, mean_difference=0.02, rank_correlation=0.99, eer_difference=0.002),
    ),
    "int8": Precision(
        to_int8,
        "int8 weights in the encoder's matrix products, for CPUs; convolutions, layer norms and the head stay fp32. "
        "Its accuracy could not be judged where this was written: no published XLS-R weights were at hand, only "
        "weights filled by rule; judge it on labelled recordings of your own (--drift-audio, --drift-protocol)",
        DriftLimits(max_difference=0.5, mean_difference=0.1, rank_correlation=0.98, eer_difference=0.01),
        max_batch_size=1,
    ),
}


def _in_encoder(node: onnx.NodeProto) -> bool:
    scopes: Iterable[str] = (entry.value for entry in node.metadata_props if entry.key == SCOPES)
    return any(ENCODER_SCOPE in scope for scope in scopes)
