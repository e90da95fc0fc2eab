"""Squeeze and excitation over time, as ECAPA-TDNN and Nes2Net use it (Hu et al., CVPR 2018, arXiv 1709.01507)."""

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """(batch, channels, time) → same shape, each channel weighted by what the means over time say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.Conv1d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        weighted: Tensor = x * self.se(x).sigmoid()
        return weighted
