"""The residual block of RawNet2-style encoders, as AASIST trained it."""

from torch import Tensor, nn
from torch.nn import functional as F

# Training code that makes every block alike leaves the first one's, which is never called either.
UNUSED_KEYS = ("encoder.0.0.bn1.",)


class ResidualBlock(nn.Module):
    """(batch, c_in, frequency, time) → (batch, c_out, frequency, time // pool).

    clovaai/aasist computes ``bn1`` and SELU of the input and then feeds ``conv1`` with the input itself. The published
    weights were trained that way, so ``bn1`` is held for its keys and never called, unless a relative says otherwise.

    Args:
        c_in: channels in.
        c_out: channels out.
        first: whether this is the encoder's first block, whose checkpoint has no ``bn1``.
        pool: width of the max-pool over time at the end; 1 for none.
        uses_bn1: whether ``conv1`` is fed with what ``bn1`` and SELU make of the input, but in the first block.
    """

    def __init__(self, c_in: int, c_out: int, *, first: bool, pool: int, uses_bn1: bool = False) -> None:
        super().__init__()
        self.uses_bn1 = uses_bn1 and not first
        if not first:
            self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, kernel_size=(2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel_size=(2, 3), padding=(0, 1))
        self.conv_downsample = (
            nn.Conv2d(c_in, c_out, kernel_size=(1, 3), padding=(0, 1)) if c_in != c_out else nn.Identity()
        )
        self.pool = pool

    def forward(self, feature_map: Tensor) -> Tensor:
        """Two convolutions beside a way around them, then the pool; shapes as the class states."""
        activated = F.selu(self.bn1(feature_map)) if self.uses_bn1 else feature_map
        out: Tensor = self.conv2(F.selu(self.bn2(self.conv1(activated))))
        out = out + self.conv_downsample(feature_map)
        return F.max_pool2d(out, (1, self.pool)) if self.pool > 1 else out


def residual_encoder(filters: tuple[tuple[int, int], ...], *, pool: int, uses_bn1: bool = False) -> nn.Sequential:
    """Six blocks as the checkpoints number them (``encoder.{i}.0.…``): the last pair of filters stands three times."""
    pairs = (*filters, filters[-1], filters[-1])
    blocks = [
        ResidualBlock(c_in, c_out, first=i == 0, pool=pool, uses_bn1=uses_bn1) for i, (c_in, c_out) in enumerate(pairs)
    ]
    return nn.Sequential(*(nn.Sequential(block) for block in blocks))
