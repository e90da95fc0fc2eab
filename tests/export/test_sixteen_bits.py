"""The encoder as a GPU computes it: matrix products give what the convolutions give; float32 where it is meant."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from dfexport.formats.torchscript import traced
from dfexport.layers import xlsr
from dfexport.layers.products import FrameProducts, WaveformProduct
from dfexport.layers.sixteen_bits import Fp32Norm, reduce_encoder
from dfexport.layers.xlsr import W2V_BASE, Xlsr, XlsrConfig, load_xlsr
from dfexport.seeded import seeded_state

SMALL = XlsrConfig(layers=1, hidden=32, feed_forward=16, conv_channels=8, position_kernel=16, position_groups=4)
KINDS = {
    "pre-norm": SMALL,
    "pre-norm, no bias": replace(SMALL, conv_bias=False),
    "post-norm": replace(W2V_BASE, layers=1, hidden=48, feed_forward=16, conv_channels=8, position_kernel=16),
    "an odd position kernel": replace(SMALL, position_kernel=15),
    "a position kernel longer than the clip": replace(SMALL, position_kernel=128),
}


def encoder(kind: str) -> Xlsr:
    shapes = xlsr.shapes(KINDS[kind])
    return load_xlsr(seeded_state(shapes, xlsr.SEEDED_RULES))[0]


@pytest.mark.parametrize("kind", [*KINDS])
def test_products_give_what_convolutions_give(kind: str) -> None:
    convolved = encoder(kind)
    multiplied = reduce_encoder(copy.deepcopy(convolved), torch.float32)
    torch.manual_seed(0)
    for samples in (400, 719, 16_000, 16_001, 16_319):  # one frame and more, sizes that no stride divides
        waveforms = torch.randn(3, samples)
        with torch.inference_mode():
            torch.testing.assert_close(multiplied(waveforms), convolved(waveforms), atol=2e-5, rtol=0)


def test_a_batch_is_its_clips() -> None:
    reduced = reduce_encoder(encoder("pre-norm"), torch.float32)
    torch.manual_seed(0)
    waveforms = torch.randn(5, 6_400)
    with torch.inference_mode():
        together = reduced(waveforms)
        alone = torch.cat([reduced(waveform[None]) for waveform in waveforms])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_move_features_little_and_leave_float32(dtype: torch.dtype) -> None:
    whole = encoder("pre-norm")
    reduced = reduce_encoder(copy.deepcopy(whole), dtype)
    torch.manual_seed(0)
    waveforms = torch.randn(2, 3_200)
    with torch.inference_mode():
        expected, found = whole(waveforms), reduced(waveforms)
    assert found.dtype == torch.float32
    moved = (found - expected).abs().mean()  # of features of the order of 1; 11 bits of each are kept, or 8
    assert 0 < moved < (0.005 if dtype == torch.float16 else 0.04)


def test_a_norm_of_sixteen_bits_sums_in_thirty_two() -> None:
    """The squares of 1,000 overflow float16, whose largest number is 65,504."""
    norm = nn.LayerNorm(64)
    hidden = (1_000 * torch.sin(torch.arange(64.0)))[None].half()
    with torch.inference_mode():
        torch.testing.assert_close(
            Fp32Norm(norm, torch.float16)(hidden).float(), norm(hidden.float()), atol=2e-3, rtol=0
        )


def test_kernels_that_the_products_do_not_cover_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a kernel of two strides, found 10 samples at 4"):
        WaveformProduct(nn.Conv1d(1, 4, 10, stride=4))
    with pytest.raises(ValueError, match="expected a kernel of 2 or one more, found 5"):
        FrameProducts(nn.Conv1d(4, 4, 5, stride=2))


def test_a_recorded_convolution_is_cudnns_on_a_gpu_and_never_rounded_to_tf32() -> None:
    """TorchScript keeps both switches in each of them; they stand for the server's, whatever those say."""

    class Convolution(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 3)

        def forward(self, waveform: torch.Tensor) -> torch.Tensor:
            convolved: torch.Tensor = self.conv(waveform[:, None])
            return convolved

    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    graph = traced(Convolution(), 1_600).inlined_graph
    (convolution,) = (node for node in graph.nodes() if node.kind() == "aten::_convolution")
    *_, is_cudnns, may_round = (value.toIValue() for value in convolution.inputs())
    assert (is_cudnns, may_round) == (True, False)
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32) == before
