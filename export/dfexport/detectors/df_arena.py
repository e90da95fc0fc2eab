"""DF Arena 500M and 1B: XLS-R, a gated sum of all its hidden states, and TCM-ADD's conformer at the encoder's width.

Kulkarni et al., "Do Compact SSL Backbones Matter for Audio Deepfake Detection? A Controlled Study with RAPTOR", arXiv
2603.06164; reference code and weights: the hub's Speech-Arena-2025/DF_Arena_500M_V_1 and DF_Arena_1B_V_1
(non-commercial). The published forward takes one waveform; batches are this code's own.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import conformer, xlsr
from dfexport.layers.conformer import Conformer
from dfexport.layers.xlsr import XLSR_1B, XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.layers.xlsr_names import TRANSFORMERS
from dfexport.state import Shapes, State, load_strictly, shapes_of

PREFIX = "backbone.ssl_model."


class Backbone(nn.Module):
    """Hidden states, each (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first_bn = nn.BatchNorm2d(1)
        self.fc0 = nn.Linear(hidden, 1)
        self.conformer = Conformer(hidden)
        self.attn_scores = nn.Linear(hidden, 1, bias=False)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Weigh each state by what its attentive mean over time says, sum, classify."""
        mixed = torch.zeros_like(states[0])
        for state in states:
            weights = torch.softmax(self.attn_scores(state), dim=1)  # (batch, time, 1)
            pooled = weights.transpose(1, 2) @ state  # (batch, 1, hidden)
            mixed = mixed + torch.sigmoid(self.fc0(pooled)) * state
        logits: Tensor = self.conformer(F.selu(self.first_bn(mixed.unsqueeze(1))).squeeze(1))
        return logits


class DfArenaHead(nn.Module):
    """As `Backbone`, under the name that the checkpoints have for it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.backbone = Backbone(hidden)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Shapes as the class states."""
        logits: Tensor = self.backbone(states)
        return logits


class DfArena(XlsrDetector):
    """Waveform (batch, samples) → logits (batch, 2)."""

    def features(self, waveform: Tensor) -> list[Tensor]:
        """What the first layer is given and every layer's output, the last one after the encoder's norm.

        That is what ``hidden_states`` of transformers' model were up to its version 4, with which these networks were
        trained; version 5 answers the last one before the norm, which moves the logits of two layers by 0.06.
        """
        *states, last = self.encoder.hidden_states(waveform)
        return [*states, self.encoder.finished(last)]


def shapes(config: XlsrConfig) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config, PREFIX, TRANSFORMERS) | shapes_of(DfArenaHead(config.hidden))


def build(config: XlsrConfig, state: State) -> nn.Module:
    """Load ``state`` strictly."""
    encoder, head = xlsr.load_xlsr(state, PREFIX, (), TRANSFORMERS)
    xlsr.require_kind(encoder.config, config)
    with torch.device("meta"):  # up to 180 million numbers, which need no first values
        empty = DfArenaHead(encoder.config.hidden)
    return DfArena(encoder, load_strictly(empty, head)).eval()


DF_ARENA_500M, DF_ARENA_1B = (
    Family(
        partial(shapes, config),
        partial(build, config),
        output_layer="backbone.conformer.fc5",
        seeded_rules={**xlsr.SEEDED_RULES, **conformer.SEEDED_RULES},
        encoder_prefix=PREFIX,
        pretraining_keys=("masked_spec_embed",),
    )
    for config in (XLSR_300M, XLSR_1B)
)
