"""SLS: wav2vec 2.0 XLS-R, fine-tuned, and a selection of all its layers.

Zhang, Wen and Hu, "Audio Deepfake Detection with Self-Supervised XLS-R and SLS Classifier", ACM Multimedia 2024
(SLS: Sensitive Layer Selection); reference code and weights: QiShanZhang/SLSforASVspoof-2021-DF, ``model.py`` (no
licence stated).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import xlsr
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.seeded import scaled
from dfexport.state import Shapes, State, load_strictly, shapes_of

WINDOW_SAMPLES = 64_600
HIDDEN_LAYER = 1024


class SlsHead(nn.Module):
    """Every layer's frames (batch, time, hidden) → log-probabilities (batch, 2).

    The width of ``fc1`` fixes the window: 201 frames and 1,024 features, each over 3, are 67 · 341 = 22,847 inputs.
    """

    def __init__(self, config: XlsrConfig) -> None:
        super().__init__()
        pooled = (config.frames(WINDOW_SAMPLES) // 3) * (config.hidden // 3)
        self.first_bn = nn.BatchNorm2d(1)
        self.fc0 = nn.Linear(config.hidden, 1)
        self.fc1 = nn.Linear(pooled, HIDDEN_LAYER)
        self.fc3 = nn.Linear(HIDDEN_LAYER, 2)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Weigh each layer by what its mean over time says, sum, classify."""
        mixed = torch.zeros_like(layers[0])
        for frames in layers:
            weight = torch.sigmoid(self.fc0(frames.mean(dim=1, keepdim=True)))  # (batch, 1, 1)
            mixed = mixed + weight * frames
        pooled = F.max_pool2d(F.selu(self.first_bn(mixed.unsqueeze(1))), 3)  # (batch, 1, time // 3, hidden // 3)
        hidden = F.selu(self.fc1(pooled.flatten(1)))
        # The published weights were trained with SELU on the logits as well.
        return F.log_softmax(F.selu(self.fc3(hidden)), dim=1)


class Sls(XlsrDetector):
    """Waveform (batch, 64,600) → log-probabilities (batch, 2): spoof, bona fide."""

    def features(self, waveform: Tensor) -> list[Tensor]:
        """All layers' outputs, before the last norm, from one pass."""
        return self.encoder.layer_outputs(waveform)


def shapes(config: XlsrConfig = XLSR_300M) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config) | shapes_of(SlsHead(config))


def build(state: State) -> nn.Module:
    """Load ``state`` strictly; the encoder's size is read from its tensors."""
    encoder, head = xlsr.load_xlsr(state)
    return Sls(encoder, load_strictly(SlsHead(encoder.config), head)).eval()


SLS = Family(
    shapes,
    build,
    output_layer="fc3",
    # fc1 sums 22,847 inputs, and the SELUs behind it would saturate.
    seeded_rules={**xlsr.SEEDED_RULES, "fc1.weight": lambda noise: 0.02 * scaled(noise)},
    encoder_prefix=xlsr.PREFIX,
    pretraining_keys=xlsr.PRETRAINING_KEYS,
)
