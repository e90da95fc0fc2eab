"""Detector → ``config.pbtxt``: tensors, batching, queue, warm-up and the model card, for a CPU and for a GPU.

Format: Triton's ``model_config.proto``, through the protobuf classes that tritonclient ships, so that a wrong field
name is an error here and not at the server.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from dfcontract.card import ModelCard
from dfcontract.tensors import IDENTITY, OUTPUTS, WARMUP_FILE, WAVEFORM, Samples, Tensor
from dfexport.errors import ExportError
from dfexport.formats import find_format
from dfexport.precision import find_reduction
from dfexport.registry import DETECTORS
from dfexport.spec import DetectorSpec

HEADER = "# Written by dfexport; build again rather than edit.\n"
CONFIG_FILE = "config.pbtxt"
ENGINES_DIR = "/engines"  # in the container, where `dfdeploy serve --profile tensorrt` mounts a folder to write to


@dataclass(frozen=True)
class Profile:
    """How one kind of machine runs a detector.

    Attributes:
        name: in the table, and of the file under ``configs``.
        instance_kind: KIND_CPU or KIND_GPU.
        max_batch_size: clips of one inference.
        warmup_batches: batch sizes tried before the model is ready, in this order.
        max_queue_delay_us: how long a request may wait for companions.
        preferred_batch_sizes: what a batch is sent off at without waiting longer.
        least_tolerance: of the self-check: how far other hardware than that of the build moves logits.
    """

    name: str
    instance_kind: str
    max_batch_size: int
    warmup_batches: tuple[int, ...]
    max_queue_delay_us: int
    preferred_batch_sizes: tuple[int, ...] = ()
    least_tolerance: float = 0.0


# What NVIDIA's image serves on a CPU, whose backends can do less than our twins of them. It is also the one without a
# name, which a Triton reads that was told of no profile.
NVIDIA_CPU = "nvidia_cpu"
_PROFILES = (
    # A batch is hardly faster than its clips on a CPU, so nothing waits for companions; what queues up goes together.
    Profile("cpu", "KIND_CPU", max_batch_size=8, warmup_batches=(1,), max_queue_delay_us=0),
    Profile(NVIDIA_CPU, "KIND_CPU", max_batch_size=8, warmup_batches=(1,), max_queue_delay_us=0),
    # The first request of a new batch size can take seconds, and each change of size has cuDNN plan its convolutions
    # anew, so there are few sizes. The largest is tried first: memory taken for it serves the smaller ones, where the
    # other way round each would add its own (AASIST up to 32: 7.6 GB; down from 8: 1.1, simulated).
    Profile(
        "gpu",
        "KIND_GPU",
        max_batch_size=32,
        warmup_batches=(32, 16, 8, 4, 2, 1),
        max_queue_delay_us=2_000,
        preferred_batch_sizes=(8, 16, 32),
        least_tolerance=1e-3,
    ),
)
# The same on a GPU, with fp16 builds compiled by TensorRT: asked for by name, as the first start takes minutes and the
# engines want a place to be kept in.
TENSORRT = "tensorrt"
PROFILES = {profile.name: profile for profile in (*_PROFILES, replace(_PROFILES[-1], name=TENSORRT))}


def write_model(folder: Path, spec: DetectorSpec, card: ModelCard, waveform: Samples) -> None:
    """Write configs and warm-up data beside ``<folder>/1``.

    Args:
        folder: the model's folder.
        spec: the detector.
        card: the model card, which names the model at the server.
        waveform: ``(window_samples,)``, the warm-up's and the self-check's input.
    """
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    waveform.astype("<f4").tofile(folder / WARMUP_FILE)
    for profile in PROFILES.values():
        text = config_text(spec, card, profile)
        (folder / "configs" / f"{profile.name}.pbtxt").write_text(text, encoding="utf-8")
        if profile.name == NVIDIA_CPU:
            (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def config_text(spec: DetectorSpec, card: ModelCard, profile: Profile) -> str:
    """A ``config.pbtxt`` for one profile."""
    return HEADER + text_format.MessageToString(model_config(spec, card, profile))


def model_config(spec: DetectorSpec, card: ModelCard, profile: Profile) -> pb.ModelConfig:
    """The same as Triton's own message, from the detector, its card, the format's row and the precision's."""
    form, reduction = find_format(card.format), find_reduction(card.precision, card.format)
    is_for_cpus = not form.runs_on_gpu or (reduction is not None and not reduction.runs_on_gpu)
    if is_for_cpus and profile.instance_kind == "KIND_GPU":
        profile = PROFILES[NVIDIA_CPU]
    limits = [form.max_batch_size, reduction.max_batch_size if reduction else None]
    if profile.name != "cpu" or not spec.has_encoder:
        limits.append(form.native_max_batch_size)
    max_batch_size = min(profile.max_batch_size, spec.max_batch_size, *filter(None, limits))
    outputs = {name: tensor for name, tensor in OUTPUTS.items() if name != IDENTITY or card.identity}
    config = pb.ModelConfig(
        name=card.model,
        backend=form.backend,
        default_model_filename=form.file if form.is_named else "",
        max_batch_size=max_batch_size,
        # Triton puts waveforms of one length into a batch, unless a model asks for others (allow_ragged_batch).
        input=[pb.ModelInput(name=WAVEFORM, data_type=pb.TYPE_FP32, dims=[-1 if card.clip else card.window_samples])],
        output=[model_output(name, tensor) for name, tensor in outputs.items()],
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.Kind.Value(profile.instance_kind))],
        # No default_queue_policy: with one, a request that comes while another is computed mostly waits for half a
        # second beside an idle model. Who has waited for too long is refused by dfdeploy.backends.common.lateness.
        dynamic_batching=pb.ModelDynamicBatching(max_queue_delay_microseconds=profile.max_queue_delay_us),
        model_warmup=[_warmup(batch, card.window_samples) for batch in _up_to(max_batch_size, profile.warmup_batches)],
    )
    config.dynamic_batching.preferred_batch_size.extend(_up_to(max_batch_size, profile.preferred_batch_sizes))
    if profile.name == TENSORRT and card.precision in form.tensorrt_precisions:
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
        accelerator.parameters.update(_tensorrt_options(card, max_batch_size))
    if profile.instance_kind == "KIND_GPU" and card.precision in form.cuda_options:
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
        accelerator.parameters.update(form.cuda_options[card.precision])
    parameters = {**_tolerant(card, profile).to_parameters(), **form.parameters_of(profile.name, card.precision)}
    if card.clip:
        parameters |= form.clip_parameters
    for key, value in sorted(parameters.items()):
        config.parameters[key].string_value = value
    return config


def _tensorrt_options(card: ModelCard, max_batch_size: int) -> dict[str, str]:
    """Engines that are kept, and the batches that they are made for: least, usual, largest.

    Graphs are strongly typed in TensorRT 11: no option says fp16, the graph's own types do. Keys: ONNX Runtime's page
    about its TensorRT execution provider, "Execution Provider Options".
    """
    sizes = {"min": 1, "opt": max(max_batch_size // 2, 1), "max": max_batch_size}
    least, most = card.clip or (card.window_samples, card.window_samples)
    samples = {"min": least, "opt": card.window_samples, "max": most}
    shapes = {f"trt_profile_{name}_shapes": f"{WAVEFORM}:{size}x{samples[name]}" for name, size in sizes.items()}
    return {"trt_engine_cache_enable": "1", "trt_engine_cache_path": f"{ENGINES_DIR}/{card.model}"} | shapes


def _tolerant(card: ModelCard, profile: Profile) -> ModelCard:
    check = card.self_check
    if check is None:
        return card
    return replace(card, self_check=replace(check, tolerance=max(check.tolerance, profile.least_tolerance)))


def _up_to(limit: int, sizes: Iterable[int]) -> list[int]:
    return [size for size in sizes if size <= limit]


def model_output(name: str, tensor: Tensor) -> pb.ModelOutput:
    """A tensor of the contract as an output of a configuration."""
    return pb.ModelOutput(name=name, data_type=pb.DataType.Value(f"TYPE_{tensor.datatype}"), dims=[tensor.width])


def read_card(folder: Path) -> ModelCard:
    """The card of a built model.

    Raises:
        ExportError: there is no configuration, or none that can be read.
        CardError: it holds no card.
    """
    path = folder / CONFIG_FILE
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), pb.ModelConfig())
    except FileNotFoundError:
        command = folder.name if folder.name in DETECTORS else f"DETECTOR --as {folder.name}"
        raise ExportError(f"nothing built at {folder}; run dfexport build {command}") from None
    except (OSError, ValueError, text_format.ParseError) as error:
        raise ExportError(f"{path}: cannot read it: {error}; build the model again") from None
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    return ModelCard.from_parameters(folder.name, "", parameters)


def _warmup(batch: int, window_samples: int) -> pb.ModelWarmup:
    data = pb.ModelWarmup.Input(data_type=pb.TYPE_FP32, dims=[window_samples], input_data_file=WAVEFORM)
    return pb.ModelWarmup(name=f"batch {batch}", batch_size=batch, inputs={WAVEFORM: data})
