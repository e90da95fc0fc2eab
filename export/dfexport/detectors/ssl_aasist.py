"""SSL_Anti-spoofing: wav2vec 2.0 XLS-R, fine-tuned, and AASIST's graph back-end.

Tak et al., "Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data augmentation",
Odyssey 2022, arXiv 2202.12233; reference code and weights: TakHemlata/SSL_Anti-spoofing, ``model.py`` (MIT).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import xlsr
from dfexport.layers.graph_backend import OUTPUT_LAYER, SEEDED_RULES, GraphBackend
from dfexport.layers.residual import UNUSED_KEYS, residual_encoder
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.state import Shapes, State, load_strictly, shapes_of

FEATURES = 128
CHANNELS = 64
SPECTRAL_NODES = FEATURES // 3  # 42


class SslAasistHead(GraphBackend):
    """Frames (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__(
            channels=CHANNELS,
            gat_dims=(64, 32),
            pool_ratios=(0.5, 0.5, 0.5),
            temperatures=(2.0, 2.0, 100.0),
            spectral_nodes=SPECTRAL_NODES,
        )
        self.LL = nn.Linear(hidden, FEATURES)
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = residual_encoder(((1, 32), (32, 32), (32, 64), (64, CHANNELS)), pool=1)
        self.first_bn1 = nn.BatchNorm2d(CHANNELS)
        self.attention = nn.Sequential(
            nn.Conv2d(CHANNELS, 128, kernel_size=1), nn.SELU(), nn.BatchNorm2d(128), nn.Conv2d(128, CHANNELS, 1)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Score the encoder's output after its last layer norm."""
        spectrum = F.max_pool2d(self.LL(frames).transpose(1, 2).unsqueeze(1), 3)  # (batch, 1, 42, time // 3)
        feature_map = self.encoder(F.selu(self.first_bn(spectrum)))  # (batch, 64, 42, time // 3)
        feature_map = F.selu(self.first_bn1(feature_map))
        attention = self.attention(feature_map)
        spectral = (feature_map * attention.softmax(dim=3)).sum(dim=3).transpose(1, 2)  # (batch, 42, 64)
        temporal = (feature_map * attention.softmax(dim=2)).sum(dim=2).transpose(1, 2)  # (batch, time // 3, 64)
        return self.classify(spectral, temporal)


def shapes(config: XlsrConfig = XLSR_300M) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config) | shapes_of(SslAasistHead(config.hidden))


def build(state: State) -> nn.Module:
    """Load ``state`` strictly; the encoder's size is read from its tensors."""
    encoder, head = xlsr.load_xlsr(state)
    return XlsrDetector(encoder, load_strictly(SslAasistHead(encoder.config.hidden), head)).eval()


SSL_AASIST = Family(
    shapes,
    build,
    output_layer=OUTPUT_LAYER,
    seeded_rules={**xlsr.SEEDED_RULES, **SEEDED_RULES},
    encoder_prefix=xlsr.PREFIX,
    pretraining_keys=xlsr.PRETRAINING_KEYS,
    unused_keys=UNUSED_KEYS,
)
