"""How many bits a detector is built in: a row each. fp16 and int8 touch the XLS-R encoder alone, 99 % of the sums.

- fp32: as trained.
- fp16, for GPUs: everything in the encoder but its layer norms, whose sums of squares overflow; the head keeps fp32.
- bf16, for CPUs that have it: the whole network, by OpenVINO, which rounds as it loads the fp32 file.
- int8, for CPUs: the encoder's MatMuls by a weight (attention projections, feed-forward: 96 % of the weights), weights
  scaled per output channel, activations by the range that they have in each clip. The convolutions stay fp32: their
  input is the waveform itself, whose range is the recording's level. Attention's own products have no weights to
  shrink.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfexport.errors import ExportError, unknown
from dfexport.formats import Format
from dfexport.formats.onnx import SCOPES, quiet_exporter
from dfexport.formats.openvino import why_no_bf16

if TYPE_CHECKING:
    import onnx

    from dfexport.formats.served import ServedDetector

# The encoder's, or a part of it: some detectors run its parts one by one, for every layer's output.
ENCODER_SCOPES = ("'network.encoder'", "'network.encoder.")
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
        convert: writes the file.
        note: what it is, for the card.
        limits: how far scores may drift.
        without_encoder: why a detector without an XLS-R encoder is not built in it; "" where it is.
        self_check_tolerance: how far another machine's logits may be from those of the machine that built it.
        formats: those that it can be written in.
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
    formats: tuple[str, ...] = ("onnx",)
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
    """Write the encoder's MatMuls by a weight in int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(job.fp32, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    chosen = [
        node.name for node in graph.node if node.op_type == "MatMul" and _in_encoder(node) and node.input[1] in weights
    ]
    if not chosen:
        raise ExportError("expected matrix products of an encoder to write in int8, found none in the exported graph")
    with quiet_exporter(log=""):  # its advice on the root logger is for whoever wrote the graph
        quantize_dynamic(
            job.fp32,
            job.target,
            nodes_to_quantize=chosen,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=job.reduce_range,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={"MatMulConstBOnly": True},
        )
    for file in job.target.parent.iterdir():
        file.chmod(0o644)  # the quantizer's are its owner's alone, and a container serves as another user


def _in_encoder(node: "onnx.NodeProto") -> bool:
    scopes = [entry.value for entry in node.metadata_props if entry.key == SCOPES]
    return any(scope in entry for entry in scopes for scope in ENCODER_SCOPES)


FP32 = "fp32"
# None: the fp32 file, which parity has judged, is served as it is.
PRECISIONS: dict[str, Reduction | None] = {
    FP32: None,
    "fp16": Reduction(
        to_fp16,
        "fp16 encoder, for GPUs; layer norms and the head stay fp32",
        DriftLimits(max_difference=0.05, mean_difference=0.02, rank_correlation=0.99, eer_difference=0.002),
        # fp16 moves 24 layers' logits by 0.002; a GPU rounds in other places than the CPU that built it.
        self_check_tolerance=0.01,
        without_encoder="it has no XLS-R encoder, and fp16 would save nothing",
    ),
    "bf16": Reduction(
        to_bf16,
        "the fp32 graph, computed in bf16 by CPUs that have it (AVX512_BF16, AMX)",
        DriftLimits(max_difference=0.05, mean_difference=0.02, rank_correlation=0.99, eer_difference=0.005),
        # bf16 keeps 8 bits of a number: it moved logits by 0.011 (XLS-R) and 0.017 (AASIST), and a server on a CPU
        # without it answers as in fp32.
        self_check_tolerance=0.05,
        formats=("openvino",),
        missing=why_no_bf16,
        runs_on_gpu=False,
    ),
    "int8": Reduction(
        to_int8,
        "int8 weights in the encoder's matrix products, for CPUs; convolutions, layer norms and the head stay fp32. "
        "Its accuracy could not be judged where this was written: no published XLS-R weights were at hand, only "
        "weights filled by rule; judge it on labelled recordings of your own (--drift-audio, --drift-labels)",
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
    ),
}


def find_precision(name: str) -> Reduction | None:
    """Look a precision up by name; None for fp32.

    Raises:
        ExportError: no such row.
    """
    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)
    return PRECISIONS[name]


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
