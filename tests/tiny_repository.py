"""A repository of two tiny models that keep the contract, for tests of what surrounds a detector."""

import dataclasses
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from dfcontract.calibration import Calibration
from dfcontract.live import live_name
from dfexport import live, repository
from dfexport.card import identity, model_card, with_self_check
from dfexport.registry import find
from dfexport.signals import wave
from dfexport.spec import XLSR_PRECISIONS, DetectorSpec, Weights

WINDOW_SAMPLES = 16_000
SPEC = dataclasses.replace(find("aasist"), name="tiny", window_samples=WINDOW_SAMPLES)
WITH_ENCODER = dataclasses.replace(SPEC, precisions=XLSR_PRECISIONS)
DIGESTS = {"tiny": "0" * 64, "tiny_trained": "ab" * 32, "tiny_other": "cd" * 32}
OTHER_GAIN = -2.0  # of the logits of ``tiny_other``, beside those of the two others
IDENTITIES = {name: identity(SPEC, sha256, "onnx", "fp32", reduce_range=False) for name, sha256 in DIGESTS.items()}


def weights() -> np.ndarray:
    """(window, 2): the logits are tanh(waveform) @ weights."""
    axis = np.arange(WINDOW_SAMPLES)
    columns = [-np.cos(2 * np.pi * axis / 997), np.cos(2 * np.pi * axis / 613)]
    return np.stack(columns, axis=1).astype(np.float32) / 100


def logits_of(window: np.ndarray) -> np.ndarray:
    """What both models answer, computed in float64."""
    return np.tanh(window.astype(np.float64)) @ weights().astype(np.float64)


def write(folder: Path, calibration: Calibration | None = None) -> Path:
    """Write ``tiny`` (random weights) and ``tiny_trained`` (custom weights, a threshold), each with its live sibling.

    Args:
        folder: where to.
        calibration: for the card of ``tiny_trained``.

    Returns the folder.
    """
    _write_model(folder, "tiny", weights="random")
    _write_model(folder, "tiny_trained", weights="custom", calibration=calibration)
    return folder


def write_as(folder: Path, name: str, form: str, spec: DetectorSpec = SPEC) -> Path:
    """Write a model with random weights in a format whose file is ONNX, as if it were of a detector.

    Returns the folder.
    """
    _write_model(folder, name, weights="random", form=form, spec=spec)
    return folder


def write_pair(folder: Path) -> Path:
    """Write ``tiny_trained`` and ``tiny_other``, both with custom weights: members of a fusion. Returns the folder."""
    _write_model(folder, "tiny_trained", weights="custom")
    _write_model(folder, "tiny_other", weights="custom", gain=OTHER_GAIN)
    return folder


def _write_model(
    folder: Path,
    name: str,
    *,
    weights: Weights,
    calibration: Calibration | None = None,
    form: str = "onnx",
    gain: float = 1.0,
    spec: DetectorSpec = SPEC,
) -> None:
    (folder / name / "1").mkdir(parents=True)
    waveform = wave(1, WINDOW_SAMPLES)
    spoof, bonafide = np.float32(gain * logits_of(waveform)).tolist()
    sha256 = DIGESTS.get(name, DIGESTS["tiny"])
    card = model_card(name, spec, weights=weights, sha256=sha256, source="made by rule", format=form)
    save(_graph(card.identity, gain), folder / name / "1" / "model.onnx")
    card = with_self_check(card, spec, (spoof, bonafide))
    if weights == "custom":
        card = dataclasses.replace(card, threshold=0.25, threshold_source="a made-up set", calibration=calibration)
    repository.write_model(folder / name, spec, card, waveform)
    live.write_live_model(folder / live_name(name), name, WINDOW_SAMPLES)


def _graph(identity: int, gain: float):
    constants = {
        "weights": np.float32(gain) * weights(),
        "one": np.array([1]),
        "two": np.array([2]),
        "identity": np.array([[identity]], np.int64),
    }
    nodes = [
        helper.make_node("Tanh", ["WAVEFORM"], ["squashed"]),
        helper.make_node("MatMul", ["squashed", "weights"], ["LOGITS"]),
        helper.make_node("Slice", ["LOGITS", "one", "two", "one"], ["SCORE"]),
        helper.make_node("Shape", ["SCORE"], ["rows"]),
        helper.make_node("Expand", ["identity", "rows"], ["IDENTITY"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("WAVEFORM", TensorProto.FLOAT, ["batch", WINDOW_SAMPLES])],
        [
            helper.make_tensor_value_info("LOGITS", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("SCORE", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("IDENTITY", TensorProto.INT64, ["batch", 1]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
