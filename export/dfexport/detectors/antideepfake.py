"""AntiDeepfake: seven speech encoders, post-trained on real and generated speech, and one linear layer.

Ge et al., "Post-training for Deepfake Speech Detection", arXiv 2506.21090; reference code and weights:
nii-yamagishilab/AntiDeepfake (code BSD-3, weights CC BY-NC-SA 4.0).
"""

from functools import partial

from torch import Tensor, nn

from dfexport.family import Family
from dfexport.layers import xlsr
from dfexport.layers.preparation import Normalise
from dfexport.layers.xlsr import HUBERT_XLARGE, W2V_BASE, XLSR_1B, XLSR_2B, XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.state import Shapes, State, load_strictly, shapes_of

PREFIX = "m_ssl.model."
PRETRAINING_KEYS = (*xlsr.PRETRAINING_KEYS, "label_embs_concat")


class AntiDeepfakeHead(nn.Module):
    """Frames (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj_fc = nn.Linear(hidden, 2)

    def forward(self, frames: Tensor) -> Tensor:
        """Score the mean over time of the encoder's output after its last norm."""
        logits: Tensor = self.proj_fc(frames.mean(dim=1))
        return logits


def shapes(config: XlsrConfig) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config, PREFIX) | shapes_of(AntiDeepfakeHead(config.hidden))


def build(config: XlsrConfig, state: State) -> nn.Module:
    """Load ``state`` strictly."""
    encoder, head = xlsr.load_xlsr(state, PREFIX, PRETRAINING_KEYS)
    xlsr.require_kind(encoder.config, config)
    return XlsrDetector(encoder, load_strictly(AntiDeepfakeHead(encoder.config.hidden), head), Normalise()).eval()


W2V_SMALL, WIDTH_1024, WIDTH_1280, WIDTH_1920, HUBERT = (
    Family(
        partial(shapes, config),
        partial(build, config),
        output_layer="proj_fc",
        seeded_rules=xlsr.SEEDED_RULES,
        encoder_prefix=PREFIX,
        pretraining_keys=PRETRAINING_KEYS,
    )
    for config in (W2V_BASE, XLSR_300M, XLSR_1B, XLSR_2B, HUBERT_XLARGE)
)
