"""XLSR-Mamba: XLS-R 300M and two columns of Mamba blocks, one of them on the time-reversed sequence.

Xiao and Das, "XLSR-Mamba: A Dual-Column Bidirectional State Space Model for Spoofing Attack Detection", IEEE Signal
Processing Letters 2025, arXiv 2411.10027; reference code and weights: swagshaw/XLSR-Mamba, ``model.py`` and
``mamba_blocks.py`` (MIT).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import xlsr
from dfexport.layers.mamba import SEEDED_RULES, MambaBlock, MambaLayer, RmsNorm
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.state import Shapes, State, load_strictly, shapes_of

D_MODEL = 144
BLOCKS = 6


class PublishedColumns(nn.Module):
    """The parameters of the back-end under their published names; ``DualColumn`` computes with them."""

    def __init__(self) -> None:
        super().__init__()
        self.forward_layers = nn.ModuleList(MambaBlock(D_MODEL) for _ in range(BLOCKS))
        self.backward_layers = nn.ModuleList(MambaBlock(D_MODEL) for _ in range(BLOCKS))
        self.norm_f = RmsNorm(D_MODEL)
        self.f_attention_pool = nn.Linear(D_MODEL, 1)
        self.b_attention_pool = nn.Linear(D_MODEL, 1)
        self.LL = nn.Linear(2 * D_MODEL, D_MODEL)
        self.classifier = nn.Linear(D_MODEL, 2)


class DualColumn(nn.Module):
    """Frames (batch, time, 144) → logits (batch, 2).

    As the published weights were trained (upstream's fused_add_norm): after the last block both columns add the
    *input of the stack, in forward order*, where the last mixer's output should have been. So the last mixer of each
    column plays no part and is left out. The backward column is never flipped back.
    """

    def __init__(self, published: PublishedColumns) -> None:
        super().__init__()
        pairs = zip(published.forward_layers, published.backward_layers, strict=True)
        self.layers = nn.ModuleList([MambaLayer(pair) for pair in pairs][:-1])  # type: ignore[arg-type]
        self.norm = published.norm_f
        self.pools = nn.ModuleList([published.f_attention_pool, published.b_attention_pool])
        self.project = published.LL
        self.classifier = published.classifier

    def forward(self, frames: Tensor) -> Tensor:
        """Run both columns and pool each over time."""
        residual = torch.stack([frames, frames.flip(1)])  # (2, batch, time, 144)
        for layer in self.layers:
            residual = residual + layer(residual)
        columns = self.norm(frames + residual)
        pooled = [_attention_pool(pool, column) for pool, column in zip(self.pools, columns.unbind(), strict=True)]
        logits: Tensor = self.classifier(self.project(torch.cat(pooled, -1)))
        return logits


def _attention_pool(pool: nn.Module, column: Tensor) -> Tensor:
    """(batch, time, features) → (batch, features), weighted over time."""
    weights = torch.softmax(pool(column), dim=1)  # (batch, time, 1)
    return (weights.transpose(1, 2) @ column).squeeze(1)


class PublishedXlsrMamba(nn.Module):
    """The parameters of everything behind the encoder, under their published names."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.LL = nn.Linear(hidden, D_MODEL)
        self.first_bn = nn.BatchNorm2d(1)
        self.conformer = PublishedColumns()


class XlsrMambaHead(nn.Module):
    """Frames (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, published: PublishedXlsrMamba) -> None:
        super().__init__()
        self.project = published.LL
        self.norm = published.first_bn
        self.columns = DualColumn(published.conformer)

    def forward(self, frames: Tensor) -> Tensor:
        """Score the encoder's output after its last layer norm."""
        narrow = F.selu(self.norm(self.project(frames).unsqueeze(1))).squeeze(1)  # (batch, time, 144)
        logits: Tensor = self.columns(narrow)
        return logits


def shapes(config: XlsrConfig = XLSR_300M) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config) | shapes_of(PublishedXlsrMamba(config.hidden))


def build(state: State) -> nn.Module:
    """Load ``state`` strictly, the dead mixers too; the encoder's size is read from its tensors."""
    encoder, head = xlsr.load_xlsr(state)
    published = PublishedXlsrMamba(encoder.config.hidden)
    load_strictly(published, head)
    return XlsrDetector(encoder, XlsrMambaHead(published)).eval()


XLSR_MAMBA = Family(
    shapes,
    build,
    output_layer="conformer.classifier",
    seeded_rules={**xlsr.SEEDED_RULES, **SEEDED_RULES},
    encoder_prefix=xlsr.PREFIX,
    pretraining_keys=xlsr.PRETRAINING_KEYS,
    # The authors publish five files a track; their mean is the model of the paper.
    averaged_files=tuple(f"best_{rank}.pth" for rank in range(5)),
)
