"""SSL_Anti-spoofing and SLS answer what the originals answer: eager, exported, and served."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc as triton

from dfclient.transport import Transport
from dfdeploy.embedded import Server
from dfexport import repository
from dfexport.build import Build, Variant, build, load_network, seeded
from dfexport.card import model_card
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import sls, ssl_aasist
from dfexport.errors import CheckpointInvalid
from dfexport.family import family_of
from dfexport.formats import FORMATS, Runner
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig
from dfexport.registry import find
from dfexport.signals import wave

Golden = dict[str, dict[str, list[list[float]]]]
Models = dict[tuple[str, str], Build]
SHAPES = {"ssl_aasist": ssl_aasist.shapes, "sls": sls.shapes}
NAMES = tuple(SHAPES)
FORMAT_NAMES = tuple(FORMATS)


def opened(built: Build, form: str) -> Runner:
    return FORMATS[form].open(built.folder / "1" / FORMATS[form].file)


@pytest.fixture(scope="module")
def served(two_layer_models: Models, server_with_torch: Path) -> Iterator[Server]:
    folder = next(iter(two_layer_models.values())).folder.parent
    with Server(folder, environment_dir=server_with_torch) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_eager_answers_the_golden_logits(
    name: str, two_layers: Callable[[str], LoadedWeights], golden_models: Golden, golden_waves: np.ndarray
) -> None:
    network = load_network(find(name), two_layers(name))
    with torch.inference_mode():
        logits = network(torch.from_numpy(golden_waves)).numpy()
    np.testing.assert_allclose(logits, golden_models[name]["logits_2_layers"], atol=1e-4)


@pytest.mark.parametrize("form", FORMAT_NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_the_exported_file_answers_the_golden_logits(
    name: str, form: str, two_layer_models: Models, golden_models: Golden, golden_waves: np.ndarray
) -> None:
    logits, score, identity = opened(two_layer_models[name, form], form)(golden_waves)
    np.testing.assert_allclose(logits, golden_models[name]["logits_2_layers"], atol=1e-4)
    np.testing.assert_array_equal(score, logits[:, 1:])
    assert identity is not None
    assert identity.tolist() == [[two_layer_models[name, form].card.identity]] * len(golden_waves)


@pytest.mark.parametrize("form", FORMAT_NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_the_server_answers_the_golden_logits(
    name: str, form: str, served: Server, golden_models: Golden, golden_waves: np.ndarray
) -> None:
    transport = Transport(served.grpc_url, timeout_s=60)
    try:
        answers = [transport.infer(f"{name}_{form}", "", window) for window in golden_waves]
    finally:
        transport.close()
    logits = [answer.logits for answer in answers]
    np.testing.assert_allclose(logits, golden_models[name]["logits_2_layers"], atol=1e-4)
    assert [answer.score for answer in answers] == [pytest.approx(bonafide) for _, bonafide in logits]


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_each_row_that_the_server_answers_says_whose_it_is(
    form: str, served: Server, two_layer_models: Models, golden_waves: np.ndarray
) -> None:
    at_once = FORMATS[form].max_batch_size or len(golden_waves)
    found = []
    with triton.InferenceServerClient(served.grpc_url) as client:
        for waves in np.split(golden_waves, range(at_once, len(golden_waves), at_once)):
            tensor = triton.InferInput("WAVEFORM", list(waves.shape), "FP32")
            tensor.set_data_from_numpy(waves)
            found.append(client.infer(f"sls_{form}", [tensor]).as_numpy("IDENTITY"))
    found = np.concatenate(found)
    assert (found.dtype, found.tolist()) == (np.int64, [[two_layer_models["sls", form].card.identity]] * 3)


@pytest.mark.parametrize("form", ["onnx", "torchscript"])  # OpenVINO gets one clip at a time
@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_the_same_whatever_stands_beside_it(name: str, form: str, two_layer_models: Models) -> None:
    run = opened(two_layer_models[name, form], form)
    clip = wave(7, 64_600)
    alone = run(clip[None])[0][0]
    noise = np.random.RandomState(0)
    for batch, place in ((2, 1), (3, 0), (8, 5)):
        neighbours = noise.uniform(0.001, 1, (batch, 1)) * noise.standard_normal((batch, 64_600))
        neighbours[-1] = 0.0
        waveforms = neighbours.astype(np.float32)
        waveforms[place] = clip
        np.testing.assert_allclose(run(waveforms)[0][place], alone, atol=1e-5)


def test_sls_answers_log_probabilities(two_layer_models: Models, golden_waves: np.ndarray) -> None:
    built = two_layer_models["sls", "onnx"]
    logits = opened(built, "onnx")(golden_waves).logits
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-6)
    assert repository.read_card(built.folder).score_kind == "log_softmax"


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_graph_runs_the_encoder_once(name: str, two_layer_models: Models) -> None:
    import onnx

    graph = onnx.load(two_layer_models[name, "onnx"].folder / "1/model.onnx", load_external_data=False).graph
    # The extractor's: one of the waveform, two for each kernel of three, one for each of two; twice if it ran twice.
    products = [
        node for node in graph.node if node.op_type == "MatMul" and "feature_extractor" in str(node.metadata_props)
    ]
    assert len(products) == 1 + 4 * 2 + 2


def test_what_is_published_carries_no_path_of_the_machine_it_was_built_on(two_layer_models: Models) -> None:
    for built in two_layer_models.values():
        for path in (built.folder / "1").iterdir():
            content = path.read_bytes()
            assert b"site-packages" not in content
            assert b"stack_trace" not in content


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_the_config_names_the_backend_of_the_format(form: str, two_layer_models: Models) -> None:
    folder = two_layer_models["ssl_aasist", form].folder
    assert f'backend: "{FORMATS[form].backend}"' in (folder / "config.pbtxt").read_text()
    assert repository.read_card(folder).format == form
    options = (folder / "configs/gpu.pbtxt").read_text()
    assert ("INFERENCE_MODE" in options) == (form == "torchscript")
    assert ("cudnn_conv_algo_search" in options) == (form == "onnx")


@pytest.mark.parametrize("name", ["ssl_aasist", "ssl_aasist_la", "sls"])
def test_the_registry_states_the_number_of_parameters(name: str, golden_models: Golden) -> None:
    with torch.device("meta"):
        shapes = family_of(find(name)).shapes()
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    published = sum(int(np.prod(shape)) for key, shape in shapes.items() if not key.endswith(buffers))
    # Weight norm is folded: its 128 gains are in the weight.
    assert published - XLSR_300M.position_kernel == find(name).parameters


@pytest.mark.parametrize("name", NAMES)
def test_the_published_keys_are_the_originals(name: str, golden_models: Golden) -> None:
    published = {key: tuple(shape) for key, shape in golden_models[name]["keys_2_layers"].items()}  # type: ignore[attr-defined]
    ours = SHAPES[name](XlsrConfig(layers=2))
    dropped = family_of(find(name)).dropped_keys(published)  # type: ignore[arg-type]
    assert {key: shape for key, shape in published.items() if key not in dropped} == ours
    assert {key.split(".")[2] for key in dropped} == {"mask_emb", "quantizer", "project_q", "final_proj"}


def test_another_detectors_checkpoint_is_recognised(two_layers: Callable[[str], LoadedWeights]) -> None:
    with pytest.raises(CheckpointInvalid, match=r"is a checkpoint of sls, not of ssl_aasist\. .*missing: GAT_"):
        load_network(find("ssl_aasist"), two_layers("sls"))
    with pytest.raises(CheckpointInvalid, match=r"is a checkpoint of aasist, not of sls\. .*holds no XLS-R encoder"):
        load_network(find("sls"), seeded(find("aasist")))
    with pytest.raises(CheckpointInvalid, match=r"is a checkpoint of ssl_aasist, not of aasist"):
        load_network(find("aasist"), two_layers("ssl_aasist"))


def test_sls_has_no_licence_and_its_card_says_so() -> None:
    card = model_card("sls", find("sls"), weights="pretrained", sha256="", source="")
    assert card.licence.startswith("none stated by its authors")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMAT_NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_24_layers_answer_the_golden_logits(
    name: str,
    form: str,
    golden_models: Golden,
    golden_waves: np.ndarray,
    tmp_path: Path,
    server_with_torch: Path,
) -> None:
    spec = find(name)
    weights = seeded(spec)
    built = build(spec, weights, tmp_path / "models", name, variant=Variant(form))
    expected = golden_models[name]["logits_24_layers"]
    np.testing.assert_allclose(opened(built, form)(golden_waves)[0], expected, atol=1e-4)
    with Server(tmp_path / "models", environment_dir=server_with_torch) as server:
        transport = Transport(server.grpc_url, timeout_s=120)
        try:
            logits = [transport.infer(name, "", window)[0] for window in golden_waves]
        finally:
            transport.close()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
