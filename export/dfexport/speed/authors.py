"""A network that takes as long as its authors' code: the same answers, and all that theirs computes for nothing.

Read in the original sources (named in each file of `dfexport.detectors`):

- clovaai/aasist's residual blocks, and all back-ends made from them, compute ``bn1`` and SELU and drop the result;
- QiShanZhang/SLSforASVspoof-2021-DF and swagshaw/XLSR-Mamba run the XLS-R encoder twice in each forward pass;
- without its CUDA kernels, state-spaces/mamba's scan goes through the steps one by one (``selective_scan_ref``).

What the originals compute besides is left out, under 1 % of their time: the last mixer of each of XLSR-Mamba's columns.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.detectors.sls import SlsHead
from dfexport.detectors.xlsr_mamba import XlsrMambaHead
from dfexport.layers.mamba import MambaLayer
from dfexport.layers.residual import ResidualBlock
from dfexport.layers.xlsr import XlsrDetector

ENCODED_TWICE = (SlsHead, XlsrMambaHead)


def as_authors_compute(network: nn.Module) -> nn.Module:
    """The network itself, changed in place."""
    for module in network.modules():
        if isinstance(module, ResidualBlock) and hasattr(module, "bn1") and not module.uses_bn1:
            module.register_forward_pre_hook(_norm_for_nothing)
        if isinstance(module, MambaLayer):
            module.scan = sequential_scan
    if isinstance(network, XlsrDetector) and isinstance(network.head, ENCODED_TWICE):
        network.register_forward_pre_hook(_encode_for_nothing)
    return network


def _norm_for_nothing(block: nn.Module, inputs: tuple[Tensor]) -> None:
    F.selu(block.get_submodule("bn1")(inputs[0]))


def _encode_for_nothing(network: nn.Module, inputs: tuple[Tensor]) -> None:
    if isinstance(network, XlsrDetector):
        network.features(network.prepare(inputs[0]))


def sequential_scan(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """As `dfexport.layers.mamba.selective_scan`, one step after the other as in the paper's algorithm 2."""
    keep = torch.exp(step.unsqueeze(3) * decay[:, None, None])  # (columns, batch, time, state, channels)
    add = (step * x).unsqueeze(3) * b.unsqueeze(4)
    h = torch.zeros_like(add[:, :, 0])
    y = []
    for t in range(x.shape[2]):
        h = keep[:, :, t] * h + add[:, :, t]
        y.append(c[:, :, t].unsqueeze(2) @ h)
    return torch.cat(y, 2)
