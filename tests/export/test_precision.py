"""Fewer bits: smaller files, scores judged against fp32's, refused when they drift."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from dfexport import parity, repository
from dfexport.__main__ import main
from dfexport.build import Build, Variant, build, check_variant
from dfexport.card import identity
from dfexport.check import check_built
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import ssl_aasist
from dfexport.detectors.df_arena import DfArena
from dfexport.errors import DriftError, ExportError
from dfexport.formats import find_format, openvino
from dfexport.formats.served import ServedDetector
from dfexport.layers import xlsr
from dfexport.layers.xlsr import XlsrConfig, load_xlsr
from dfexport.precision import REDUCTIONS, Conversion, DriftLimits, needs_reduced_range, per_channel_int8, to_int8
from dfexport.registry import find
from dfexport.seeded import seeded_state
from dfexport.signals import wave
from dfexport.spec import DetectorSpec

VARIANTS = {
    "fp16": Variant(precision="fp16"),
    "int8": Variant(precision="int8", reduce_range=False),
    "int8 openvino": Variant("openvino", "int8"),
}
RULES = ssl_aasist.SSL_AASIST.seeded_rules
# q, k, v, out and two feed-forward a layer; the projection; the extractor's four kernels of three, two products each,
# and its two of two; not the waveform's.
N_PRODUCTS = 6 * 2 + 1 + 4 * 2 + 2
LIMITS = DriftLimits(max_difference=0.5, mean_difference=0.1, rank_correlation=0.9, eer_difference=0.01)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory, two_layers: Callable[[str], LoadedWeights]) -> dict[str, Build]:
    folder = tmp_path_factory.mktemp("reduced") / "models"
    return {
        name: build(find("ssl_aasist"), two_layers("ssl_aasist"), folder, name.replace(" ", "_"), variant=variant)
        for name, variant in VARIANTS.items()
    }


def size_of(built: Build) -> int:
    return sum(path.stat().st_size for path in (built.folder / "1").iterdir())


def initializers(built: Build) -> dict[str, int]:
    graph = onnx.load(built.folder / "1/model.onnx", load_external_data=False).graph
    return {tensor.name: tensor.data_type for tensor in graph.initializer}


def large_ones(built: Build) -> set[int]:
    """Types of the tensors that only an encoder has: matrices and kernels of half a million numbers and more."""
    graph = onnx.load(built.folder / "1/model.onnx", load_external_data=False).graph
    return {tensor.data_type for tensor in graph.initializer if np.prod(tensor.dims) >= 500_000}


def test_files_shrink_and_can_be_read_by_another_user(reduced: dict[str, Build]) -> None:
    fp32_bytes = 155e6
    assert size_of(reduced["fp16"]) < 0.55 * fp32_bytes
    for name in ("int8", "int8 openvino"):  # of two layers; the position convolution, fp32, weighs more than in 24
        assert size_of(reduced[name]) < 0.45 * fp32_bytes
    for built in reduced.values():
        assert all(path.stat().st_mode & 0o044 == 0o044 for path in (built.folder / "1").iterdir())


def test_fp16_leaves_layer_norms_and_the_head_in_fp32(reduced: dict[str, Build]) -> None:
    types = initializers(reduced["fp16"])
    norms = [kind for name, kind in types.items() if "norm." in name and "network.encoder" in name]
    head = [kind for name, kind in types.items() if name.startswith("network.head.")]
    assert norms and set(norms) == {onnx.TensorProto.FLOAT}
    assert head and onnx.TensorProto.FLOAT16 not in head
    assert large_ones(reduced["fp16"]) == {onnx.TensorProto.FLOAT16}


def test_fp16_is_the_same_in_torchscript(tmp_path: Path) -> None:
    spec, weights = tiny_ssl()
    built = build(spec, weights, tmp_path / "models", "ssl", variant=Variant("torchscript", "fp16"))
    module = torch.jit.load(built.folder / "1/model.pt")
    types = {name.removeprefix("network."): value.dtype for name, value in module.named_parameters()}
    norms = {kind for name, kind in types.items() if name.startswith("encoder.") and ".norm." in name}
    products = {kind for name, kind in types.items() if name.startswith("encoder.") and ".norm." not in name}
    head = {kind for name, kind in types.items() if name.startswith("head.")}
    assert (norms, products, head) == ({torch.float32}, {torch.float16}, {torch.float32})
    card = repository.read_card(built.folder)
    assert card.self_check is not None
    assert (card.precision, card.format, card.self_check.tolerance) == ("fp16", "torchscript", 0.05)
    assert built.drift is not None and 0 < built.drift.max_difference < 0.05


def test_int8_touches_the_encoders_matrix_products_alone(reduced: dict[str, Build]) -> None:
    graph = onnx.load(reduced["int8"].folder / "1/model.onnx", load_external_data=False).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("MatMulInteger") == N_PRODUCTS
    assert "ConvInteger" not in operators


def test_int8_of_openvino_keeps_the_same_products_dequantized(reduced: dict[str, Build]) -> None:
    """From weights of 8 bits that are dequantized before a product, OpenVINO computes the product in 8 bits."""
    model = onnx.load(reduced["int8 openvino"].folder / "1/model.onnx")
    made = {name: node for node in model.graph.node for name in node.output}
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    dequantized = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in made]
    of_weights = [node for node in products if made[node.input[1]].op_type == "DequantizeLinear"]
    assert len(dequantized) == len(of_weights) == N_PRODUCTS
    for node in dequantized:
        weight, scale = (values[name] for name in node.input)
        assert (weight.dtype, weight.shape[1:], node.attribute[0].i) == (np.int8, scale.shape, 1)
        assert np.abs(weight.astype(int)).max(axis=0).tolist() == [127] * len(scale)


@given(st.integers(0, 2**32 - 1), st.integers(-30, 30))
def test_a_weight_of_8_bits_is_within_half_a_step(seed: int, exponent: int) -> None:
    weight = np.float32(2.0**exponent) * np.random.default_rng(seed).standard_normal((5, 4), np.float32)
    weight[:, 2] = 0  # an unused channel
    rounded, scale = per_channel_int8(weight)
    assert np.abs(rounded.astype(int)).max() <= 127
    assert (np.abs(rounded * scale - weight) <= scale * 0.5001).all()
    assert not rounded[:, 2].any()


class LastState(nn.Module):
    """A head on all hidden states: logits of the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(32, 2)

    def forward(self, states: list[Tensor]) -> Tensor:
        logits: Tensor = self.output(states[-1].mean(1))
        return logits


def test_int8_finds_the_products_of_an_encoder_that_a_detector_runs_in_parts(tmp_path: Path) -> None:
    """As SLS and DF Arena do, which want every layer's output: no product is inside a call of the encoder itself."""
    small = XlsrConfig(layers=1, hidden=32, feed_forward=16, conv_channels=8, position_kernel=16, position_groups=4)
    encoder, _ = load_xlsr(seeded_state(xlsr.shapes(small), xlsr.SEEDED_RULES))
    network = DfArena(encoder, LastState())
    served = ServedDetector(network, 7, "softmax")
    onnx_format = find_format("onnx")
    for name in ("fp32", "int8"):
        (tmp_path / name).mkdir()
    fp32, target = (tmp_path / name / onnx_format.file for name in ("fp32", "int8"))
    onnx_format.write(served, 4_000, fp32)
    to_int8(Conversion(served, 4_000, onnx_format, fp32, target, reduce_range=False))
    operators = [node.op_type for node in onnx.load(target).graph.node]
    assert operators.count("MatMulInteger") == 6 + 1 + 4 * 2 + 2
    assert operators.count("DynamicQuantizeLinear") == operators.count("MatMulInteger") - 2  # q, k and v share theirs
    assert_answers_as_quantize_dynamic_writes_it(fp32, target)
    with pytest.raises(ExportError, match="found none in the exported graph"):
        to_int8(Conversion(served, 4_000, onnx_format, target, tmp_path / "again.onnx", reduce_range=False))


def assert_answers_as_quantize_dynamic_writes_it(fp32: Path, int8: Path) -> None:
    """ONNX Runtime's own tool holds a model several times in memory; what it makes of the same products is the same."""
    integers = {node.input[1] for node in onnx.load(int8).graph.node if node.op_type == "MatMulInteger"}
    reference = int8.with_name("reference.onnx")
    quantize_dynamic(
        fp32,
        reference,
        nodes_to_quantize=[
            node.name for node in onnx.load(fp32).graph.node if f"{[*node.input, '', ''][1]}.int8" in integers
        ],
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )
    found, expected = (find_format("onnx").open(path) for path in (int8, reference))
    waveform = wave(1, 4_000)[None]
    np.testing.assert_array_equal(found(waveform).logits, expected(waveform).logits)


def largest_weight(built: Build) -> int:
    """The largest magnitude among the int8 weights."""
    graph = onnx.load(built.folder / "1/model.onnx").graph
    weights = [
        onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    ]
    return max(int(np.abs(weight.astype(int)).max()) for weight in weights)


def test_all_8_bits_are_used_where_asked_for(reduced: dict[str, Build]) -> None:
    assert largest_weight(reduced["int8"]) >= 127
    assert "Weights use 8 bits" in reduced["int8"].card.precision_note


def test_int8_of_onnx_runtime_is_never_batched_since_a_batch_would_share_its_scale(reduced: dict[str, Build]) -> None:
    for profile in ("cpu", "gpu"):
        assert "max_batch_size: 1\n" in (reduced["int8"].folder / f"configs/{profile}.pbtxt").read_text()
    assert "max_batch_size: 8\n" in (reduced["fp16"].folder / "configs/cpu.pbtxt").read_text()


def test_int8_of_openvino_answers_a_clip_the_same_whatever_its_neighbours(reduced: dict[str, Build]) -> None:
    """Each row of a product has scales of its own, so that louder neighbours move nothing."""
    run = find_format("openvino").open_in("int8", reduced["int8 openvino"].folder / "1/model.onnx")
    waveforms = np.stack([(0.1, 1, 0.01, 0.5)[seed] * wave(seed, 64_600) for seed in range(4)])
    alone = np.concatenate([run(waveform[None]).logits for waveform in waveforms])
    for size in (2, 3, 4):
        np.testing.assert_allclose(run(waveforms[:size]).logits, alone[:size], atol=1e-5)


@pytest.mark.parametrize(("moved", "most"), [(1e-6, 4), (2e-5, 1)])
def test_a_build_whose_batches_answer_otherwise_is_served_one_clip_at_a_time(
    moved: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Spectra-0 in OpenVINO, whose clips are computed by other kernels in batches of two and four than alone."""
    found = parity.of_reduced
    monkeypatch.setattr(parity, "of_reduced", lambda *a, **k: replace(found(*a, **k), batch_difference=moved))
    spec, weights = tiny_ssl()
    built = build(spec, weights, tmp_path / "models", "ssl", variant=Variant("openvino", "int8", force=True))
    assert f"max_batch_size: {most}\n" in (built.folder / "configs/cpu.pbtxt").read_text()
    assert built.parity.batch_difference == (None if most == 1 else moved)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_report_lies_beside_the_model_and_the_card_speaks_of_it(name: str, reduced: dict[str, Build]) -> None:
    built = reduced[name]
    report = json.loads((built.folder / "drift.json").read_text())
    assert built.drift is not None
    assert (report["precision"], report["clips"], report["weights"]) == (name.split(maxsplit=1)[0], 3, "random")
    assert report["max_difference"] == built.drift.max_difference > 0
    assert (report["failures"], report["forced"], report["eer"]) == ([], False, None)
    card = repository.read_card(built.folder)
    assert replace(card, extra={}) == built.card  # extra: what only the backend reads
    assert card.precision == name.split(maxsplit=1)[0]
    assert card.drift.startswith("3 clips: scores differ from fp32's by")
    assert ("could not be judged" in card.precision_note) == name.startswith("int8")


def test_each_precision_has_an_identity_of_its_own(
    reduced: dict[str, Build], two_layers: Callable[[str], LoadedWeights]
) -> None:
    spec, digest = find("ssl_aasist"), two_layers("ssl_aasist").sha256
    in_fp32 = identity(spec, digest, "onnx", "fp32", reduce_range=False)
    assert len({in_fp32, *(built.card.identity for built in reduced.values())}) == 4
    for built in reduced.values():
        run = find_format(built.card.format).open_in(built.card.precision, built.folder / "1/model.onnx")
        answers = run(wave(1, spec.window_samples)[None])
        assert answers.identity is not None
        assert answers.identity.tolist() == [[built.card.identity]]


def test_what_was_built_can_be_checked_again(
    reduced: dict[str, Build], two_layers: Callable[[str], LoadedWeights]
) -> None:
    for name in ("int8", "int8 openvino"):
        check_built(two_layers("ssl_aasist"), reduced[name].folder)


def test_drift_past_a_limit_fails_the_build_unless_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, weights = tiny_ssl()
    strict = replace(REDUCTIONS["int8", "onnx"], limits=replace(LIMITS, max_difference=1e-9))
    monkeypatch.setitem(REDUCTIONS, ("int8", "onnx"), strict)
    arguments = (spec, weights, tmp_path / "models", "ssl")
    with pytest.raises(DriftError, match=r"in int8 was not built: a score moved by .* limit is 1e-09 \(3 recordings"):
        build(*arguments, variant=Variant(precision="int8"))
    assert not list((tmp_path / "models").iterdir())
    built = build(*arguments, variant=Variant(precision="int8", force=True, reduce_range=True))
    assert "7 of 8 bits" in built.card.precision_note
    assert largest_weight(built) == 64
    report = json.loads((built.folder / "drift.json").read_text())
    assert report["forced"] and "a score moved by" in report["failures"][0]


def tiny_ssl() -> tuple[DetectorSpec, LoadedWeights]:
    """The whole architecture, with an encoder of one narrow layer."""
    tiny = XlsrConfig(layers=1, hidden=32, feed_forward=48, conv_channels=16, position_kernel=8, position_groups=4)
    weights = LoadedWeights(seeded_state(ssl_aasist.shapes(tiny), RULES), "random", "random", "seeded by rule")
    return replace(find("ssl_aasist"), window_samples=16_000), weights


def test_bf16_is_the_fp32_graph_and_a_word_to_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the CPU has no bf16, OpenVINO computes the same graph in fp32: what is written is the same."""
    bf16 = "bf16", "openvino"
    monkeypatch.setitem(REDUCTIONS, bf16, replace(REDUCTIONS[bf16], missing=lambda: ""))
    spec, weights = tiny_ssl()
    # By force: on a CPU that has bf16, so small a network moves by more than a real one may.
    built = build(spec, weights, tmp_path / "models", "ssl", variant=Variant("openvino", "bf16", force=True))
    assert onnx.TensorProto.BFLOAT16 not in initializers(built).values()
    for profile in ("cpu", "gpu"):
        text = (built.folder / f"configs/{profile}.pbtxt").read_text()
        assert 'key: "HINT_BF16"' in text
        assert "KIND_CPU" in text
    assert built.card.self_check is not None
    assert (built.card.precision, built.card.self_check.tolerance) == ("bf16", 0.05)
    assert json.loads((built.folder / "drift.json").read_text())["precision"] == "bf16"
    answers = find_format("openvino").open_in("bf16", built.folder / "1/model.onnx")(wave(1, 16_000)[None])
    assert answers.identity is not None
    assert answers.identity.tolist() == [[built.card.identity]]
    assert answers.logits[0] == pytest.approx(built.card.self_check.logits, abs=0.05)


@pytest.mark.parametrize(("capabilities", "status"), [(["FP32", "INT8"], "has no bf16"), (["FP32", "BF16"], "")])
def test_bf16_is_built_where_it_can_be_judged(
    capabilities: list[str], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = SimpleNamespace(get_property=lambda device, name: capabilities)
    monkeypatch.setattr(openvino, "_core", lambda: core)
    if not status:
        check_variant(find("aasist"), Variant("openvino", "bf16"))
        return
    with pytest.raises(ExportError, match=r"--precision bf16: this CPU has no bf16 .* build it on the machine that"):
        check_variant(find("aasist"), Variant("openvino", "bf16"))


CPU = "processor : 0\nflags\t\t: fpu avx2 {more}\n"


@pytest.mark.parametrize(
    ("cpu_info", "reduced"),
    [
        (CPU.format(more="avx512f"), True),
        (CPU.format(more="avx512f avx512_vnni"), False),
        (CPU.format(more="avx_vnni"), False),
        (CPU.format(more="amx_int8"), False),
        ("processor : 0\nFeatures\t: fp asimd asimddp\n", False),  # ARM's sums don't saturate
        ("", False),
    ],
)
def test_weights_of_7_bits_are_for_x86_without_vnni(cpu_info: str, reduced: bool) -> None:
    assert needs_reduced_range(cpu_info) is reduced


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["aasist", "--precision", "int8"], "aasist is built in fp32, bf16, not in int8: it has no XLS-R encoder"),
        (["aasist", "--precision", "bf16"], "--precision bf16 goes with --format openvino, not with onnx"),
        (["sls", "--precision", "int8", "--format", "torchscript"], "goes with --format onnx or openvino, not with"),
        (
            ["sls", "--precision", "fp16", "--format", "openvino"],
            "fp16 goes with --format onnx or torchscript, not with openvino",
        ),
        (
            ["sls", "--precision=int8", "--format=openvino", "--int8-range=full"],
            "--int8-range goes with --precision int8 of --format onnx",
        ),
        (["sls", "--drift-audio", "x"], "--drift-audio, --drift-labels and --force go with fewer bits than fp32"),
    ],
)
def test_what_can_not_be_built_is_said_at_once(
    command: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *command, "--weights", "random"]) == 1
    assert expected in capsys.readouterr().err
