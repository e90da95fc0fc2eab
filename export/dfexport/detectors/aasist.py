"""AASIST and AASIST-L: a sinc front-end on the raw waveform and a graph back-end.

Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks", ICASSP 2022,
arXiv 2110.01200; reference code and weights: clovaai/aasist, ``models/AASIST.py`` (MIT).
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dfcontract.tensors import SAMPLE_RATE_HZ
from dfexport.family import Family
from dfexport.layers.graph_backend import OUTPUT_LAYER, SEEDED_RULES, GraphBackend
from dfexport.layers.residual import UNUSED_KEYS, residual_encoder
from dfexport.state import Shapes, State, load_strictly, shapes_of

SINC_FILTERS = 70
SINC_TAPS = 129  # first_conv 128, made odd so that the filter is symmetric
SPECTRAL_NODES = SINC_FILTERS // 3  # 23


@dataclass(frozen=True)
class AasistConfig:
    """What differs between AASIST and AASIST-L."""

    filters: tuple[tuple[int, int], ...]
    gat_dims: tuple[int, int]
    pool_ratios: tuple[float, float, float]
    temperatures: tuple[float, float, float] = (2.0, 2.0, 100.0)


FULL_CONFIG = AasistConfig(
    filters=((1, 32), (32, 32), (32, 64), (64, 64)), gat_dims=(64, 32), pool_ratios=(0.5, 0.7, 0.5)
)
LIGHT_CONFIG = AasistConfig(
    filters=((1, 32), (32, 32), (32, 24), (24, 24)), gat_dims=(24, 32), pool_ratios=(0.4, 0.5, 0.7)
)


class Aasist(GraphBackend):
    """Waveform (batch, samples) → logits (batch, 2)."""

    def __init__(self, config: AasistConfig) -> None:
        super().__init__(
            channels=config.filters[-1][-1],
            gat_dims=config.gat_dims,
            pool_ratios=config.pool_ratios,
            temperatures=config.temperatures,
            spectral_nodes=SPECTRAL_NODES,
        )
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = residual_encoder(config.filters, pool=3)
        self.register_buffer("sinc", torch.from_numpy(mel_sinc_filters()).unsqueeze(1), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Score raw 16 kHz mono audio; 64,600 samples in the published models."""
        bands = F.conv1d(waveform.unsqueeze(1), self.get_buffer("sinc"))  # (batch, 70, samples - 128)
        spectrum = F.max_pool2d(bands.unsqueeze(1).abs(), 3)  # (batch, 1, 23, samples // 3)
        feature_map = self.encoder(F.selu(self.first_bn(spectrum))).abs()  # (batch, channels, 23, 29)
        spectral = feature_map.amax(dim=3).transpose(1, 2)  # (batch, 23, channels)
        temporal = feature_map.amax(dim=2).transpose(1, 2)  # (batch, 29, channels)
        return self.classify(spectral, temporal)


def mel_sinc_filters() -> NDArray[np.float32]:
    """Band-pass filters between mel-spaced edges, Hamming-windowed: (70, 129).

    Fixed, not learned, and not in the checkpoints. The edges go through the 257-point grid of a 512-point spectrum, as
    in the original, so that its rounding is kept.
    """
    grid_hz = SAMPLE_RATE_HZ // 2 * np.linspace(0, 1, 257)
    grid_mel = 2595 * np.log10(1 + grid_hz / 700)
    edges_mel = np.linspace(grid_mel.min(), grid_mel.max(), SINC_FILTERS + 1)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    taps = np.arange(SINC_TAPS) - (SINC_TAPS - 1) / 2
    edges = 2 * edges_hz[:, None] / SAMPLE_RATE_HZ
    low_pass = edges * np.sinc(edges * taps)  # (71, 129)
    return ((low_pass[1:] - low_pass[:-1]) * np.hamming(SINC_TAPS)).astype(np.float32)


def shapes(config: AasistConfig) -> Shapes:
    """Published keys and shapes."""
    return shapes_of(Aasist(config))


def build(config: AasistConfig, state: State) -> nn.Module:
    """Load ``state`` strictly into a network of ``config``'s size."""
    return load_strictly(Aasist(config), state)


FULL, LIGHT = (
    Family(
        partial(shapes, config),
        partial(build, config),
        output_layer=OUTPUT_LAYER,
        seeded_rules=SEEDED_RULES,
        unused_keys=UNUSED_KEYS,
    )
    for config in (FULL_CONFIG, LIGHT_CONFIG)
)
