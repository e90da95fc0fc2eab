"""What some authors do to a waveform before their network: a part of the served graph, since clients send raw audio."""

import torch
from torch import Tensor, nn


class PreEmphasis(nn.Module):
    """y[0] = x[0], y[t] = x[t] - 0.97 x[t-1]: (batch, samples) → same shape."""

    COEFFICIENT = 0.97

    def forward(self, waveform: Tensor) -> Tensor:
        """Each window by itself."""
        return torch.cat([waveform[:, :1], waveform[:, 1:] - self.COEFFICIENT * waveform[:, :-1]], dim=1)


class Normalise(nn.Module):
    """Zero mean and unit variance over a waveform's length: (batch, samples) → same shape."""

    def forward(self, waveform: Tensor) -> Tensor:
        """Each waveform by itself; the population's variance plus 1e-5, as a layer norm has it.

        By hand, since a traced layer norm would keep the length that it was traced with.
        """
        variance, mean = torch.var_mean(waveform, dim=1, correction=0, keepdim=True)
        return (waveform - mean) * torch.rsqrt(variance + 1e-5)
