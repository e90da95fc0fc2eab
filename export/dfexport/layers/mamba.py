"""Mamba-1 without its CUDA kernels: blocks under their published names, and a scan made of standard operators.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752, algorithm 2 and
section 3.4; parameter names: state-spaces/mamba, ``mamba_ssm/modules/mamba_simple.py``. Why the scan is written as it
is, and what else was tried: ``docs/selective-scan.md``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.seeded import SeededRules

SEEDED_RULES: SeededRules = {
    "A_log": lambda noise: np.log(np.arange(1, noise.shape[1] + 1)) + 0.1 * noise,
    "*.dt_proj.bias": lambda noise: -3 + 0.5 * noise,
}

RMS_NORM_EPS = 1e-5
ROUNDED_AWAY = 1e-7  # less than the least float32 step above 1, 1.19e-7
BLOCK_STEPS = 16  # 208 frames are 13 blocks: about as many steps in a block as blocks


def selective_scan(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Run the state space model: h[t] = exp(step[t] · decay) h[t-1] + step[t] b[t] x[t], y[t] = c[t] · h[t].

    Time is cut into blocks. All blocks take their first step together, then their second, and so on: once from an
    empty state, which gives each block's final state; the final states are carried from block to block; then once more
    from the right starting states, which gives y. No exponent is ever positive, so no step size overflows.

    Args:
        x: ``(columns, batch, time, channels)``; time is static, batch may be dynamic.
        step: like ``x``, the step sizes Δ, not negative.
        decay: ``(columns, state, channels)``, the diagonal of A, negative.
        b: ``(columns, batch, time, state)``.
        c: like ``b``.

    Returns:
        y, like ``x``, without the skip connection D x.
    """
    columns, batch, steps, channels = x.shape
    state = decay.shape[1]
    blocks = -(-steps // BLOCK_STEPS)
    step, driven, b, c = (_in_blocks(v, blocks) for v in (step, step * x, b, c))
    total = step.sum(2)  # of each block: (columns, batch · blocks, channels)

    # One tensor a step within a block, (columns, batch · blocks, 1, state, channels): small enough for a CPU's cache.
    decay = decay[:, None, None]
    keep = [torch.exp(step_t * decay) for step_t in torch.split(step.unsqueeze(3), 1, 2)]
    inputs = zip(torch.split(b.unsqueeze(4), 1, 2), torch.split(driven.unsqueeze(3), 1, 2), strict=True)
    add = [b_t * driven_t for b_t, driven_t in inputs]

    final = add[0]
    for keep_t, add_t in zip(keep[1:], add[1:], strict=True):
        final = keep_t * final + add_t
    by_block = (columns, batch, blocks, state, channels)
    keep_block = torch.exp(total[:, :, None, None] * decay).reshape(by_block)
    h = _carry(keep_block, final.reshape(by_block)).reshape(columns, -1, 1, state, channels)

    y = []
    for keep_t, add_t, c_t in zip(keep, add, torch.split(c.unsqueeze(3), 1, 2), strict=True):
        h = keep_t * h + add_t
        y.append(torch.matmul(c_t, h))  # (columns, batch · blocks, 1, 1, channels)
    return torch.cat(y, 2).reshape(columns, batch, blocks * BLOCK_STEPS, channels)[:, :, :steps]


def _in_blocks(v: Tensor, blocks: int) -> Tensor:
    """(columns, batch, time, width) → (columns, batch · blocks, BLOCK_STEPS, width), with steps of size 0 appended."""
    columns, _, steps, width = v.shape
    missing = blocks * BLOCK_STEPS - steps
    return (F.pad(v, (0, 0, 0, missing)) if missing else v).reshape(columns, -1, BLOCK_STEPS, width)


def _carry(keep: Tensor, final: Tensor) -> Tensor:
    """What each block keeps of its starting state, and its final state from an empty one → every starting state."""
    starts = [torch.zeros_like(final[:, :, :1])]
    for keep_k, final_k in zip(torch.split(keep, 1, 2)[:-1], torch.split(final, 1, 2)[:-1], strict=True):
        starts.append(keep_k * starts[-1] + final_k)
    return torch.cat(starts, 2)


class MambaMixer(nn.Module):
    """The parameters of one mixer under their published names; ``MambaLayer`` computes with them.

    Args:
        d_model: features in and out.
        d_state: states of a channel.
        d_conv: taps of the causal convolution.
    """

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4) -> None:
        super().__init__()
        d_inner = 2 * d_model
        dt_rank = -(-d_model // 16)
        self.A_log = nn.Parameter(torch.empty(d_inner, d_state))
        self.D = nn.Parameter(torch.empty(d_inner))
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, d_conv, groups=d_inner)
        self.x_proj = nn.Linear(d_inner, dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(dt_rank, d_inner)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)


class MambaBlock(nn.Module):
    """The parameters of a mixer and of the norm before it, under their published names."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.mixer = MambaMixer(d_model)
        self.norm = RmsNorm(d_model)


class RmsNorm(nn.Module):
    """Scale each frame to a root mean square of 1, then by the weight: (…, features) → (…, features)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features))

    def forward(self, x: Tensor) -> Tensor:
        """As `rms_norm`, by this weight."""
        return rms_norm(x, self.weight)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Scale the last axis to a root mean square of 1, then by ``weight``; same shape."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + RMS_NORM_EPS) * weight


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) to full precision, from operators that ONNX Runtime vectorises; its Softplus is not one of them.

    Adding e to 1 rounds it; the log's error from that is undone by scaling with e over what was really added (Kahan).
    """
    e = torch.exp(-x.abs())
    one_plus_e = 1 + e
    added = torch.clamp_min(one_plus_e - 1, ROUNDED_AWAY)
    return F.relu(x) + e * (torch.clamp_min(torch.log(one_plus_e), ROUNDED_AWAY) / added)


class MambaLayer(nn.Module):
    """Norm and mixer of several columns at once: (columns, batch, time, d_model) → the same shape.

    The weights of the columns are laid side by side when it is made, so every operator runs once for all of them.

    Args:
        blocks: one loaded block a column.
    """

    norm: Tensor  # (columns, 1, 1, d_model)
    in_proj: Tensor  # (columns, d_model, 2 d_inner)
    taps: Tensor  # (columns, d_conv, 1, 1, d_inner)
    conv_bias: Tensor  # (columns, 1, 1, d_inner), as are dt_bias and skip
    x_proj: Tensor  # (columns, d_inner, dt_rank + 2 d_state)
    dt_proj: Tensor  # (columns, dt_rank, d_inner)
    dt_bias: Tensor
    decay: Tensor  # (columns, d_state, d_inner)
    skip: Tensor
    out_proj: Tensor  # (columns, d_inner, d_model)
    scan = staticmethod(selective_scan)

    def __init__(self, blocks: Sequence[MambaBlock]) -> None:
        super().__init__()
        mixers = [block.mixer for block in blocks]
        self.d_inner, self.d_state = mixers[0].A_log.shape
        self.dt_rank = mixers[0].dt_proj.in_features
        self._stack("norm", [block.norm.weight[None, None] for block in blocks])
        self._stack("in_proj", [mixer.in_proj.weight.T for mixer in mixers])
        self._stack("taps", [mixer.conv1d.weight.permute(2, 1, 0)[:, None] for mixer in mixers])
        self._stack("conv_bias", [mixer.conv1d.bias[None, None] for mixer in mixers if mixer.conv1d.bias is not None])
        self._stack("x_proj", [mixer.x_proj.weight.T for mixer in mixers])
        self._stack("dt_proj", [mixer.dt_proj.weight.T for mixer in mixers])
        self._stack("dt_bias", [mixer.dt_proj.bias[None, None] for mixer in mixers])
        self._stack("decay", [-mixer.A_log.T.exp() for mixer in mixers])
        self._stack("skip", [mixer.D[None, None] for mixer in mixers])
        self._stack("out_proj", [mixer.out_proj.weight.T for mixer in mixers])

    def _stack(self, name: str, weights: list[Tensor]) -> None:
        self.register_parameter(name, nn.Parameter(torch.stack(weights).detach().contiguous(), requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """The mixer's output, which the caller adds to its input; same shape."""
        x, gate = torch.split(_project(rms_norm(x, self.norm), self.in_proj), self.d_inner, -1)
        x = F.silu(self._convolve(x))
        step, b, c = torch.split(_project(x, self.x_proj), [self.dt_rank, self.d_state, self.d_state], -1)
        step = softplus(_project(step, self.dt_proj) + self.dt_bias)
        y = self.scan(x, step, self.decay, b, c) + self.skip * x
        return _project(y * F.silu(gate), self.out_proj)

    def _convolve(self, x: Tensor) -> Tensor:
        """Causal, each channel alone: shifted copies cost less here than a grouped convolution with its transposes."""
        taps = self.taps.unbind(1)
        steps = x.shape[2]
        padded = F.pad(x, (0, 0, len(taps) - 1, 0))
        convolved = self.conv_bias
        for shift, tap in enumerate(taps):
            convolved = convolved + tap * padded[:, :, shift : shift + steps]
        return convolved


def _project(x: Tensor, weight: Tensor) -> Tensor:
    """(columns, batch, time, d_in) by (columns, d_in, d_out), without repeating the weight for each clip."""
    columns, batch, steps, _ = x.shape
    return torch.bmm(x.flatten(1, 2), weight).reshape(columns, batch, steps, -1)
