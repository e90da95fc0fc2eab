"""The ONNX Runtime twin's choices for a GPU, which is not here: what it asks ONNX Runtime for, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from dfdeploy.backends.onnxruntime import runner
from dfdeploy.backends.onnxruntime.runner import CPU, CUDA, GpuRunner


class FakeSession:
    """Opens with the providers that it is told to fall back to."""

    opened: Any = None
    fallback: tuple[str, ...] = (CUDA, CPU)

    def __init__(self, path: Path, options: Any, *, providers: list[Any]) -> None:
        type(self).opened = providers

    def get_providers(self) -> list[str]:
        return list(self.fallback)


@pytest.fixture
def preloaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(runner.onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(runner.onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(runner.onnxruntime, "preload_dlls", lambda: calls.append("preloaded"), raising=False)
    return calls


@pytest.mark.parametrize("is_fp32", [True, False])
def test_fp32_products_are_not_rounded_to_tf32(tmp_path: Path, preloaded: list[str], *, is_fp32: bool) -> None:
    GpuRunner(tmp_path, "WAVEFORM", ["LOGITS"], 1, is_fp32=is_fp32)
    assert preloaded == ["preloaded"]
    (name, options), other = FakeSession.opened
    assert (name, other) == (CUDA, CPU)
    assert options["device_id"] == 1
    assert options.get("use_tf32") == ("0" if is_fp32 else None)


def test_a_session_that_fell_back_to_the_cpu_is_refused(
    tmp_path: Path, preloaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSession, "fallback", (CPU,))
    with pytest.raises(RuntimeError, match="fell back to CPUExecutionProvider"):
        GpuRunner(tmp_path, "WAVEFORM", ["LOGITS"], 0, is_fp32=True)


def test_an_onnxruntime_without_cuda_or_preloading_is_refused(
    tmp_path: Path, preloaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(runner.onnxruntime, "preload_dlls")
    monkeypatch.setattr(runner.onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(RuntimeError, match="needs onnxruntime-gpu"):
        GpuRunner(tmp_path, "WAVEFORM", ["LOGITS"], 0, is_fp32=True)
