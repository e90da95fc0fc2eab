"""An XLS-R encoder in 16 bits, as a GPU computes it fast: its convolutions as matrix products along time.

With cuDNN the convolutions took half of the encoder's time, though they are a seventh of its arithmetic: it copies each
map of features to another layout and back, the norms between them want a third one, and each of the position
convolution's 16 groups is a kernel of its own. Here features lie as (batch, time, channels) from the waveform to the
end. A kernel as wide as its stride is one product over frames that lie side by side already; what a kernel reaches
beyond its stride is added by a second product. The numbers are the same but for rounding; docs/speed.md has what it
gains.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.layers.xlsr import Xlsr

ALIGNED = 8  # numbers of 16 bits: tensor cores take rows of whole 16 bytes
BLOCK_FRAMES = 8  # frames of the position convolution that one row of its product answers


def reduce_encoder(encoder: Xlsr, dtype: torch.dtype) -> Xlsr:
    """Let the encoder compute in a type of 16 bits, its norms in float32 within; changes it in place."""
    encoder.to(dtype)
    encoder.dtype = dtype
    if encoder.config.pre_norm:
        encoder.set_submodule("feature_extractor", ExtractorProducts(encoder.feature_extractor))
    encoder.set_submodule("encoder.pos_conv_embed", PositionProduct(encoder.encoder.pos_conv_embed))
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.LayerNorm, nn.GroupNorm)):
                setattr(parent, name, Fp32Norm(child, dtype))
    return encoder


class Fp32Norm(nn.Module):
    """A norm in float32 between neighbours of 16 bits: its sums of squares overflow in float16.

    PyTorch's own layer norm of 16 bits sums in float32, too, and is one kernel instead of three. A runtime that reads a
    graph may merge such a norm with the addition before it and sum in 16 bits (ONNX Runtime's SkipLayerNormalization),
    so what is exported as a graph spells it out.
    """

    def __init__(self, norm: nn.LayerNorm | nn.GroupNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.reduced = copy.deepcopy(norm).to(dtype) if isinstance(norm, nn.LayerNorm) else None
        self.norm = norm.float()

    def forward(self, hidden: Tensor) -> Tensor:
        """As the norm it holds; same shape and type."""
        if self.reduced is None or torch.compiler.is_exporting() or hidden.dtype == torch.float32:
            normed: Tensor = self.norm(hidden.float()).to(hidden.dtype)
        else:
            normed = self.reduced(hidden)
        return normed


class ExtractorProducts(nn.Module):
    """The convolutional extractor of an encoder with layer norms: waveform (batch, samples) → (batch, channels, time).

    Args:
        extractor: transformers' ``Wav2Vec2FeatureEncoder``, loaded.
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        layers = [*extractor.get_submodule("conv_layers").children()]
        first, *others = (layer.get_submodule("conv") for layer in layers)
        self.first = WaveformProduct(first)  # type: ignore[arg-type]
        self.others = nn.ModuleList(FrameProducts(conv) for conv in others)  # type: ignore[arg-type]
        self.norms = nn.ModuleList(layer.get_submodule("layer_norm") for layer in layers)

    def forward(self, waveform: Tensor) -> Tensor:
        """Seven times a product, a norm, GELU."""
        frames = waveform
        for products, norm in zip((self.first, *self.others), self.norms, strict=True):
            frames = F.gelu(norm(products(frames)))
        return frames.transpose(1, 2)


class WaveformProduct(nn.Module):
    """A convolution over samples, its kernel two strides wide: (batch, samples) → (batch, time, channels).

    Args:
        conv: loaded, of one channel in.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        (self.kernel,), (self.stride,) = conv.kernel_size, conv.stride
        if self.kernel != 2 * self.stride:
            raise ValueError(f"expected a kernel of two strides, found {self.kernel} samples at {self.stride}")
        self.missing = -self.kernel % ALIGNED
        self.weight = nn.Parameter(F.pad(conv.weight.detach()[:, 0], (0, self.missing)), requires_grad=False)
        self.bias = conv.bias

    def forward(self, waveform: Tensor) -> Tensor:
        """Each row of the product is a stride of samples, the next one, and zeros."""
        strides = waveform.shape[1] // self.stride
        samples = waveform[:, : strides * self.stride].reshape(-1, strides, self.stride)
        rows = torch.cat((samples[:, :-1], samples[:, 1:]), 2)
        return F.linear(F.pad(rows, (0, self.missing)), self.weight, self.bias)


class FrameProducts(nn.Module):
    """A convolution over frames, its kernel at most one frame wider than its stride: (batch, time, channels) → same.

    Args:
        conv: loaded.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        (self.kernel,), (self.stride,) = conv.kernel_size, conv.stride
        if self.kernel - self.stride not in (0, 1):
            raise ValueError(f"expected a kernel of {self.stride} or one more, found {self.kernel}")
        taps = conv.weight.detach().permute(2, 1, 0)  # (kernel, in, out)
        within, beyond = taps[: self.stride], taps[self.stride :]
        self.within = nn.Parameter(within.flatten(0, 1)[None].contiguous(), requires_grad=False)
        self.beyond = nn.Parameter(beyond.contiguous(), requires_grad=False)
        self.bias = conv.bias

    def forward(self, frames: Tensor) -> Tensor:
        """The frames within a stride are one row of a product; a frame beyond it is a row of a second one."""
        batch, time, channels = frames.shape
        steps = (time - self.kernel) // self.stride + 1
        rows = frames[:, : steps * self.stride].reshape(batch, steps, self.stride * channels)
        # Batched, so that rows of a longer buffer are taken where they lie.
        weight = self.within.expand(batch, -1, -1)
        convolved = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias, rows, weight)
        if self.kernel > self.stride:
            next_frames = frames[:, self.stride :: self.stride][:, :steps]
            convolved = torch.baddbmm(convolved, next_frames, self.beyond.expand(batch, -1, -1))
        return convolved


class PositionProduct(nn.Module):
    """The grouped convolution that stands for position embeddings, and its GELU: (batch, time, hidden) → same.

    Rows are blocks of frames with all that a kernel reaches, and a block's weights are the kernel at each of its
    places, zeros beside it: 6 % more arithmetic than the convolution has, in one product for all groups.

    Args:
        embedding: transformers' ``Wav2Vec2PositionalConvEmbedding``, loaded, without weight norm.
    """

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        conv: nn.Conv1d = embedding.get_submodule("conv")  # type: ignore[assignment]
        (self.kernel,), self.groups = conv.kernel_size, conv.groups
        self.width = conv.out_channels // conv.groups
        self.reach = -(-(self.kernel + BLOCK_FRAMES - 1) // BLOCK_FRAMES)  # blocks that a block's answer depends on
        self.weight = nn.Parameter(
            conv.weight.detach().reshape(self.groups, self.width, self.width, self.kernel), requires_grad=False
        )
        self.bias = conv.bias
        # One frame more than the reach: see `at_each_place`.
        beside = self.reach * BLOCK_FRAMES + 1 - self.kernel
        self.zeros = nn.Parameter(self.weight.new_zeros(*self.weight.shape[:3], beside), requires_grad=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """The convolution keeps as many frames as it is given."""
        batch, time, _ = hidden.shape
        blocks = (time + BLOCK_FRAMES - 1) // BLOCK_FRAMES
        before = self.kernel // 2
        after = (blocks + self.reach - 1) * BLOCK_FRAMES - before - time
        padded = F.pad(hidden, (0, 0, before, after))
        # (groups, batch, blocks and those within reach, frames of a block · width)
        by_group = padded.reshape(batch, -1, BLOCK_FRAMES, self.groups, self.width).permute(3, 0, 1, 2, 4).flatten(3)
        rows = torch.cat([by_group[:, :, shift : shift + blocks] for shift in range(self.reach)], 3)
        answers = torch.bmm(rows.flatten(1, 2), self.at_each_place())
        by_frame = answers.reshape(self.groups, batch, -1, self.width).permute(1, 2, 0, 3).flatten(2)
        convolved = by_frame[:, :time]
        return F.gelu(convolved if self.bias is None else convolved + self.bias)

    def at_each_place(self) -> Tensor:
        """Weights of a block: (groups, frames within reach · width in, frames of a block · width out).

        Made of the kernel at each call, since they are 17 times as large and take a fraction of the product's time.
        """
        reach = self.reach * BLOCK_FRAMES
        # A row of one frame more than the reach, repeated and cut into rows of the reach, moves on by a frame a row.
        row = torch.cat((self.weight, self.zeros), 3)
        places = torch.cat([row] * BLOCK_FRAMES, 3)[..., : BLOCK_FRAMES * reach]
        places = places.reshape(
            self.groups, self.width, self.width, BLOCK_FRAMES, reach
        )  # (group, out, in, place, frame)
        return places.permute(0, 4, 2, 3, 1).reshape(self.groups, reach * self.width, BLOCK_FRAMES * self.width)
