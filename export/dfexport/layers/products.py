"""An XLS-R encoder's convolutions as matrix products along time; the numbers are the same but for rounding.

Features lie as (batch, time, channels) from the waveform to the end, as the norms between the convolutions want them. A
kernel as wide as its stride is one product over frames that lie side by side already; what a kernel reaches beyond its
stride is added by a second product. Every file that is written has them: PyTorch takes three quarters of the time for
them that it takes for the convolutions, ONNX Runtime and OpenVINO have no features to copy to another layout and back,
and cuDNN plans no convolution anew at each size of a batch.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.layers.xlsr import Xlsr, XlsrDetector

ALIGNED = 8  # numbers of 16 bits: tensor cores take rows of whole 16 bytes
BLOCK_FRAMES = 8  # frames of the position convolution that one row of its product answers


def as_products(network: nn.Module) -> nn.Module:
    """A detector with its own weights, whose encoder extracts by products; itself where it has no such encoder."""
    if not isinstance(network, XlsrDetector):
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    written = copy.deepcopy(network, shared)
    extract_by_products(written.encoder)
    return written


def extract_by_products(encoder: Xlsr) -> None:
    """Let an encoder with layer norms in its extractor, which lie along channels, extract by products; in place."""
    if encoder.config.pre_norm and not isinstance(encoder.feature_extractor, ExtractorProducts):
        encoder.set_submodule("feature_extractor", ExtractorProducts(encoder.feature_extractor))


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
        self.within = nn.Parameter(within.flatten(0, 1).contiguous(), requires_grad=False)
        self.beyond = nn.Parameter(beyond.flatten(0, 1).contiguous(), requires_grad=False)
        self.bias = conv.bias

    def forward(self, frames: Tensor) -> Tensor:
        """The frames within a stride are one row of a product; a frame beyond it is a row of a second one."""
        batch, time, channels = frames.shape
        steps = (time - self.kernel) // self.stride + 1
        rows = frames[:, : steps * self.stride].reshape(batch, steps, self.stride * channels)
        convolved = _product(rows, self.within, self.bias)
        if self.kernel > self.stride:
            next_frames = frames[:, self.stride :: self.stride][:, :steps]
            convolved = _product(next_frames, self.beyond, convolved)
        return convolved


def _product(rows: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
    """Rows (batch, steps, in) by a weight (in, out), and what is to be added."""
    if torch.compiler.is_exporting():
        # A runtime that reads a graph prepares a weight once where that is a constant of two axes.
        product = rows @ weight
        return product if added is None else product + added
    # Batched, so that rows of a longer buffer are taken where they lie.
    weights = weight.expand(rows.shape[0], -1, -1)
    return torch.bmm(rows, weights) if added is None else torch.baddbmm(added, rows, weights)


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
