"""Detector → ``config.pbtxt``: tensors, batching, queue, warm-up and the model card, for a CPU and for a GPU.

Format: Triton's ``model_config.proto``, through the protobuf classes that tritonclient ships, so that a wrong field
name is an error here and not at the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2 as pb

from dfexport.formats import FORMATS
from dfexport.precision import PRECISIONS
from dfexport.spec import SAMPLE_RATE_HZ, DetectorSpec, FormatName, PrecisionName
from dfexport.to_onnx import INPUT, OUTPUTS

WARMUP_FILE = INPUT  # <model>/warmup/WAVEFORM
QUEUE_TIMEOUT_US = 60_000_000


@dataclass(frozen=True)
class Profile:
    """How one kind of machine runs a detector.

    Attributes:
        instance_kind: KIND_CPU or KIND_GPU.
        max_batch_size: clips of one inference.
        warmup_batches: batch sizes tried before the model is ready.
        max_queue_delay_us: how long a request may wait for companions.
        max_queue_size: requests waiting; more are rejected at once.
        backend_options: ``parameters`` for each backend.
    """

    instance_kind: str
    max_batch_size: int
    warmup_batches: tuple[int, ...]
    max_queue_delay_us: int
    max_queue_size: int
    backend_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# No gradients; and no profiling executor, which compiles again at each batch size that it meets.
TORCHSCRIPT_OPTIONS = {"INFERENCE_MODE": "true", "DISABLE_OPTIMIZED_EXECUTION": "true"}
PROFILES = {
    # A batch is no faster than its clips on a CPU, so nothing waits for companions; what queues up goes together.
    "cpu": Profile(
        "KIND_CPU",
        max_batch_size=8,
        warmup_batches=(1,),
        max_queue_delay_us=0,
        max_queue_size=128,
        backend_options={"pytorch": TORCHSCRIPT_OPTIONS},
    ),
    "gpu": Profile(
        "KIND_GPU",
        max_batch_size=32,
        # The first request of a new batch size can take seconds.
        warmup_batches=(1, 2, 4, 8, 16, 32),
        max_queue_delay_us=2_000,
        max_queue_size=512,
        # 1 is kSameAsRequested: grow by what is asked for, not by doubling. 1 is HEURISTIC: DEFAULT is slow since 1.20.
        backend_options={
            "onnxruntime": {"arena_extend_strategy": "1", "cudnn_conv_algo_search": "1"},
            "pytorch": TORCHSCRIPT_OPTIONS,
        },
    ),
}
DEFAULT_PROFILE = "cpu"


def write_model(
    folder: Path, name: str, spec: DetectorSpec, card: Mapping[str, str], waveform: NDArray[np.float32]
) -> None:
    """Write configs and warm-up data beside ``<folder>/1``.

    Args:
        folder: the model's folder.
        name: the model's name at the server.
        spec: the detector.
        card: the model card, all text.
        waveform: ``(window_samples,)``, the warm-up's and the self-check's input.
    """
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "warmup").mkdir(exist_ok=True)
    waveform.astype("<f4").tofile(folder / "warmup" / WARMUP_FILE)
    for profile_name, profile in PROFILES.items():
        text = config_text(name, spec, card, profile)
        (folder / "configs" / f"{profile_name}.pbtxt").write_text(text)
        if profile_name == DEFAULT_PROFILE:
            (folder / "config.pbtxt").write_text(text)


def config_text(name: str, spec: DetectorSpec, card: Mapping[str, str], profile: Profile) -> str:
    """The text of one ``config.pbtxt``."""
    header = "# Written by dfexport; build again rather than edit.\n"
    return header + text_format.MessageToString(model_config(name, spec, card, profile))


def model_config(name: str, spec: DetectorSpec, card: Mapping[str, str], profile: Profile) -> pb.ModelConfig:
    """Triton's ModelConfig."""
    backend = FORMATS[built_format(card)].backend
    precision = PRECISIONS.get(built_precision(card))
    limit = (precision and precision.max_batch_size) or profile.max_batch_size
    config = pb.ModelConfig(
        name=name,
        backend=backend,
        max_batch_size=min(limit, profile.max_batch_size),
        input=[pb.ModelInput(name=INPUT, data_type=pb.TYPE_FP32, dims=[spec.window_samples])],
        output=[
            pb.ModelOutput(name=output, data_type=pb.TYPE_FP32, dims=[width])
            for output, width in zip(OUTPUTS, (2, 1), strict=True)
        ],
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.Kind.Value(profile.instance_kind))],
        dynamic_batching=pb.ModelDynamicBatching(
            max_queue_delay_microseconds=profile.max_queue_delay_us,
            default_queue_policy=pb.ModelQueuePolicy(
                timeout_action=pb.ModelQueuePolicy.REJECT,
                default_timeout_microseconds=QUEUE_TIMEOUT_US,
                allow_timeout_override=True,
                max_queue_size=profile.max_queue_size,
            ),
        ),
        model_warmup=[_warmup(batch, spec.window_samples) for batch in profile.warmup_batches if batch <= limit],
    )
    for key, value in sorted({**card, **profile.backend_options.get(backend, {})}.items()):
        config.parameters[key].string_value = value
    return config


def _warmup(batch: int, window_samples: int) -> pb.ModelWarmup:
    data = pb.ModelWarmup.Input(data_type=pb.TYPE_FP32, dims=[window_samples], input_data_file=WARMUP_FILE)
    return pb.ModelWarmup(name=f"batch {batch}", batch_size=batch, inputs={INPUT: data})


def built_format(card: Mapping[str, str]) -> FormatName:
    """The format that a card states."""
    return "torchscript" if card["format"] == "torchscript" else "onnx"


def built_precision(card: Mapping[str, str]) -> PrecisionName:
    """The precision that a card states."""
    names: dict[str, PrecisionName] = {name: name for name in ("fp16", "int8")}
    return names.get(card["precision"], "fp32")


def read_card(folder: Path) -> dict[str, str]:
    """The card of a built model."""
    config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
    return {key: value.string_value for key, value in config.parameters.items()}


def model_card(
    spec: DetectorSpec,
    *,
    weights: str,
    sha256: str,
    source: str,
    self_check_logits: tuple[float, float],
    format: FormatName = "onnx",
    precision: PrecisionName = "fp32",
) -> dict[str, str]:
    """What a client should know about the scores it gets; the ``parameters`` of the config."""
    pretrained = weights == "pretrained"
    fewer_bits = PRECISIONS.get(precision)
    tolerance = fewer_bits.limits.max_difference if fewer_bits else spec.tolerance
    card = {
        "detector": spec.name,
        "sample_rate_hz": str(SAMPLE_RATE_HZ),
        "window_samples": str(spec.window_samples),
        "score_kind": spec.score_kind,
        "score_polarity": "higher_is_bona_fide",
        "weights": weights,
        "checkpoint_sha256": sha256,
        "checkpoint_source": source,
        "licence": spec.checkpoint.licence
        if pretrained
        else "none: seeded weights"
        if weights == "random"
        else "yours",
        "paper": spec.paper,
        "published_result": spec.published_result if pretrained else f"none for {weights} weights",
        "format": format,
        "precision": precision,
        "self_check_logits": " ".join(f"{logit:.7g}" for logit in self_check_logits),
        "self_check_tolerance": f"{tolerance:g}",
    }
    if fewer_bits:
        card["precision_note"] = fewer_bits.note
    if pretrained and spec.threshold is not None:
        card |= {"threshold": f"{spec.threshold.score:g}", "threshold_source": spec.threshold.set_on}
    return card
