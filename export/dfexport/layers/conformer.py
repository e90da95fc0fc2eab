"""The conformer with head tokens of TCM-ADD, which DF Arena uses at another width.

Truong et al., "Temporal-Channel Modeling in Multi-head Self-Attention for Synthetic Speech Detection", Interspeech
2024, arXiv 2406.17376, section 2; Gulati et al., "Conformer", Interspeech 2020, arXiv 2005.08100. Parameter names are
those of ductuantruong/tcm_add, so that its checkpoints load strictly. Inference only: dropouts are left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.seeded import SeededRules

HEADS = 4
BLOCKS = 4
KERNEL = 31
POSITIONS = 10_000

# Tables of many rows would be too faint to be missed if they were scaled like weights.
SEEDED_RULES: SeededRules = {name: lambda noise: 0.3 * noise for name in ("positional_emb", "class_token", "pos_embed")}


class Conformer(nn.Module):
    """Frames (batch, time, width) → logits (batch, 2); at most 10,000 frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.empty(1, POSITIONS, width))
        self.class_token = nn.Parameter(torch.empty(1, width))
        self.encoder_blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.fc5 = nn.Linear(width, 2)

    def forward(self, frames: Tensor) -> Tensor:
        """Put the class token, which has no position, in front, and classify what becomes of it."""
        batch, time, _ = frames.shape
        placed = frames + self.positional_emb[:, :time]
        tokens = torch.cat([self.class_token.expand(batch, 1, -1), placed], dim=1)  # (batch, 1 + time, width)
        for block in self.encoder_blocks:
            tokens = block(tokens)
        logits: Tensor = self.fc5(tokens[:, 0])
        return logits


class Block(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each beside a way around it, and a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ff1 = Half(PreNorm(width, FeedForward(width)))
        self.attn = PreNorm(width, HeadTokenAttention(width))
        self.conv = Convolution(width)
        self.ff2 = Half(PreNorm(width, FeedForward(width)))
        self.post_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width), same shape."""
        for part in (self.ff1, self.attn, self.conv, self.ff2):
            tokens = tokens + part(tokens)
        normed: Tensor = self.post_norm(tokens)
        return normed


class Half(nn.Module):
    """Half of what ``fn`` answers."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, tokens: Tensor) -> Tensor:
        """As ``fn``."""
        half: Tensor = 0.5 * self.fn(tokens)
        return half


class PreNorm(nn.Module):
    """``fn`` of normalised tokens."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, tokens: Tensor) -> Tensor:
        """As ``fn``."""
        answer: Tensor = self.fn(self.norm(tokens))
        return answer


class FeedForward(nn.Module):
    """(batch, tokens, width) → same shape, through four times as many features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The place of a dropout is kept, since checkpoints count it.
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Same shape."""
        answer: Tensor = self.net(tokens)
        return answer


class Convolution(nn.Module):
    """A gated, depthwise convolution over time: (batch, tokens, width) → same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 2 * width
        self.net = nn.Sequential(
            nn.LayerNorm(width),
            Transpose(),
            nn.Conv1d(width, 2 * inner, 1),
            nn.GLU(dim=1),
            Depthwise(inner),
            nn.BatchNorm1d(inner),
            nn.SiLU(),
            nn.Conv1d(inner, width, 1),
            Transpose(),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Same shape."""
        answer: Tensor = self.net(tokens)
        return answer


class Transpose(nn.Module):
    """Features and time change places."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, a, b) → (batch, b, a)."""
        return x.transpose(1, 2)


class Depthwise(nn.Module):
    """A convolution of each channel by itself, as long as its input: (batch, channels, time) → same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        answer: Tensor = self.conv(x)
        return answer


class HeadTokenAttention(nn.Module):
    """Self-attention among the tokens and one more token a head, which says what that head's channels hold.

    Head tokens live for one layer: afterwards their mean, and that of the frames, goes into the class token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head_width = width // HEADS
        self.pos_embed = nn.Parameter(torch.empty(1, HEADS, width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        self.ht_proj = nn.Linear(self.head_width, width)
        self.ht_norm = nn.LayerNorm(self.head_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, 1 + time, width), the class token first → same shape."""
        count = tokens.shape[1]
        mixed = self._attend(torch.cat([tokens, self._head_tokens(tokens)], dim=1))
        frames, heads = mixed[:, 1:count], mixed[:, count:]
        class_token = mixed[:, :1] + heads.mean(dim=1, keepdim=True) + frames.mean(dim=1, keepdim=True)
        return torch.cat([class_token, frames], dim=1)

    def _head_tokens(self, tokens: Tensor) -> Tensor:
        """A token a head, from the mean over all tokens of that head's channels: (batch, heads, width)."""
        shape = (tokens.shape[0], HEADS, -1, self.head_width)
        means = tokens.mean(dim=1).reshape(shape).squeeze(2)  # (batch, heads, head width)
        rows = self.ht_proj(means).reshape(shape)  # (batch, heads, heads, head width)
        return F.gelu(self.ht_norm(rows)).flatten(2) + self.pos_embed

    def _attend(self, tokens: Tensor) -> Tensor:
        """Ordinary multi-head self-attention; same shape."""
        qkv: Tensor = self.qkv(tokens)
        split = qkv.reshape(*tokens.shape[:2], 3, HEADS, self.head_width)  # (batch, tokens, 3, heads, head width)
        queries, keys, values = (part.transpose(1, 2) for part in split.unbind(2))  # (batch, heads, tokens, head width)
        weights = torch.softmax(queries @ keys.transpose(2, 3) * self.head_width**-0.5, dim=-1)
        mixed: Tensor = self.proj((weights @ values).transpose(1, 2).flatten(2))
        return mixed
