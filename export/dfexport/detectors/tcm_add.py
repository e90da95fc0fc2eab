"""TCM-ADD: wav2vec 2.0 XLS-R, fine-tuned, and a conformer whose attention has tokens for its heads.

Truong et al., "Temporal-Channel Modeling in Multi-head Self-Attention for Synthetic Speech Detection", Interspeech
2024, arXiv 2406.17376; reference code: ductuantruong/tcm_add, ``model.py`` (MIT).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.family import Family
from dfexport.layers import conformer, xlsr
from dfexport.layers.conformer import Conformer
from dfexport.layers.xlsr import XLSR_300M, XlsrConfig, XlsrDetector
from dfexport.state import Shapes, State, load_strictly, shapes_of

WIDTH = 144


class TcmAddHead(nn.Module):
    """Frames (batch, time, hidden) → logits (batch, 2)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.LL = nn.Linear(hidden, WIDTH)
        self.first_bn = nn.BatchNorm2d(1)
        self.conformer = Conformer(WIDTH)

    def forward(self, frames: Tensor) -> Tensor:
        """Score the encoder's output after its last layer norm."""
        narrow = F.selu(self.first_bn(self.LL(frames).unsqueeze(1))).squeeze(1)  # (batch, time, 144)
        logits: Tensor = self.conformer(narrow)
        return logits


def shapes(config: XlsrConfig = XLSR_300M) -> Shapes:
    """Published keys and shapes with an encoder of ``config``'s size."""
    return xlsr.shapes(config) | shapes_of(TcmAddHead(config.hidden))


def build(state: State) -> nn.Module:
    """Load ``state`` strictly; the encoder's size is read from its tensors."""
    encoder, head = xlsr.load_xlsr(state)
    return XlsrDetector(encoder, load_strictly(TcmAddHead(encoder.config.hidden), head)).eval()


TCM_ADD = Family(
    shapes,
    build,
    output_layer="conformer.fc5",
    seeded_rules={**xlsr.SEEDED_RULES, **conformer.SEEDED_RULES},
    encoder_prefix=xlsr.PREFIX,
    pretraining_keys=xlsr.PRETRAINING_KEYS,
)
