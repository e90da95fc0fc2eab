"""The selective scan equals the recurrence that it stands for, and a layer the block of the paper."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfexport.layers.mamba import SEEDED_RULES, MambaBlock, MambaLayer, selective_scan
from dfexport.seeded import seeded_state

LENGTHS = (1, 2, 3, 7, 64, 201, 208, 1000)
# Factors on step sizes around 0.05; the published model's lie between 0.001 and 0.1. Zero freezes the state, a
# thousand forgets it at each step, and a state kept for 1,000 tiny steps must not drift.
STEP_SCALES = {"usual": 1.0, "zero": 0.0, "tiny": 1e-6, "large": 1e3, "huge": 1e8, "mixed": None}

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def inputs_of(steps: int, scale: float | None, *, columns: int = 2, batch: int = 2, seed: int = 0) -> Inputs:
    random = np.random.RandomState(seed)
    channels, state = 12, 16
    step = np.logaddexp(0, random.standard_normal((columns, batch, steps, channels)) - 3)
    step *= 10 ** random.uniform(-6, 4, step.shape) if scale is None else scale
    decay = -np.arange(1, state + 1)[:, None] * np.exp(0.1 * random.standard_normal((columns, state, channels)))
    x, b, c = (random.standard_normal((columns, batch, steps, size)) for size in (channels, state, state))
    return tuple(torch.from_numpy(v.astype(np.float32)) for v in (x, step, decay, b, c))


def loop(x: torch.Tensor, step: torch.Tensor, decay: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> np.ndarray:
    """The recurrence, one step after the other, in float64."""
    x, step, decay, b, c = (v.numpy().astype(np.float64) for v in (x, step, decay, b, c))
    y = np.zeros_like(x)
    for column in range(x.shape[0]):
        h = np.zeros((x.shape[1], *decay.shape[1:]))  # (batch, state, channels)
        for t in range(x.shape[2]):
            step_t = step[column, :, t, None, :]
            h = np.exp(step_t * decay[column]) * h + step_t * b[column, :, t, :, None] * x[column, :, t, None, :]
            y[column, :, t] = (c[column, :, t, :, None] * h).sum(1)
    return y


def relative_error(y: np.ndarray, expected: np.ndarray) -> float:
    """Largest error of a channel over time, as a share of that channel's largest value."""
    largest = np.abs(expected).max(axis=2, keepdims=True)
    assert np.isfinite(y).all()
    return float((np.abs(y - expected) / np.where(largest > 0, largest, 1)).max())


@pytest.mark.parametrize("scale", STEP_SCALES.values(), ids=STEP_SCALES)
@pytest.mark.parametrize("steps", LENGTHS)
def test_the_scan_equals_the_loop(steps: int, scale: float | None) -> None:
    inputs = inputs_of(steps, scale)
    assert relative_error(selective_scan(*inputs).numpy(), loop(*inputs)) < 1e-5


@settings(deadline=None, max_examples=40)
@given(
    steps=st.integers(1, 120),
    exponent=st.floats(-8, 8),
    columns=st.integers(1, 3),
    batch=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_the_scan_equals_the_loop_whatever_the_shape(
    steps: int, exponent: float, columns: int, batch: int, seed: int
) -> None:
    """As a share of the sum's terms: the 16 terms of a single step may cancel to nearly nothing in any arithmetic."""
    x, step, decay, b, c = inputs_of(steps, 10**exponent, columns=columns, batch=batch, seed=seed)
    error = np.abs(selective_scan(x, step, decay, b, c).numpy() - loop(x, step, decay, b, c))
    terms = loop(x.abs(), step, decay, b.abs(), c.abs())
    assert np.all(error <= 1e-6 * terms)


def test_the_future_does_not_change_the_past() -> None:
    x, step, decay, b, c = inputs_of(208, 1.0)
    before = selective_scan(x, step, decay, b, c)
    for v in (x, step, b, c):
        v[:, :, 101:] = 0.5
    after = selective_scan(x, step, decay, b, c)
    assert torch.equal(before[:, :, :101], after[:, :, :101])
    assert not torch.equal(before[:, :, 101], after[:, :, 101])


def test_neither_columns_nor_clips_touch_each_other() -> None:
    x, step, decay, b, c = inputs_of(64, 1.0, columns=2, batch=3)
    together = selective_scan(x, step, decay, b, c)
    for column in range(2):
        for clip in range(3):
            at = (slice(column, column + 1), slice(clip, clip + 1))
            alone = selective_scan(x[at], step[at], decay[at[0]], b[at], c[at])
            torch.testing.assert_close(together[at], alone, rtol=0, atol=1e-6)


class Scan(torch.nn.Module):
    def forward(self, x: torch.Tensor, step: torch.Tensor, decay: torch.Tensor, b: torch.Tensor, c: torch.Tensor):
        return selective_scan(x, step, decay, b, c)


@pytest.mark.parametrize(
    "steps",
    [208, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 7, 201))],  # 201: test_mamba_runtimes
)
def test_onnx_runtime_scans_as_the_loop_does_for_any_batch_and_step(steps: int, tmp_path: Path) -> None:
    names = ("x", "step", "decay", "b", "c")
    batched = {name: {1: torch.export.Dim("batch")} if name != "decay" else None for name in names}
    program = torch.onnx.export(
        Scan().eval(), inputs_of(steps, 1.0), input_names=names, dynamic_shapes=batched, opset_version=18, verbose=False
    )
    program.save(tmp_path / "scan.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "scan.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        for scale in STEP_SCALES.values():
            inputs = inputs_of(steps, scale, batch=batch)
            feed = {name: v.numpy() for name, v in zip(names, inputs, strict=True)}
            (y,) = session.run(None, feed)
            assert relative_error(y, loop(*inputs)) < 1e-5


def block_of(seed: str, d_model: int = 32) -> MambaBlock:
    block = MambaBlock(d_model)
    shapes = {key: tuple(value.shape) for key, value in block.state_dict().items()}
    seeded = seeded_state({f"{seed}.{key}": shape for key, shape in shapes.items()}, SEEDED_RULES)
    block.load_state_dict({key: seeded[f"{seed}.{key}"] for key in shapes})
    return block


def silu(v: np.ndarray) -> np.ndarray:
    return v / (1 + np.exp(-v))


def block_in_float64(block: MambaBlock, frames: np.ndarray) -> np.ndarray:
    """Mamba-1 as its paper's figure 3 and algorithm 2 draw it, for one clip (time, d_model)."""
    w = {key: value.numpy().astype(np.float64) for key, value in block.state_dict().items()}
    steps = len(frames)
    frames = frames.astype(np.float64)
    normed = frames / np.sqrt((frames**2).mean(-1, keepdims=True) + 1e-5) * w["norm.weight"]
    x, z = np.split(normed @ w["mixer.in_proj.weight"].T, 2, axis=-1)
    taps = w["mixer.conv1d.weight"][:, 0]  # the last tap meets the present frame
    padded = np.concatenate([np.zeros((3, x.shape[1])), x])
    x = silu(sum(padded[k : k + steps] * taps[:, k] for k in range(4)) + w["mixer.conv1d.bias"])
    rank = w["mixer.dt_proj.weight"].shape[1]
    low, b, c = np.split(x @ w["mixer.x_proj.weight"].T, [rank, rank + 16], axis=-1)
    step = np.logaddexp(0, low @ w["mixer.dt_proj.weight"].T + w["mixer.dt_proj.bias"])
    a = -np.exp(w["mixer.A_log"])  # (channels, state)
    h = np.zeros_like(a)
    y = np.zeros_like(x)
    for t in range(steps):
        h = np.exp(step[t][:, None] * a) * h + step[t][:, None] * b[t] * x[t][:, None]
        y[t] = h @ c[t] + w["mixer.D"] * x[t]
    return (y * silu(z)) @ w["mixer.out_proj.weight"].T


def test_a_layer_of_two_columns_is_two_blocks_of_the_paper() -> None:
    blocks = [block_of("forward"), block_of("backward")]
    frames = np.random.RandomState(3).standard_normal((2, 3, 50, 32)).astype(np.float32)
    with torch.inference_mode():
        mixed = MambaLayer(blocks)(torch.from_numpy(frames)).numpy()
    for column, block in enumerate(blocks):
        for clip in range(3):
            expected = block_in_float64(block, frames[column, clip])
            np.testing.assert_allclose(mixed[column, clip], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
