"""Nes2Net-X: wav2vec 2.0 XLS-R, fine-tuned, and nested Res2Nets that take its features at full width.

Liu et al., "Nes2Net: A Lightweight Nested Architecture for Foundation Model Driven Speech Anti-spoofing", IEEE
Transactions on Information Forensics and Security 2025, arXiv 2504.05657; reference code and weights:
Liu-Tianchi/Nes2Net_ASVspoof_ITW (no licence stated).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import xlsr
from dfexport.layers.squeeze import SqueezeExcitation
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.state import Shapes, State, load_strictly, shapes_of

SCALE = 8  # groups of the outer and of each inner network


class InnerRes2Net(nn.Module):
    """(batch, channels, time) → same shape.

    Eighths of the channels are columns of a growing stack: each step adds one and convolves all over time, and the
    step's output is a weighted sum of the columns. Activations come before norms.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width, steps = channels // SCALE, range(SCALE - 1)
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.bn1 = nn.BatchNorm1d(channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, kernel_size=(3, 1), dilation=(2, 1), padding=(2, 0)) for _ in steps
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in steps)
        self.weighted_sum = nn.ParameterList(torch.empty(1, 1, 1, step + 2) for step in steps)
        self.conv3 = nn.Conv1d(channels, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se = SqueezeExcitation(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; the last eighth, which the stack starts with, also passes untouched."""
        *parts, last = self.bn1(F.relu(self.conv1(x))).chunk(SCALE, dim=1)
        stack, sums = last.unsqueeze(-1), []  # (batch, width, time, columns)
        for part, conv, norm, weights in zip(parts, self.convs, self.bns, self.weighted_sum, strict=True):
            stack = norm(F.relu(conv(torch.cat([stack, part.unsqueeze(-1)], dim=-1))))
            sums.append((stack * weights).sum(-1))
        mixed = self.bn3(F.relu(self.conv3(torch.cat([*sums, last], dim=1))))
        answer: Tensor = x + self.se(mixed)
        return answer


class NestedRes2Net(nn.Module):
    """Features (batch, hidden, time) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        width, groups = hidden // SCALE, range(SCALE - 1)
        self.Build_in_Res2Nets = nn.ModuleList(InnerRes2Net(width) for _ in groups)
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in groups)
        self.bn = nn.BatchNorm1d(hidden)
        self.fc = nn.Linear(hidden, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Each group is given the output of the one before it, too; the last passes untouched."""
        *groups, last = features.chunk(SCALE, dim=1)
        done: list[Tensor] = []
        for group, inner, norm in zip(groups, self.Build_in_Res2Nets, self.bns, strict=True):
            done.append(norm(F.relu(inner(group + done[-1] if done else group))))
        pooled = F.relu(self.bn(torch.cat([*done, last], dim=1))).mean(dim=2)
        logits: Tensor = self.fc(pooled)
        return logits


class Nes2NetHead(nn.Module):
    """Frames (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.Nested_Res2Net_TDNN = NestedRes2Net(hidden)

    def forward(self, frames: Tensor) -> Tensor:
        """Score the encoder's output after its last layer norm."""
        logits: Tensor = self.Nested_Res2Net_TDNN(frames.transpose(1, 2))
        return logits


def shapes(config: XlsrConfig = XLSR_300M) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config) | shapes_of(Nes2NetHead(config.hidden))


def build(state: State) -> nn.Module:
    """Load ``state`` strictly; the encoder's size is read from its tensors."""
    encoder, head = xlsr.load_xlsr(state)
    return XlsrDetector(encoder, load_strictly(Nes2NetHead(encoder.config.hidden), head)).eval()


NES2NET_X = Family(
    shapes,
    build,
    output_layer="Nested_Res2Net_TDNN.fc",
    seeded_rules=xlsr.SEEDED_RULES,
    encoder_prefix=xlsr.PREFIX,
    pretraining_keys=xlsr.PRETRAINING_KEYS,
)
