"""The scan in the runtimes that serve it: today's ONNX Runtime, Triton 24.10's, and TorchScript."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import old_onnxruntime
from dfexport.layers.mamba import selective_scan, softplus

CHANNELS, STATE, STEPS = 24, 16, 201
NAMES = ("x", "step", "b", "c")
RUN_OLD = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(None, dict(numpy.load(sys.argv[2])))[0])
print(onnxruntime.__version__)
"""


class BatchFirst(nn.Module):
    """The scan with the batch axis first, where the exporter wants its dynamic axis; decay is a weight."""

    def __init__(self) -> None:
        super().__init__()
        noise = torch.randn(2, STATE, CHANNELS, generator=torch.Generator().manual_seed(0))
        self.decay = nn.Parameter(-torch.arange(1.0, STATE + 1)[:, None] * (0.1 * noise).exp(), requires_grad=False)

    def forward(self, x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> Tensor:
        x, step, b, c = (value.transpose(0, 1) for value in (x, step, b, c))
        return selective_scan(x, step, self.decay, b, c).transpose(0, 1)

    def recurrence(self, x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> np.ndarray:
        """h[t] = exp(step[t] decay) h[t-1] + step[t] b[t] x[t], y[t] = c[t] · h[t], in float64."""
        x64, step64, b64, c64, decay = (value.double().numpy() for value in (x, step, b, c, self.decay))
        h = np.zeros((*x64.shape[:2], STATE, CHANNELS))
        y = np.zeros_like(x64)
        for t in range(x64.shape[2]):
            step_t = step64[:, :, t, None]
            h = np.exp(step_t * decay) * h + step_t * b64[:, :, t, :, None] * x64[:, :, t, None]
            y[:, :, t] = (c64[:, :, t, :, None] * h).sum(2)
        return y


def given(batch: int, step_scale: float) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(batch)
    x, step, b, c = (
        torch.randn(batch, 2, STEPS, width, generator=generator) for width in (CHANNELS, CHANNELS, STATE, STATE)
    )
    return x, step_scale * step.exp(), b, c


def assert_is_recurrence(y: np.ndarray, module: BatchFirst, values: tuple[Tensor, ...]) -> None:
    """Every element is within 1e-5 of the magnitude of the terms that it is the sum of."""
    x, step, b, c = values
    error = np.abs(y - module.recurrence(*values))
    assert (error <= 1e-5 * module.recurrence(x.abs(), step, b.abs(), c.abs())).all()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchFirst, Path]:
    module, path = BatchFirst().eval(), tmp_path_factory.mktemp("scan") / "scan.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            given(2, 0.05),
            input_names=list(NAMES),
            dynamic_shapes=[{0: torch.export.Dim("batch")}] * len(NAMES),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(path)
    return module, path


@pytest.mark.parametrize(("batch", "step_scale"), [(1, 0.05), (5, 0.05), (3, 1e5), (3, 1e-6)])
def test_onnx_runtimes_old_and_new(
    exported: tuple[BatchFirst, Path], batch: int, step_scale: float, tmp_path: Path
) -> None:
    assert old_onnxruntime.FOLDER.is_dir(), old_onnxruntime.MISSING
    module, path = exported
    values = given(batch, step_scale)
    feed = {name: value.numpy() for name, value in zip(NAMES, values, strict=True)}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert_is_recurrence(session.run(None, feed)[0], module, values)

    np.savez(tmp_path / "feed.npz", **feed)
    command = [sys.executable, "-c", RUN_OLD, str(path), str(tmp_path / "feed.npz"), str(tmp_path / "y.npy")]
    environment = {**os.environ, "PYTHONPATH": str(old_onnxruntime.FOLDER)}
    finished = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (0, f"{old_onnxruntime.VERSION}\n"), finished.stderr
    assert_is_recurrence(np.load(tmp_path / "y.npy"), module, values)


def test_torchscript_traced_at_one_batch_runs_at_any() -> None:
    module = BatchFirst().eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, given(2, 0.05))
        for batch, step_scale in ((1, 0.05), (5, 1e5), (3, 1e-6)):
            values = given(batch, step_scale)
            assert_is_recurrence(traced(*values).numpy(), module, values)


def test_a_state_set_at_the_first_step_lasts_and_a_long_step_drops_it() -> None:
    module = BatchFirst().eval()
    x, step, b, c = given(1, 1e-7)
    x[:, :, 1:] = 0.0
    with torch.inference_mode():
        y = module(x, step, b, c).numpy()
        assert_is_recurrence(y, module, (x, step, b, c))
        assert (np.abs(y[:, :, -1]) > 0).all()
        step[:, :, 100] = 1e6
        assert (module(x, step, b, c)[:, :, 100:] == 0).all()


class Softplus(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return softplus(x)


def test_softplus_is_exact_to_a_few_roundings_everywhere(tmp_path: Path) -> None:
    ends = torch.tensor([0.0, 20.0, -20.0, 85.0, -85.0, 1e4, -1e4, 3e38, -3e38])
    x = torch.cat([torch.linspace(-85, 85, 100_001), ends])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(Softplus(), (x,), input_names=["x"], opset_version=18, dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "softplus.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "softplus.onnx", providers=["CPUExecutionProvider"])
    expected = np.logaddexp(0, x.double().numpy())
    for y in (softplus(x).numpy(), session.run(None, {"x": x.numpy()})[0]):
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-38)
