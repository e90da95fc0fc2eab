"""XLSR-Mamba answers what the original answers, in every runtime that serves it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import tritonclient.grpc as triton

import old_onnxruntime
from dfdeploy.embedded import Server
from dfexport.build import Build, Variant, build
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import xlsr_mamba
from dfexport.detectors.xlsr_mamba import XLSR_MAMBA, PublishedXlsrMamba, XlsrMambaHead
from dfexport.errors import CheckpointInvalid
from dfexport.formats import FORMATS, Runner
from dfexport.formats.onnx import OPSET
from dfexport.layers.xlsr import XLSR_300M
from dfexport.registry import find
from dfexport.seeded import seeded_state
from dfexport.signals import wave
from dfexport.state import load_strictly, shapes_of

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/models.json").read_text())["xlsr_mamba"]
WINDOW_SAMPLES = 64_600  # of the golden figures
WAVES = np.stack([wave(seed, WINDOW_SAMPLES) for seed in (1, 2, 3)])
FIRST_LAYER = "ssl_model.model.encoder.layers.0."

State = dict[str, torch.Tensor]


def state_of(layers: int) -> State:
    """Every published key, those that only pre-training used too, filled by rule."""
    shapes = {key: tuple(shape) for key, shape in GOLDEN["keys_2_layers"].items()}
    for key in [key for key in shapes if key.startswith(FIRST_LAYER)]:
        for layer in range(2, layers):
            shapes[key.replace(".layers.0.", f".layers.{layer}.")] = shapes[key]
    return seeded_state(shapes, XLSR_MAMBA.seeded_rules)


def weights_of(state: Mapping[str, torch.Tensor]) -> LoadedWeights:
    return LoadedWeights(state, "random", "random", "filled by rule")


def assert_golden(logits: np.ndarray, layers: int = 2) -> None:
    np.testing.assert_allclose(logits, GOLDEN[f"logits_{layers}_layers"], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def state() -> State:
    return state_of(2)


@pytest.fixture(scope="module")
def network(state: State) -> torch.nn.Module:
    return xlsr_mamba.build(state)


@pytest.fixture(scope="module")
def built(state: State, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Build]:
    """Two layers, at the golden window, in both formats in one repository: ``mamba_<format>``."""
    return build_formats(state, tmp_path_factory.mktemp("mamba") / "models")


def build_formats(state: State, repository: Path) -> dict[str, Build]:
    spec = find("xlsr_mamba").with_window(WINDOW_SAMPLES)
    return {
        form: build(spec, weights_of(state), repository, f"mamba_{form}", variant=Variant(form)) for form in FORMATS
    }


def opened(made: dict[str, Build], form: str) -> Runner:
    return FORMATS[form].open(made[form].folder / "1" / FORMATS[form].file)


def assert_the_server_answers(repository: Path, environment: Path, layers: int) -> None:
    """Alone and in a batch where its server takes one, in all formats."""
    with (
        Server(repository, environment_dir=environment) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        for form in FORMATS:
            if FORMATS[form].max_batch_size != 1:
                assert_golden(infer(client, f"mamba_{form}", WAVES), layers)
            alone = [infer(client, f"mamba_{form}", waveform[np.newaxis]) for waveform in WAVES]
            assert_golden(np.concatenate(alone), layers)


def infer(client: triton.InferenceServerClient, name: str, waveforms: np.ndarray) -> np.ndarray:
    tensor = triton.InferInput("WAVEFORM", list(waveforms.shape), "FP32")
    tensor.set_data_from_numpy(waveforms)
    return client.infer(name, [tensor], client_timeout=300).as_numpy("LOGITS")


def test_eager_answers_the_golden_figures(network: torch.nn.Module) -> None:
    with torch.inference_mode():
        assert_golden(network(torch.from_numpy(WAVES)).numpy())


@pytest.mark.parametrize("form", FORMATS)
def test_the_exported_file_answers_the_golden_figures(built: dict[str, Build], form: str) -> None:
    run = opened(built, form)
    logits, score, _ = run(WAVES)
    assert_golden(logits)
    np.testing.assert_array_equal(score, logits[:, 1:])
    alone = np.concatenate([run(waveform[None])[0] for waveform in WAVES])
    np.testing.assert_allclose(alone, logits, rtol=0, atol=1e-5)


def test_the_server_answers_the_golden_figures(built: dict[str, Build], server_with_torch: Path) -> None:
    assert_the_server_answers(built["onnx"].folder.parent, server_with_torch, layers=2)


@pytest.mark.slow
def test_24_layers_answer_the_golden_figures(tmp_path: Path, server_with_torch: Path) -> None:
    state = state_of(24)
    with torch.inference_mode():
        assert_golden(xlsr_mamba.build(state)(torch.from_numpy(WAVES)).numpy(), layers=24)
    made = build_formats(state, tmp_path / "models")
    for form in FORMATS:
        assert_golden(opened(made, form)(WAVES)[0], layers=24)
    assert_the_server_answers(tmp_path / "models", server_with_torch, layers=24)


def head_of(change: Mapping[str, torch.Tensor] = {}) -> XlsrMambaHead:
    published = PublishedXlsrMamba(XLSR_300M.hidden)
    load_strictly(published, seeded_state(shapes_of(published), XLSR_MAMBA.seeded_rules) | change)
    return XlsrMambaHead(published).eval()


def test_the_last_mixer_of_each_column_is_required_and_plays_no_part(state: State) -> None:
    dead = [key for key in state if key.startswith(("conformer.forward_layers.5.", "conformer.backward_layers.5."))]
    assert len(dead) == 2 * 10
    frames = torch.randn(2, 201, XLSR_300M.hidden, generator=torch.Generator().manual_seed(0))
    live = "conformer.backward_layers.4.mixer.D"
    with torch.inference_mode():
        plain = head_of()(frames)
        assert torch.equal(head_of({key: state[key] + 1 for key in dead})(frames), plain)
        assert not torch.equal(head_of({live: state[live] + 1})(frames), plain)
    without = {key: value for key, value in state.items() if key != dead[0]}
    with pytest.raises(CheckpointInvalid, match=rf"missing: {dead[0]}"):
        xlsr_mamba.build(without)


def test_the_registry_states_the_live_parameters() -> None:
    encoder = sum(np.prod(shape) for key, shape in xlsr_mamba.shapes().items() if key.startswith("ssl_model."))
    head = sum(parameter.numel() for parameter in head_of().parameters())
    for name in ("xlsr_mamba", "xlsr_mamba_la"):
        # The positional convolution's weight norm is folded: 128 gains are part of its weight.
        assert find(name).parameters == encoder - 128 + head


def test_windows_are_the_papers() -> None:
    assert (XLSR_300M.frames(66_800), XLSR_300M.frames(64_600)) == (208, 201)
    assert find("xlsr_mamba").window_samples == find("xlsr_mamba_la").window_samples == 66_800


@pytest.fixture(scope="module")
def careful_head() -> XlsrMambaHead:
    """With step sizes around 0.001, where training starts and where a careless softplus has lost three digits."""
    seeded = seeded_state(shapes_of(PublishedXlsrMamba(XLSR_300M.hidden)), XLSR_MAMBA.seeded_rules)
    return head_of({key: value - 4 for key, value in seeded.items() if key.endswith("dt_proj.bias")})


@pytest.fixture(scope="module")
def exported_head(careful_head: XlsrMambaHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("head") / "head.onnx"
    program = torch.onnx.export(
        careful_head,
        (torch.zeros(2, 208, XLSR_300M.hidden),),
        input_names=["frames"],
        dynamic_shapes=[{0: torch.export.Dim("batch")}],
        opset_version=OPSET,
        verbose=False,
    )
    program.save(path)
    return path


@pytest.mark.slow  # the head is an export of its own
def test_small_steps_survive_the_export(careful_head: XlsrMambaHead, exported_head: Path) -> None:
    frames = torch.randn(3, 208, XLSR_300M.hidden, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(exported_head, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = careful_head(frames).numpy()
    (logits,) = session.run(None, {"frames": frames.numpy()})
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-6)
    alone = np.concatenate([session.run(None, {"frames": row[None].numpy()})[0] for row in frames])
    np.testing.assert_allclose(alone, logits, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_graph_of_the_head_is_small_and_plain(exported_head: Path) -> None:
    assert [file.name for file in exported_head.parent.iterdir()] == ["head.onnx"]
    assert exported_head.stat().st_size < 10e6
    nodes = onnx.load(exported_head).graph.node
    assert len(nodes) < 1500
    assert {node.domain for node in nodes} == {""}
    assert not {node.op_type for node in nodes} & {"Scan", "Loop", "If"}


RUN_OLD = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(["LOGITS"], {"WAVEFORM": numpy.load(sys.argv[2])})[0])
print(onnxruntime.__version__)
"""


def test_the_oldest_onnx_runtime_answers_the_golden_figures(built: dict[str, Build], tmp_path: Path) -> None:
    assert old_onnxruntime.FOLDER.is_dir(), old_onnxruntime.MISSING
    np.save(tmp_path / "waves.npy", WAVES)
    paths = (built["onnx"].folder / "1/model.onnx", tmp_path / "waves.npy", tmp_path / "logits.npy")
    finished = subprocess.run(
        [sys.executable, "-c", RUN_OLD, *map(str, paths)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(old_onnxruntime.FOLDER)},
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stdout) == (0, f"{old_onnxruntime.VERSION}\n"), finished.stderr
    assert_golden(np.load(paths[2]))
