"""A repository of two tiny models that keep the contract, for tests of what surrounds a detector."""

import dataclasses
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from dfexport import live, repository
from dfexport.registry import find
from dfexport.signals import wave
from dfexport.spec import Threshold

WINDOW_SAMPLES = 16_000
SPEC = dataclasses.replace(
    find("aasist"), name="tiny", window_samples=WINDOW_SAMPLES, threshold=Threshold(0.25, "a made-up set")
)


def weights() -> np.ndarray:
    """(window, 2): the logits are tanh(waveform) @ weights."""
    axis = np.arange(WINDOW_SAMPLES)
    columns = [-np.cos(2 * np.pi * axis / 997), np.cos(2 * np.pi * axis / 613)]
    return np.stack(columns, axis=1).astype(np.float32) / 100


def logits_of(window: np.ndarray) -> np.ndarray:
    """What both models answer, computed in float64."""
    return np.tanh(window.astype(np.float64)) @ weights().astype(np.float64)


def write(folder: Path) -> Path:
    """Write ``tiny`` (random weights) and ``tiny_trained`` (custom weights, a threshold), each with its live sibling.

    Returns the folder.
    """
    _write_model(folder, "tiny", weights="random", sha256="0" * 64)
    _write_model(folder, "tiny_trained", weights="custom", sha256="ab" * 32)
    return folder


def _write_model(folder: Path, name: str, *, weights: str, sha256: str) -> None:
    (folder / name / "1").mkdir(parents=True)
    save(_graph(), folder / name / "1" / "model.onnx")
    waveform = wave(1, WINDOW_SAMPLES)
    spoof, bonafide = logits_of(waveform)
    card = repository.model_card(
        SPEC, weights=weights, sha256=sha256, source="made by rule", self_check_logits=(spoof, bonafide)
    )
    if weights == "custom":
        card |= {"threshold": "0.25", "threshold_source": "a made-up set"}
    repository.write_model(folder / name, name, SPEC, card, waveform)
    live.write_live_model(folder / (name + live.SUFFIX), name, SPEC)


def _graph():
    constants = {"weights": weights(), "one": np.array([1]), "two": np.array([2])}
    nodes = [
        helper.make_node("Tanh", ["WAVEFORM"], ["squashed"]),
        helper.make_node("MatMul", ["squashed", "weights"], ["LOGITS"]),
        helper.make_node("Slice", ["LOGITS", "one", "two", "one"], ["SCORE"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("WAVEFORM", TensorProto.FLOAT, ["batch", WINDOW_SAMPLES])],
        [
            helper.make_tensor_value_info("LOGITS", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("SCORE", TensorProto.FLOAT, ["batch", 1]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
