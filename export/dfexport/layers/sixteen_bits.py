"""An XLS-R encoder in 16 bits, as a GPU computes it fast: all its convolutions as matrix products along time.

With cuDNN the convolutions took half of the encoder's time, though they are a seventh of its arithmetic: it copies each
map of features to another layout and back, the norms between them want a third one, and each of the position
convolution's 16 groups is a kernel of its own. docs/speed.md has what products gain.
"""

import copy

import torch
from torch import Tensor, nn

from dfexport.layers.products import PositionProduct, extract_by_products
from dfexport.layers.xlsr import Xlsr


def reduce_encoder(encoder: Xlsr, dtype: torch.dtype) -> Xlsr:
    """Let the encoder compute in a type of 16 bits, its norms in float32 within; changes it in place."""
    encoder.to(dtype)
    encoder.dtype = dtype
    extract_by_products(encoder)
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
