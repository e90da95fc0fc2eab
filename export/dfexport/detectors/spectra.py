"""Spectra-0, Spectra-AASIST and Spectra-AASIST3: XLS-R 300M on pre-emphasised audio, and three heads.

lab260, no paper; reference code and weights: the hub's lab260/spectra_0, lab260/Spectra-AASIST and
lab260/Spectra-AASIST3, ``model.py`` (Apache-2.0). The heads are ECAPA-TDNN (`dfexport.layers.ecapa`), AASIST's graph
back-end with four branches (`GraphHead`), and the same with Kolmogorov-Arnold layers (`dfexport.layers.kan`).
"""

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import graph_backend, kan, xlsr
from dfexport.layers.ecapa import EcapaTdnn
from dfexport.layers.graph_attention import GraphAttention, GraphPool, HeterogeneousGraphAttention, Linear
from dfexport.layers.graph_backend import readout
from dfexport.layers.kan import KanLinear
from dfexport.layers.preparation import PreEmphasis
from dfexport.layers.residual import residual_encoder
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.layers.xlsr_names import TRANSFORMERS
from dfexport.seeded import SeededRules
from dfexport.state import Shapes, State, load_strictly, shapes_of

PREFIX = "ssl_encoder.model."
FEATURES = 128
CHANNELS = 64
NARROW = 32
SPECTRAL_NODES = FEATURES // 3  # 42
POSITIONS = 400  # frames; 8 s
BRANCHES = 4
POOL_RATIO = 0.5
TEMPERATURE, BRANCH_TEMPERATURE = 2.0, 100.0
BN1_OF_FIRST_BLOCK = ("aasist.enc.enc.0.0.bn1.",)  # as AASIST's: training code may leave it, and nothing calls it


class Bridge(nn.Module):
    """Frames (batch, time, hidden) → (batch, time, 128)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        # The place of a dropout is kept, since checkpoints count it.
        self.mlp = nn.Sequential(nn.Linear(hidden, FEATURES), nn.SELU(), nn.Identity(), nn.Linear(FEATURES, FEATURES))

    def forward(self, frames: Tensor) -> Tensor:
        """Shapes as the class states."""
        narrow: Tensor = self.mlp(frames)
        return narrow


class Spectra0Head(nn.Module):
    """Frames (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.bridge = Bridge(hidden)
        self.ecapa_tdnn = EcapaTdnn()

    def forward(self, frames: Tensor) -> Tensor:
        """Score the encoder's output after its last layer norm."""
        logits: Tensor = self.ecapa_tdnn(self.bridge(frames).transpose(1, 2))
        return logits


class SpectraAasistHead(nn.Module):
    """Frames (batch, time, hidden) → logits (batch, 2); at most 400 frames."""

    def __init__(self, linear: Linear, hidden: int) -> None:
        super().__init__()
        self.bridge = Bridge(hidden)
        self.aasist = GraphHead(linear)

    def forward(self, frames: Tensor) -> Tensor:
        """Score the encoder's output after its last layer norm."""
        logits: Tensor = self.aasist(self.bridge(frames))
        return logits


class ResidualEncoder(nn.Module):
    """(batch, 1, frequency, time) → (batch, 64, frequency, time)."""

    def __init__(self) -> None:
        super().__init__()
        self.first_bn = nn.BatchNorm2d(1)
        self.first_bn1 = nn.BatchNorm2d(CHANNELS)
        self.enc = residual_encoder(((1, 32), (32, 32), (32, 64), (64, CHANNELS)), pool=1, uses_bn1=True)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Shapes as the class states."""
        return F.selu(self.first_bn1(self.enc(F.selu(self.first_bn(spectrum)))))


class Branch(nn.Module):
    """One of the max-graph-operation branches: heterogeneous attention, pool, residual attention; its own master."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        heterogeneous = partial(HeterogeneousGraphAttention, linear=linear, activated=False)
        self.master = nn.Parameter(torch.empty(1, 1, CHANNELS))
        self.HtrgGAT_layer_ST1 = heterogeneous(CHANNELS, NARROW, BRANCH_TEMPERATURE)
        self.HtrgGAT_layer_ST2 = heterogeneous(NARROW, NARROW, BRANCH_TEMPERATURE)
        self.pool_hS = GraphPool(NARROW, POOL_RATIO, linear)
        self.pool_hT = GraphPool(NARROW, POOL_RATIO, linear)

    def forward(self, temporal: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, nodes, 64) twice → temporal, spectral and master nodes, of 32 features."""
        temporal, spectral, master = self.HtrgGAT_layer_ST1(temporal, spectral, self.master)
        spectral, temporal = self.pool_hS(spectral), self.pool_hT(temporal)
        more_temporal, more_spectral, more_master = self.HtrgGAT_layer_ST2(temporal, spectral, master)
        return temporal + more_temporal, spectral + more_spectral, master + more_master


class GraphHead(nn.Module):
    """Features (batch, time, 128) → logits (batch, 2).

    Against AASIST's: positions for frames, the residual blocks' first norm in use and no pool in them, four branches.

    Args:
        linear: what stands for each linear layer of the graph part.
    """

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.pos_S = nn.Parameter(torch.empty(1, SPECTRAL_NODES, CHANNELS))
        self.pos_T = nn.Parameter(torch.empty(1, POSITIONS, FEATURES))
        self.enc = ResidualEncoder()
        self.attention = nn.Sequential(
            nn.Conv2d(CHANNELS, 128, kernel_size=1), nn.SELU(), nn.BatchNorm2d(128), nn.Conv2d(128, CHANNELS, 1)
        )
        self.GAT_layer_S = GraphAttention(CHANNELS, CHANNELS, TEMPERATURE, linear)
        self.GAT_layer_T = GraphAttention(CHANNELS, CHANNELS, TEMPERATURE, linear)
        self.pool_S = GraphPool(CHANNELS, POOL_RATIO, linear)
        self.pool_T = GraphPool(CHANNELS, POOL_RATIO, linear)
        for number in range(1, BRANCHES + 1):
            self.add_module(f"branch{number}", Branch(linear))
        self.out_layer = linear(5 * NARROW, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Shapes as the class states."""
        placed = features + self.pos_T[:, : features.shape[1]]
        spectrum = F.max_pool2d(placed.transpose(1, 2).unsqueeze(1).abs(), 3)  # (batch, 1, 42, time // 3)
        feature_map = self.enc(spectrum)  # (batch, 64, 42, time // 3)
        attention = self.attention(feature_map)
        spectral = (feature_map * attention.softmax(dim=3)).sum(dim=3).transpose(1, 2)  # (batch, 42, 64)
        temporal = (feature_map * attention.softmax(dim=2)).sum(dim=2).transpose(1, 2)  # (batch, time // 3, 64)
        spectral = self.pool_S(self.GAT_layer_S(spectral + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        branches = [getattr(self, f"branch{number}")(temporal, spectral) for number in range(1, BRANCHES + 1)]
        largest = [reduce(torch.maximum, nodes) for nodes in zip(*branches, strict=True)]
        logits: Tensor = self.out_layer(readout(*largest))
        return logits


HEADS: dict[str, Callable[[int], nn.Module]] = {
    "spectra_0": Spectra0Head,
    "spectra_aasist": partial(SpectraAasistHead, nn.Linear),
    "spectra_aasist3": partial(SpectraAasistHead, KanLinear),
}


def shapes(name: str, config: XlsrConfig = XLSR_300M) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config, PREFIX, TRANSFORMERS) | shapes_of(HEADS[name](config.hidden))


def build(name: str, state: State) -> nn.Module:
    """Load ``state`` strictly; the encoder's size is read from its tensors."""
    encoder, head = xlsr.load_xlsr(state, PREFIX, (), TRANSFORMERS)
    network = load_strictly(HEADS[name](encoder.config.hidden), head)
    kan.fold(network)
    return XlsrDetector(encoder, network, PreEmphasis()).eval()


GRAPH_RULES: SeededRules = {**graph_backend.SEEDED_RULES, **kan.SEEDED_RULES, "pos_T": lambda noise: 0.3 * noise}


def _family(name: str, output_layer: str, unused_keys: tuple[str, ...] = ()) -> Family:
    return Family(
        partial(shapes, name),
        partial(build, name),
        output_layer=output_layer,
        seeded_rules={**xlsr.SEEDED_RULES, **GRAPH_RULES},
        encoder_prefix=PREFIX,
        pretraining_keys=("masked_spec_embed",),
        unused_keys=unused_keys,
    )


SPECTRA_0 = _family("spectra_0", "ecapa_tdnn.fc6")
SPECTRA_AASIST = _family("spectra_aasist", "aasist.out_layer", BN1_OF_FIRST_BLOCK)
SPECTRA_AASIST3 = _family("spectra_aasist3", "aasist.out_layer", BN1_OF_FIRST_BLOCK)
