"""What is written for Triton: golden configs, round trip, and a card that never flatters."""

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from dfcontract.card import ModelCard
from dfdeploy.backends.common.options import THREADS_PARAMETER
from dfexport import live, repository, swap
from dfexport.build import Build, build, seeded
from dfexport.card import identity, model_card, with_self_check
from dfexport.check import check_built
from dfexport.errors import ExportError, ParityError
from dfexport.formats import FORMATS
from dfexport.precision import REDUCTIONS
from dfexport.registry import DETECTORS, find
from dfexport.signals import wave
from dfexport.spec import Weights

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def card_of(weights: Weights) -> ModelCard:
    card = model_card("aasist", find("aasist"), weights=weights, sha256="ab" * 32, source="somewhere")
    return with_self_check(replace(card, identity=-1234567890123456789), find("aasist"), (1.25, -0.5))


def test_an_identity_is_of_all_that_makes_a_graph() -> None:
    spec = find("aasist")
    made_from = (spec, "ab" * 32, "onnx", "fp32", False)
    others = [
        (find("aasist_l"), *made_from[1:]),
        (replace(spec, window_samples=64_601), *made_from[1:]),
        (spec, "cd" * 32, *made_from[2:]),
        (spec, "ab" * 32, "torchscript", "fp32", False),
        (spec, "ab" * 32, "openvino", "fp32", False),
        (spec, "ab" * 32, "openvino", "bf16", False),
        (spec, "ab" * 32, "onnx", "int8", False),
        (spec, "ab" * 32, "onnx", "int8", True),
    ]
    numbers = [identity(*parts[:4], reduce_range=parts[4]) for parts in (made_from, *others)]
    assert len(set(numbers)) == len(numbers)
    # Another name in the registry for the same network and weights is no other graph.
    assert identity(replace(spec, name="again"), *made_from[1:4], reduce_range=False) == numbers[0]


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_config_is_the_golden_one(profile: str) -> None:
    text = repository.config_text(find("aasist"), card_of("pretrained"), repository.PROFILES[profile])
    assert text == (GOLDEN / f"aasist.{profile}.pbtxt").read_text()


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_text_reads_back_as_the_same_config(profile: str) -> None:
    arguments = (find("aasist"), card_of("pretrained"), repository.PROFILES[profile])
    assert text_format.Parse(repository.config_text(*arguments), pb.ModelConfig()) == repository.model_config(
        *arguments
    )


# What each backend reads of a config's `parameters`, and of a CUDA accelerator's; anything else it would ignore or, in
# an accelerator, refuse at load time. Sources: `ModelState` and `LoadModel` in src/onnxruntime.cc of
# onnxruntime_backend; `ParseParameters` in src/libtorch.cc of pytorch_backend; `ParseParameters` in
# src/openvino.cc of openvino_backend, and its README, "Parameters"; ONNX Runtime's page about its CUDA
# execution provider, "Configurations", and about TensorRT's, "Execution Provider Options".
BACKEND_READS = {
    "onnxruntime": {
        "execution_mode",
        "intra_op_thread_count",
        "inter_op_thread_count",
        "session.use_device_allocator_for_initializers",
        "enable_mem_arena",
        "enable_mem_pattern",
        "share_session_between_instances",
        "cudnn_conv_algo_search",
        "gpu_mem_limit",
        "arena_extend_strategy",
        "do_copy_in_default_stream",
        "memory.enable_memory_arena_shrinkage",
    },
    "pytorch": {
        "DISABLE_OPTIMIZED_EXECUTION",
        "DISABLE_CUDNN",
        "ENABLE_CACHE_CLEANING",
        "INFERENCE_MODE",
        "ENABLE_WEIGHT_SHARING",
        "ENABLE_JIT_EXECUTOR",
        "ENABLE_JIT_PROFILING",
        "ENABLE_TENSOR_FUSER",
        "INTRA_OP_THREAD_COUNT",
        "INTER_OP_THREAD_COUNT",
    },
    "openvino": {
        "SKIP_OV_DYNAMIC_BATCHSIZE",
        "ENABLE_BATCH_PADDING",
        "RESHAPE_IO_LAYERS",
        "CPU_EXTENSION_PATH",
        "INFERENCE_NUM_THREADS",
        "COMPILATION_NUM_THREADS",
        "HINT_BF16",
        "NUM_STREAMS",
        "PERFORMANCE_HINT",
    },
}
PROVIDERS_READ = {
    "cuda": {"use_tf32", "cudnn_conv_use_max_workspace", "prefer_nhwc", "cudnn_conv1d_pad_to_nc1d"},
    "tensorrt": {
        "trt_engine_cache_enable",
        "trt_engine_cache_path",
        "trt_profile_min_shapes",
        "trt_profile_opt_shapes",
        "trt_profile_max_shapes",
    },
}


@pytest.mark.parametrize(("precision", "form"), [*product(["fp32"], FORMATS), *REDUCTIONS])
@pytest.mark.parametrize("profile", repository.PROFILES)
def test_the_backend_reads_every_option_of_a_config(form: str, profile: str, precision: str) -> None:
    card = replace(card_of("custom"), format=form, precision=precision)
    config = repository.model_config(find("ssl_aasist"), card, repository.PROFILES[profile])
    options = config.parameters.keys() - card.to_parameters().keys()
    assert options <= BACKEND_READS[config.backend]
    for accelerator in config.optimization.execution_accelerators.gpu_execution_accelerator:
        assert set(accelerator.parameters) <= PROVIDERS_READ[accelerator.name]


@pytest.mark.parametrize("name", DETECTORS)
def test_every_config_of_every_detector_reads_back(name: str) -> None:
    """In each format, precision and profile, by Triton's own protobuf."""
    spec = find(name)
    for precision, form in [*product(["fp32"], FORMATS), *(row for row in REDUCTIONS if row[0] in spec.precisions)]:
        card = replace(model_card(name, spec, weights="random", sha256="ab" * 32, source="x"), format=form)
        card = replace(card, precision=precision)
        for profile in repository.PROFILES.values():
            config = repository.model_config(spec, card, profile)
            assert text_format.Parse(repository.config_text(spec, card, profile), pb.ModelConfig()) == config
            assert config.max_batch_size >= 1


def test_tensorrt_compiles_what_is_fp16_and_nothing_else() -> None:
    profile = repository.PROFILES["tensorrt"]
    card = replace(card_of("custom"), model="fast", precision="fp16")
    accelerators = repository.model_config(find("ssl_aasist"), card, profile).optimization.execution_accelerators
    (accelerator,) = accelerators.gpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == (
        "tensorrt",
        {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": "/engines/fast",
            "trt_profile_min_shapes": "WAVEFORM:1x64600",
            "trt_profile_opt_shapes": "WAVEFORM:16x64600",
            "trt_profile_max_shapes": "WAVEFORM:32x64600",
        },
    )
    for other in (
        replace(card, precision="fp32"),
        replace(card, precision="fp32", format="torchscript"),
        replace(card, precision="int8"),
    ):
        config = repository.model_config(find("ssl_aasist"), other, profile)
        assert config == repository.model_config(find("ssl_aasist"), other, repository.PROFILES["gpu"])


def test_the_backends_read_the_number_of_threads_by_these_names() -> None:
    assert THREADS_PARAMETER.keys() == BACKEND_READS.keys() == {form.backend for form in FORMATS.values()}
    assert all(key in BACKEND_READS[backend] for backend, key in THREADS_PARAMETER.items())


@pytest.mark.parametrize("profile", repository.PROFILES)
@pytest.mark.parametrize(
    ("detector", "precision"),
    [("aasist", "fp32"), ("aasist", "bf16"), ("sls", "fp32"), ("sls", "bf16"), ("sls", "int8")],
)
def test_openvino_serves_on_a_cpu_and_batches_in_our_twin_alone(profile: str, detector: str, precision: str) -> None:
    card = replace(card_of("custom"), format="openvino", precision=precision)
    config = repository.model_config(find(detector), card, repository.PROFILES[profile])
    assert (config.backend, config.default_model_filename) == ("openvino", "model.onnx")
    assert [group.kind for group in config.instance_group] == [pb.ModelInstanceGroup.KIND_CPU]
    # The native backend answers batches of changing size wrong, and AASIST gains nothing by them.
    assert config.max_batch_size == (4 if (profile, detector) == ("cpu", "sls") else 1)
    assert [warmup.batch_size for warmup in config.model_warmup] == [1]
    asked = config.parameters["HINT_BF16"].string_value if "HINT_BF16" in config.parameters else None
    assert asked == (None if precision == "fp32" else "YES")


@pytest.mark.parametrize(("form", "precision"), [("onnx", "fp32"), ("openvino", "bf16")])
def test_a_triton_that_is_told_of_no_profile_gets_what_nvidias_backends_can_do(
    form: str, precision: str, tmp_path: Path
) -> None:
    spec, card = find("sls"), replace(card_of("custom"), format=form, precision=precision)
    repository.write_model(tmp_path / "sls", spec, card, wave(1, spec.window_samples))
    texts = {name: (tmp_path / "sls/configs" / f"{name}.pbtxt").read_text() for name in repository.PROFILES}
    assert (tmp_path / "sls/config.pbtxt").read_text() == texts["nvidia_cpu"]
    assert (texts["cpu"] == texts["nvidia_cpu"]) == (form == "onnx")


def test_an_identity_fits_what_its_runtime_passes_on() -> None:
    spec = find("aasist")
    numbers = [identity(spec, f"{seed:064x}", "openvino", "fp32", reduce_range=False) for seed in range(200)]
    assert len(set(numbers)) == 200
    assert all(number == np.int32(number) for number in numbers)
    assert {number > 0 for number in numbers} == {True, False}


def gpu_config(detector: str, **changes: str) -> pb.ModelConfig:
    spec = find(detector)
    card = with_self_check(replace(card_of("custom"), **changes), spec, (1.25, -0.5))
    return repository.model_config(spec, card, repository.PROFILES["gpu"])


def test_fp32_stays_fp32_on_a_gpu_and_its_self_check_allows_for_other_hardware() -> None:
    fp32, fp16 = gpu_config("ssl_aasist"), gpu_config("ssl_aasist", precision="fp16")
    (accelerator,) = fp32.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters == {"use_tf32": "0"}
    assert not fp16.optimization.execution_accelerators.gpu_execution_accelerator
    tolerances = [config.parameters["self_check_tolerance"].string_value for config in (fp32, fp16)]
    assert tolerances == ["0.001", "0.05"]
    on_cpu = repository.model_config(find("ssl_aasist"), card_of("custom"), repository.PROFILES["cpu"])
    assert on_cpu.parameters["self_check_tolerance"].string_value == "0.0001"
    assert not on_cpu.HasField("optimization")


def test_the_gpu_takes_the_largest_batch_first_and_no_more_than_the_detector_allows() -> None:
    for detector, warmups, preferred in (
        ("ssl_aasist", [32, 16, 8, 4, 2, 1], [8, 16, 32]),
        ("aasist", [8, 4, 2, 1], [8]),
    ):
        config = gpu_config(detector)
        assert config.max_batch_size == warmups[0]
        assert [warmup.batch_size for warmup in config.model_warmup] == warmups
        assert list(config.dynamic_batching.preferred_batch_size) == preferred


def test_int8_runs_on_the_cpu_in_every_profile() -> None:
    config = gpu_config("ssl_aasist", precision="int8")
    assert [group.kind for group in config.instance_group] == [pb.ModelInstanceGroup.KIND_CPU]
    assert (config.max_batch_size, len(config.model_warmup)) == (1, 1)
    assert not config.dynamic_batching.preferred_batch_size
    assert "cudnn_conv_algo_search" not in config.parameters


@pytest.mark.parametrize("weights", ["custom", "random"])
def test_only_published_weights_carry_published_figures(weights: Weights) -> None:
    card = card_of(weights)
    assert card.weights == weights
    assert card.threshold is None
    assert "0.83" not in card.published_result
    assert "NAVER" not in card.licence


def test_a_build_holds_what_triton_needs(seeded_aasist_l: Build) -> None:
    folder = seeded_aasist_l.folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "config.pbtxt",
        "configs/cpu.pbtxt",
        "configs/gpu.pbtxt",
        "configs/nvidia_cpu.pbtxt",
        "configs/tensorrt.pbtxt",
        "1/model.onnx",
        "warmup/WAVEFORM",
    }
    assert (folder / "config.pbtxt").read_text() == (folder / "configs/cpu.pbtxt").read_text()
    np.testing.assert_array_equal(np.fromfile(folder / "warmup/WAVEFORM", "<f4"), wave(1, 64_600))
    config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
    assert config.parameters["weights"].string_value == "random"
    assert config.parameters["checkpoint_sha256"].string_value == "random"


def test_each_detector_has_a_live_sibling(seeded_aasist_l: Build) -> None:
    folder = seeded_aasist_l.folder.with_name("aasist_l_live")
    assert (folder / "1").is_dir()  # Triton wants a version, which here needs no file
    config = text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())
    assert config == live.live_config("aasist_l", 64_600)


def test_a_detector_may_not_be_called_as_a_live_sibling(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="expected a name that does not end in _live"):
        build(find("aasist_l"), seeded(find("aasist_l")), tmp_path, "aasist_live")


def test_the_live_config_is_the_golden_one(tmp_path: Path) -> None:
    live.write_live_model(tmp_path / "aasist_live", "aasist", 64_600)
    assert (tmp_path / "aasist_live/config.pbtxt").read_text() == (GOLDEN / "aasist_live.pbtxt").read_text()


def test_a_failed_build_leaves_the_old_model_and_no_litter(seeded_aasist_l: Build) -> None:
    spec = find("aasist_l")
    folder = seeded_aasist_l.folder
    before = (folder / "1/model.onnx").read_bytes()
    with pytest.raises(ParityError, match=r"aasist_l: logits of eager and ONNX Runtime differ by .* stated 0e\+00"):
        build(replace(spec, tolerance=0.0), seeded(spec), folder.parent, "aasist_l")
    assert (folder / "1/model.onnx").read_bytes() == before
    assert {path.name for path in folder.parent.iterdir()} == {"aasist_l", "aasist_l_live"}
    assert not list(folder.parent.parent.glob(f"{swap.PREFIX}*"))


def test_checking_again_notices_another_checkpoint(seeded_aasist_l: Build) -> None:
    spec = find("aasist_l")
    assert check_built(seeded(spec), seeded_aasist_l.folder).eager_difference <= spec.tolerance
    other = seeded(spec)
    state = {**other.state, "out_layer.bias": other.state["out_layer.bias"] + 0.01}
    with pytest.raises(ParityError):
        check_built(replace(other, state=state), seeded_aasist_l.folder)


def test_a_model_from_before_identities_can_still_be_checked(seeded_aasist_l: Build, tmp_path: Path) -> None:
    import onnx

    folder = tmp_path / "aasist_l"
    shutil.copytree(seeded_aasist_l.folder, folder)
    model = onnx.load(folder / "1/model.onnx")
    del model.graph.output[2]
    onnx.save(model, folder / "1/model.onnx")
    weights = seeded(find("aasist_l"))
    with pytest.raises(ParityError, match=r"expected the IDENTITY -?\d+ in each row of an answer, found None"):
        check_built(weights, folder)
    repository.write_model(folder, find("aasist_l"), replace(seeded_aasist_l.card, identity=0), wave(1, 64_600))
    assert "IDENTITY" not in (folder / "config.pbtxt").read_text()
    assert check_built(weights, folder).eager_difference <= 1e-4


def test_a_card_of_an_unknown_format_is_refused(seeded_aasist_l: Build, tmp_path: Path) -> None:
    card = replace(seeded_aasist_l.card, format="tensorflow")
    with pytest.raises(ExportError, match="unknown format 'tensorflow'; known: onnx, torchscript, openvino"):
        repository.write_model(tmp_path / "m", find("aasist_l"), card, wave(1, 64_600))


def test_checking_what_was_never_built(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="run dfexport build aasist_l"):
        check_built(seeded(find("aasist_l")), tmp_path / "aasist_l")
