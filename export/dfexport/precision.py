"""How many bits a detector is built in: a row each. fp16 and int8 touch the XLS-R encoder alone, 99 % of the sums.

- fp32: as trained.
- fp16, for GPUs: everything in the encoder but its layer norms, whose sums of squares overflow; the head keeps fp32.
- bf16, for CPUs that have it: the whole network, by OpenVINO, which rounds as it loads the fp32 file.
- int8, for CPUs: the encoder's matrix products by a weight (its extractor's, its attention's projections, feed-forward:
  97 % of the weights), weights scaled per output channel, activations by the range that they have. ONNX Runtime takes
  the range of a whole clip, so that it serves clips one at a time; OpenVINO that of 128 values of a frame, and computes
  the rest of the network in bf16 where the CPU has it. The product of the waveform itself stays as it is, and so do
  attention's own, which have no weights to shrink.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dfcontract.tensors import Samples
from dfexport.errors import ExportError, unknown
from dfexport.formats import Format
from dfexport.formats.onnx import SCOPES
from dfexport.formats.openvino import why_no_bf16

if TYPE_CHECKING:
    import onnx

    from dfexport.formats.served import ServedDetector

# The encoder's, or a part of it: some detectors run its parts one by one, for every layer's output.
ENCODER_SCOPES = ("'network.encoder'", "'network.encoder.")
# The product of the waveform itself, whose range is the recording's level: quiet words beside loud ones would be lost.
WAVEFORM_SCOPE = "'network.encoder.feature_extractor.first'"
# Instructions that add products of 8 bits without overflow; without them a sum of two products saturates at 16 bits.
VNNI_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class DriftLimits:
    """How far scores may be from fp32's for a build to succeed.

    Attributes:
        max_difference: of one clip's score.
        mean_difference: over the clips.
        rank_correlation: least Spearman correlation, judged from ten clips on.
        eer_difference: between both equal error rates, a proportion; judged where labels are given.
    """

    max_difference: float
    mean_difference: float
    rank_correlation: float
    eer_difference: float


@dataclass(frozen=True)
class Conversion:
    """What a precision may start from, and where it writes to.

    Attributes:
        served: the network, which may be altered.
        window_samples: of its input.
        form: the format to write.
        fp32: the same detector as an fp32 file, which has passed parity.
        target: the file to write.
        reduce_range: whether 8-bit weights use 7 bits.
    """

    served: "ServedDetector"
    window_samples: int
    form: Format
    fp32: Path
    target: Path
    reduce_range: bool


@dataclass(frozen=True)
class Reduction:
    """What fewer bits than fp32 take.

    Attributes:
        convert: writes the file, in the format of its row.
        note: what it is, for the card.
        limits: how far scores may drift.
        without_encoder: why a detector without an XLS-R encoder is not built in it; "" where it is.
        self_check_tolerance: how far another machine's logits may be from those of the machine that built it.
        max_batch_size: 1 where a batch would share one scale for its activations: then a clip's score would depend on
            its neighbours.
        has_range: whether its weights can use fewer values than their type has.
        missing: what this machine lacks to build it, in words; empty where it can.
        runs_on_gpu: whether ONNX Runtime's CUDA provider has its operators; else it runs on the CPU in every profile.
    """

    convert: Callable[[Conversion], None]
    note: str
    limits: DriftLimits
    self_check_tolerance: float
    without_encoder: str = ""
    max_batch_size: int | None = None
    has_range: bool = False
    missing: Callable[[], str] = lambda: ""
    runs_on_gpu: bool = True

    def note_for(self, *, reduce_range: bool) -> str:
        """The note, with the range of the weights where that matters."""
        if not self.has_range:
            return self.note
        if reduce_range:
            return f"{self.note}. Weights use 7 of 8 bits, so that sums do not saturate on CPUs without VNNI"
        return f"{self.note}. Weights use 8 bits: on CPUs without VNNI sums can saturate (build it there)"


def to_fp16(job: Conversion) -> None:
    """Write the encoder in fp16; inputs, outputs, layer norms and the head in fp32. Alters the network."""
    import torch

    from dfexport.layers.sixteen_bits import reduce_encoder

    reduce_encoder(job.served.get_submodule("network.encoder"), torch.float16)  # type: ignore[arg-type]
    job.form.write(job.served, job.window_samples, job.target)


def to_bf16(job: Conversion) -> None:
    """Take the fp32 file as it is: the runtime is told to compute in bf16."""
    for file in job.fp32.parent.iterdir():
        file.rename(job.target.parent / file.name)


def to_int8(job: Conversion) -> None:
    """Write the encoder's products by a weight in int8, for ONNX Runtime: a clip's values by the range they have."""
    _write_int8(job, _integer_product)


def to_int8_weights(job: Conversion) -> None:
    """Write the weights of the same products in int8, each dequantized again: from that OpenVINO computes in int8."""
    _write_int8(job, _product_of_dequantized)


def _write_int8(job: Conversion, write: "Callable[[onnx.NodeProto], list[onnx.NodeProto]]") -> None:
    """Write the encoder's MatMuls by a weight as other nodes, each weight as integers and a scale for each column.

    Weights are read one by one: those of a billion parameters fill a small machine's memory, and the network that they
    come from is still there. Nodes that several products share are written once.
    """
    import onnx

    model = onnx.load(job.fp32, load_external_data=False)
    graph = model.graph
    products = {node.output[0] for node in _products_by_weight(graph)}
    weights = {node.input[1] for node in graph.node if node.output[0] in products}
    largest = 64 if job.reduce_range else 127
    tensors = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor, str(job.fp32.parent))
        parts = {tensor.name: values}
        if tensor.name in weights:
            parts = dict(zip(_names(tensor.name)[:2], per_channel_int8(values, largest), strict=True))
        tensors += [onnx.numpy_helper.from_array(part, name) for name, part in parts.items()]
    nodes: dict[str, onnx.NodeProto] = {}  # by what they make, in order
    for node in [*graph.node]:
        for written in write(node) if node.output[0] in products else [node]:
            nodes.setdefault(written.output[0], written)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes.values())
    onnx.save(model, job.target, save_as_external_data=True, location=f"{job.target.name}.data")
    _let_all_read(job.target.parent)


def _names(name: str) -> tuple[str, str, str]:
    """Of a tensor's integers, their scale, and which of them stands for 0."""
    return f"{name}.int8", f"{name}.scale", f"{name}.zero"


def _integer_product(product: "onnx.NodeProto") -> "list[onnx.NodeProto]":
    """What ONNX Runtime merges into one operator, DynamicQuantizeMatMul or MatMulIntegerToFloat."""
    from onnx import TensorProto, helper

    (values, weight), (answer,) = product.input, product.output
    integers, scale, zero = _names(values)
    weight_integers, weight_scale, _ = _names(weight)
    sums, floats, scales = f"{answer}.sums", f"{answer}.floats", f"{answer}.scale"
    return [
        helper.make_node("DynamicQuantizeLinear", [values], [integers, scale, zero]),
        helper.make_node("MatMulInteger", [integers, weight_integers, zero], [sums]),
        helper.make_node("Cast", [sums], [floats], to=TensorProto.FLOAT),
        helper.make_node("Mul", [scale, weight_scale], [scales]),
        helper.make_node("Mul", [floats, scales], [answer]),
    ]


def _product_of_dequantized(product: "onnx.NodeProto") -> "list[onnx.NodeProto]":
    from onnx import helper

    (values, weight), (answer,) = product.input, product.output
    integers, scale, _ = _names(weight)
    dequantized = f"{weight}.dequantized"
    return [
        helper.make_node("DequantizeLinear", [integers, scale], [dequantized], axis=1),
        helper.make_node("MatMul", [values, dequantized], [answer]),
    ]


def per_channel_int8(weight: Samples, largest: int = 127) -> tuple[NDArray[np.int8], Samples]:
    """A weight (in, out) as integers up to ``largest``, and each column's scale; neither exceeds the other's range."""
    scale = np.abs(weight).max(axis=0) / np.float32(largest)
    scale[scale == 0] = 1
    return np.rint(weight / scale).astype(np.int8), scale


def _let_all_read(folder: Path) -> None:
    """What this library writes is its owner's alone, and a container serves as another user."""
    for file in folder.iterdir():
        file.chmod(0o644)


def _products_by_weight(graph: "onnx.GraphProto") -> list["onnx.NodeProto"]:
    """The encoder's.

    Raises:
        ExportError: there are none.
    """
    weights = {tensor.name for tensor in graph.initializer}
    found = [node for node in graph.node if node.op_type == "MatMul" and _in_encoder(node) and node.input[1] in weights]
    if not found:
        raise ExportError("expected matrix products of an encoder to write in int8, found none in the exported graph")
    return found


def _in_encoder(node: "onnx.NodeProto") -> bool:
    scopes = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
    return any(scope in entry and WAVEFORM_SCOPE not in entry for entry in scopes for scope in ENCODER_SCOPES)


FP32 = "fp32"
PRECISIONS = (FP32, "fp16", "bf16", "int8")
_INT8_UNJUDGED = (
    "Its accuracy could not be judged where this was written: no published XLS-R weights were at hand, only weights "
    "filled by rule; judge it on labelled recordings of your own (--drift-audio, --drift-labels)"
)
_INT8 = Reduction(
    to_int8,
    "int8 weights in the encoder's matrix products, for CPUs; its convolutions, layer norms and the head stay fp32. "
    + _INT8_UNJUDGED,
    DriftLimits(max_difference=0.5, mean_difference=0.1, rank_correlation=0.98, eer_difference=0.01),
    # The last bit of an fp32 value decides whether an activation is rounded up or down to a step of int8: changing
    # the waveform by a millionth moved 24 layers' logits by up to 0.1.
    self_check_tolerance=0.2,
    without_encoder=(
        "it has no XLS-R encoder, and int8 ruins its convolutions: measured on aasist, a quarter faster at best, "
        "its scores correlated by 0.80 to 0.98 with fp32's and its EER rose by 3 to 9 points "
        "(docs/detectors.md, Precision)"
    ),
    max_batch_size=1,
    has_range=True,
    runs_on_gpu=False,
)
_FP16 = Reduction(
    to_fp16,
    "fp16 encoder, for GPUs; layer norms and the head stay fp32",
    DriftLimits(max_difference=0.05, mean_difference=0.02, rank_correlation=0.99, eer_difference=0.002),
    # A GPU rounds in other places than the CPU that built it, and AASIST's pooling keeps the nodes that score highest:
    # where two are as good as equal, a last bit decides which. An H100 moved logits of noise by up to 0.032.
    self_check_tolerance=0.05,
    without_encoder="it has no XLS-R encoder, and fp16 would save nothing",
)
# By precision and format; fp32 has no row: its file, which parity has judged, is served as it is.
REDUCTIONS = {
    ("fp16", "onnx"): _FP16,
    ("fp16", "torchscript"): _FP16,
    ("bf16", "openvino"): Reduction(
        to_bf16,
        "the fp32 graph, computed in bf16 by CPUs that have it (AVX512_BF16, AMX)",
        DriftLimits(max_difference=0.05, mean_difference=0.02, rank_correlation=0.99, eer_difference=0.005),
        # bf16 keeps 8 bits of a number: it moved logits by 0.011 (XLS-R) and 0.017 (AASIST), and a server on a CPU
        # without it answers as in fp32.
        self_check_tolerance=0.05,
        missing=why_no_bf16,
        runs_on_gpu=False,
    ),
    ("int8", "onnx"): _INT8,
    ("int8", "openvino"): replace(
        _INT8,
        convert=to_int8_weights,
        note="int8 weights in the encoder's matrix products, for CPUs with VNNI; the rest in bf16 where the CPU has "
        f"it. {_INT8_UNJUDGED}",
        max_batch_size=None,
        has_range=False,
    ),
}


def find_reduction(precision: str, form: str) -> Reduction | None:
    """Look a precision up in a format; None for fp32.

    Raises:
        ExportError: no such precision, or none in this format.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == FP32:
        return None
    if (precision, form) not in REDUCTIONS:
        others = [other for of, other in REDUCTIONS if of == precision]
        raise ExportError(f"--precision {precision} goes with --format {' or '.join(others)}, not with {form}")
    return REDUCTIONS[precision, form]


def needs_reduced_range(cpu_info: str) -> bool:
    """Whether ``/proc/cpuinfo`` is that of an x86 CPU whose 8-bit sums saturate."""
    flags = next((line.partition(":")[2].split() for line in cpu_info.splitlines() if line.startswith("flags")), None)
    return flags is not None and not VNNI_FLAGS & set(flags)


def this_cpu_needs_reduced_range() -> bool:
    """Whether this machine's CPU is one; no where that can't be told."""
    try:
        return needs_reduced_range(CPU_INFO.read_text(encoding="utf-8"))
    except OSError:
        return False
