"""ECAPA-TDNN, at the size of Spectra-0.

Desplanques et al., "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based Speaker
Verification", Interspeech 2020, arXiv 2005.07143. Activations come before norms, as in the code it was trained with.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.layers.squeeze import SqueezeExcitation

CHANNELS = 128
AGGREGATED = 1536
BOTTLENECK = 256
SCALE = 8
DILATIONS = (2, 3, 4, 5)
LEAST_VARIANCE = 1e-4


class Res2Block(nn.Module):
    """(batch, channels, time) → same shape: eighths of the channels, each convolved with the ones before it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // SCALE
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.bn1 = nn.BatchNorm1d(channels)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation) for _ in range(SCALE - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(SCALE - 1))
        self.conv3 = nn.Conv1d(channels, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se = SqueezeExcitation(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; the last eighth passes untouched."""
        *parts, last = self.bn1(F.relu(self.conv1(x))).chunk(SCALE, dim=1)
        done: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.bns, strict=True):
            done.append(norm(F.relu(conv(part + done[-1] if done else part))))
        mixed = self.bn3(F.relu(self.conv3(torch.cat([*done, last], dim=1))))
        return x + self.se(mixed)  # type: ignore[no-any-return]


class EcapaTdnn(nn.Module):
    """Features (batch, 128, time) → logits (batch, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(CHANNELS, CHANNELS, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(CHANNELS)
        self.layer1, self.layer2, self.layer3, self.layer4 = (Res2Block(CHANNELS, d) for d in DILATIONS)
        self.layer5 = nn.Conv1d(4 * CHANNELS, AGGREGATED, 1)
        self.attention = nn.Sequential(
            nn.Conv1d(3 * AGGREGATED, BOTTLENECK, 1),
            nn.ReLU(),
            nn.BatchNorm1d(BOTTLENECK),
            nn.Tanh(),
            nn.Conv1d(BOTTLENECK, AGGREGATED, 1),
        )
        self.bn5 = nn.BatchNorm1d(2 * AGGREGATED)
        self.fc6 = nn.Linear(2 * AGGREGATED, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Each block is given the sum of everything before it."""
        total = self.bn1(F.relu(self.conv1(features)))
        outputs = []
        for block in (self.layer1, self.layer2, self.layer3, self.layer4):
            outputs.append(block(total))
            total = total + outputs[-1]
        x = F.relu(self.layer5(torch.cat(outputs, dim=1)))  # (batch, 1536, time)
        logits: Tensor = self.fc6(self.bn5(self._pooled(x)))
        return logits

    def _pooled(self, x: Tensor) -> Tensor:
        """Mean and deviation over time, weighted by an attention that also sees the unweighted ones: (batch, 3072)."""
        mean = x.mean(dim=2, keepdim=True)
        deviation = x.var(dim=2, keepdim=True).clamp(min=LEAST_VARIANCE).sqrt()
        context = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
        weights = self.attention(context).softmax(dim=2)
        mean = (x * weights).sum(dim=2)
        variance = (x.square() * weights).sum(dim=2) - mean.square()
        return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=1)
