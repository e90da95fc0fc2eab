"""The OpenVINO twin on a real Triton, and what it refuses."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

import tiny_repository
from dfclient import Detector
from dfdeploy.backends.openvino.runner import Runner, import_openvino
from dfdeploy.embedded import Server
from dfexport.repository import read_card
from dfexport.signals import wave
from held import backends_held

NAME = "tiny_openvino"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino") / "models"
    return tiny_repository.write_as(folder, NAME, "openvino", tiny_repository.WITH_ENCODER)


@pytest.fixture(scope="module")
def server(repository: Path, server_with_torch: Path) -> Iterator[Server]:
    """Ready means that the self-check, the live model's too, passed."""
    with Server(repository, environment_dir=server_with_torch) as server:
        assert server.models == [NAME, f"{NAME}_live"]
        yield server


def test_it_answers_the_logits_and_the_identity_of_the_card(server: Server, repository: Path) -> None:
    windows = np.stack([wave(seed, tiny_repository.WINDOW_SAMPLES) for seed in (2, 3)])
    with triton.InferenceServerClient(server.grpc_url) as client:
        for window in windows:
            tensor = triton.InferInput("WAVEFORM", [1, len(window)], "FP32")
            tensor.set_data_from_numpy(window[None])
            answer = client.infer(NAME, [tensor])
            expected = tiny_repository.logits_of(window)
            np.testing.assert_allclose(answer.as_numpy("LOGITS")[0], expected, atol=1e-4)
            np.testing.assert_array_equal(answer.as_numpy("SCORE"), answer.as_numpy("LOGITS")[:, 1:])
            assert answer.as_numpy("IDENTITY").tolist() == [[read_card(repository / NAME).identity]]


def test_requests_that_come_together_are_one_batch_and_each_gets_its_own_answer(server: Server) -> None:
    """Batches of changing size, which NVIDIA's backend would mix up."""
    windows = np.stack([wave(seed, tiny_repository.WINDOW_SAMPLES) for seed in range(2, 12)])
    parts = [windows[start : start + size] for start, size in ((0, 1), (1, 1), (2, 3), (5, 2), (7, 1), (6, 4), (0, 2))]
    with Detector(server.grpc_url, NAME) as detector, ThreadPoolExecutor(len(parts)) as pool:
        with backends_held(server):
            answers = []
            for part in parts:
                answers.append(pool.submit(detector.infer, part))
                time.sleep(0.03)
        for part, answer in zip(parts, answers, strict=True):
            expected = [tiny_repository.logits_of(window) for window in part]
            np.testing.assert_allclose(answer.result()[0], expected, atol=1e-4)
    with triton.InferenceServerClient(server.grpc_url) as client:
        (found,) = client.get_inference_statistics(NAME).model_stats
    sizes = {batch.batch_size for batch in found.batch_stats}
    assert 1 in sizes
    assert 4 in sizes
    assert len(found.batch_stats) < len(parts) + 2  # several requests were one batch


def test_a_client_scores_many_windows(server: Server) -> None:
    seconds = np.concatenate([wave(seed, tiny_repository.WINDOW_SAMPLES) for seed in (2, 3, 4)])
    with Detector(server.grpc_url, NAME) as detector:
        assert detector.card.format == "openvino"
        result = detector.score((seconds, 16_000), mode="sliding", hop_s=0.5)
    starts = np.arange(0, len(seconds) - tiny_repository.WINDOW_SAMPLES + 1, 8_000)
    expected = [tiny_repository.logits_of(seconds[at : at + tiny_repository.WINDOW_SAMPLES])[1] for at in starts]
    np.testing.assert_allclose([window.score for window in result.windows], expected, atol=1e-4)


def fake_openvino(capabilities: list[str], compiled: list[Any]) -> Any:
    """Records what a model is compiled with."""
    model = SimpleNamespace(
        input=lambda name: SimpleNamespace(get_partial_shape=lambda: [-1, 16_000]),
        reshape=compiled.append,
    )

    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return capabilities

        def read_model(self, path: Path) -> Any:
            return model

        def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Any:
            compiled.append(options)
            return SimpleNamespace(create_infer_request=lambda: None)

    return SimpleNamespace(Core=Core)


@pytest.mark.parametrize(
    ("precision", "capabilities", "hint", "group"),
    [
        ("fp32", ["FP32", "BF16"], "f32", None),  # OpenVINO would choose bf16 by itself
        ("bf16", ["FP32", "BF16"], "bf16", None),
        ("int8", ["FP32", "BF16"], "bf16", 128),
        ("int8", ["FP32"], "f32", 128),
    ],
)
def test_the_precision_is_asked_for(
    precision: str, capabilities: list[str], hint: str, group: int | None, tmp_path: Path
) -> None:
    compiled: list[Any] = []
    openvino = fake_openvino(capabilities, compiled)
    Runner(openvino, tmp_path, "WAVEFORM", ["LOGITS"], 3, precision=precision, max_batch_size=1)
    shapes, options = compiled
    assert shapes == {"WAVEFORM": [1, 16_000]}
    assert options["INFERENCE_PRECISION_HINT"] == hint
    assert options.get("DYNAMIC_QUANTIZATION_GROUP_SIZE") == group
    assert (options["INFERENCE_NUM_THREADS"], options["NUM_STREAMS"]) == (3, 1)


def test_bf16_is_refused_where_the_cpu_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "1"
    with pytest.raises(RuntimeError, match="model was built to be computed in bf16, which this CPU does not have"):
        Runner(fake_openvino(["FP32"], []), folder, "WAVEFORM", ["LOGITS"], 2, precision="bf16", max_batch_size=1)


def test_a_server_without_openvino_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeError, match=r"^model is for OpenVINO, .* run dfdeploy setup --openvino, or build the"):
        import_openvino(tmp_path / "model" / "1")
