"""The encoder's features and each of its layers equal the original's: eager, exported, and through the server.

A served detector answers logits alone, so these are exported with two more outputs, and their config says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
from torch import Tensor, nn

from dfcontract.card import ModelCard
from dfcontract.tensors import OUTPUTS
from dfdeploy.embedded import Server
from dfexport.build import load_network
from dfexport.card import model_card, with_self_check
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import ssl_aasist
from dfexport.detectors.ssl_aasist import SSL_AASIST
from dfexport.formats.onnx import write_onnx
from dfexport.formats.served import ServedDetector
from dfexport.formats.torchscript import write_torchscript
from dfexport.layers.xlsr import XlsrConfig, XlsrDetector
from dfexport.registry import find
from dfexport.repository import write_model
from dfexport.seeded import seeded_state

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MORE_OUTPUTS = {"FEATURES": (11, 16), "LAYERS": (-1, 11, 16)}  # every 20th frame, every 64th feature
DETECTOR = "ssl_aasist"
WINDOW_SAMPLES = 64_600

Answers = dict[str, np.ndarray]
Ask = Callable[[np.ndarray], Answers]


class Inspected(nn.Module):
    """A detector that also answers what its encoder made."""

    def __init__(self, detector: XlsrDetector, identity: int = 0) -> None:
        super().__init__()
        self.detector = detector
        self.served = ServedDetector(detector.head, identity)

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        layers = self.detector.encoder.layer_outputs(waveform)
        features = self.detector.encoder.finished(layers[-1])
        thinned = torch.stack(layers, 1)[:, :, ::20, ::64]
        return *self.served(features), features[:, ::20, ::64], thinned


@dataclass(frozen=True)
class Subject:
    """An inspected detector, and its golden figures."""

    layers: int
    network: Inspected
    weights: LoadedWeights
    features: np.ndarray  # (3, 11, 16)
    layer_outputs: np.ndarray  # (3, layers, 11, 16)
    logits: np.ndarray  # (3, 2)

    def asserted(self, answers: Answers) -> None:
        np.testing.assert_allclose(answers["FEATURES"], self.features, atol=1e-3)
        np.testing.assert_allclose(answers["LAYERS"], self.layer_outputs, atol=1e-3)
        np.testing.assert_allclose(answers["LOGITS"], self.logits, atol=1e-4)


@pytest.fixture(scope="module", params=[2, pytest.param(24, marks=pytest.mark.slow)])
def subject(request: pytest.FixtureRequest, golden_models: dict[str, dict[str, list[list[float]]]]) -> Subject:
    layers: int = request.param
    state = seeded_state(ssl_aasist.shapes(XlsrConfig(layers=layers)), SSL_AASIST.seeded_rules)
    weights = LoadedWeights(state, "random", "random", "seeded by rule")
    network = load_network(find(DETECTOR), weights)
    assert isinstance(network, XlsrDetector)
    golden = np.load(GOLDEN / f"xlsr_{layers}_layers.npz")
    return Subject(
        layers,
        Inspected(network),
        weights,
        golden["features"],
        golden["layer_results"].swapaxes(0, 1),
        np.array(golden_models[DETECTOR][f"logits_{layers}_layers"]),
    )


def test_eager(subject: Subject, golden_waves: np.ndarray) -> None:
    with torch.inference_mode():
        tensors = subject.network(torch.from_numpy(golden_waves))
    subject.asserted(dict(zip((*OUTPUTS, *MORE_OUTPUTS), (tensor.numpy() for tensor in tensors), strict=True)))


@pytest.mark.parametrize("form", ["onnx", pytest.param("torchscript", marks=pytest.mark.slow)])
def test_exported_and_served(
    subject: Subject, form: str, golden_waves: np.ndarray, tmp_path: Path, server_with_torch: Path
) -> None:
    folder = tmp_path / "models" / DETECTOR
    (folder / "1").mkdir(parents=True)
    card = card_of(subject, form)
    # The server refuses a model that does not answer with the identity on its card.
    network = Inspected(subject.network.detector, card.identity)
    with torch.inference_mode():
        write(network, form, folder / "1")
    subject.asserted(opened(folder / "1", form)(golden_waves))

    write_model(folder, find(DETECTOR), card, golden_waves[0])
    widen_config(folder / "config.pbtxt")
    with (
        Server(folder.parent, environment_dir=server_with_torch) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        ask = served(client)
        alone = [ask(window[None]) for window in golden_waves]
        subject.asserted({name: np.concatenate([answer[name] for answer in alone]) for name in alone[0]})
        for batch in (2, 3, 8):
            assert_neighbours_do_not_matter(ask, golden_waves, alone, batch)


def card_of(subject: Subject, form: str) -> ModelCard:
    weights = subject.weights
    card = model_card(
        DETECTOR, find(DETECTOR), weights=weights.kind, sha256=weights.sha256, source=weights.source, format=form
    )
    spoof, bonafide = subject.logits[0].tolist()
    return with_self_check(card, find(DETECTOR), (spoof, bonafide))


def assert_neighbours_do_not_matter(ask: Ask, waves: np.ndarray, alone: list[Answers], batch: int) -> None:
    """A clip alone, and last or first among noise of many levels and silence."""
    noise = np.random.RandomState(batch)
    neighbours = noise.uniform(0.001, 1, (batch, 1)) * noise.standard_normal((batch, WINDOW_SAMPLES))
    neighbours[batch // 2] = 0.0
    waveforms = neighbours.astype(np.float32)
    waveforms[0], waveforms[-1] = waves[0], waves[1]
    answers = ask(waveforms)
    for place, expected in ((0, alone[0]), (-1, alone[1])):
        np.testing.assert_allclose(answers["LOGITS"][place], expected["LOGITS"][0], atol=1e-5)


def write(network: Inspected, form: str, folder: Path) -> None:
    if form == "onnx":
        write_onnx(network, WINDOW_SAMPLES, folder / "model.onnx", (*OUTPUTS, *MORE_OUTPUTS))
    else:
        write_torchscript(network, WINDOW_SAMPLES, folder / "model.pt")


def opened(folder: Path, form: str) -> Ask:
    names = (*OUTPUTS, *MORE_OUTPUTS)
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        return lambda waveforms: dict(zip(names, session.run(list(names), {"WAVEFORM": waveforms}), strict=True))
    module = torch.jit.load(folder / "model.pt")

    def ask(waveforms: np.ndarray) -> Answers:
        with torch.inference_mode():
            return {
                name: tensor.numpy() for name, tensor in zip(names, module(torch.from_numpy(waveforms)), strict=True)
            }

    return ask


def widen_config(path: Path) -> None:
    outputs = [
        f'output {{ name: "{name}" data_type: TYPE_FP32 dims: {list(dims)} }}\n' for name, dims in MORE_OUTPUTS.items()
    ]
    for config in (path, path.parent / "configs/cpu.pbtxt"):
        config.write_text(config.read_text() + "".join(outputs))


def served(client: triton.InferenceServerClient) -> Ask:
    def ask(waveforms: np.ndarray) -> Answers:
        tensor = triton.InferInput("WAVEFORM", waveforms.shape, "FP32")
        tensor.set_data_from_numpy(waveforms)
        result = client.infer(DETECTOR, [tensor])
        return {name: result.as_numpy(name) for name in (*OUTPUTS, *MORE_OUTPUTS)}

    return ask
