"""Ways to run a network in PyTorch, a row each: precision, attention, TorchScript, CUDA graphs.

Products are never rounded to TF32 where a way says fp32: that moves logits by up to 0.009.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dfexport.errors import unknown
from dfexport.formats.torchscript import traced
from dfexport.layers.products import as_products
from dfexport.layers.sixteen_bits import reduce_encoder
from dfexport.layers.xlsr import XlsrDetector
from dfexport.speed.authors import as_authors_compute

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
GRAPH_WARM_UPS = 3

Call = Callable[[Tensor], Tensor]  # waveforms (batch, samples) → logits (batch, 2), on the device


@dataclass(frozen=True)
class Way:
    """One way to run a network.

    Attributes:
        name: in tables and on the command line.
        precision: of the matrix products.
        meaning: for whoever reads the figures.
        make: network (its own to change), window in samples → the call.
        needs_cuda: whether it is for a GPU alone.
    """

    name: str
    precision: str
    meaning: str
    make: Callable[[nn.Module, int], Call] = field(repr=False)
    needs_cuda: bool = False


def _eager(network: nn.Module, _samples: int) -> Call:
    return network


def _authors(network: nn.Module, _samples: int) -> Call:
    return as_authors_compute(network)


def _unfused(network: nn.Module, _samples: int) -> Call:
    def call(waveforms: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            logits: Tensor = network(waveforms)
        return logits

    return call


def _reduced(dtype: torch.dtype, network: nn.Module, _samples: int) -> Call:
    """An XLS-R encoder in ``dtype``, its norms and the head in fp32; without an encoder PyTorch chooses (autocast)."""
    if isinstance(network, XlsrDetector):
        reduce_encoder(network.encoder, dtype)
        return network

    def call(waveforms: Tensor) -> Tensor:
        with torch.autocast(waveforms.device.type, dtype=dtype):
            logits: Tensor = network(waveforms)
        return logits.float()

    return call


def _torchscript(network: nn.Module, samples: int) -> Call:
    torch._C._jit_set_profiling_executor(False)  # as served: it would compile again at each batch size
    device = next(network.parameters()).device
    torch._C._set_graph_executor_optimize(device.type == "cpu")
    call: Call = traced(as_products(network), samples, device)
    return call


def _compiled(make: Callable[[nn.Module, int], Call], network: nn.Module, samples: int) -> Call:
    """Let PyTorch write kernels of its own, once for all batch sizes but 1."""
    call: Call = torch.compile(make(network, samples), dynamic=True)
    return call


def _graphs(make: Callable[[nn.Module, int], Call], network: nn.Module, samples: int) -> Call:
    """Record the kernels of each batch size once, then start them all with one call."""
    inner = make(network, samples)
    recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def call(waveforms: Tensor) -> Tensor:
        batch = len(waveforms)
        if batch not in recorded:
            recorded[batch] = _record(inner, waveforms)
        graph, given, answer = recorded[batch]
        given.copy_(waveforms)
        graph.replay()
        return answer.clone()

    return call


def _record(inner: Call, waveforms: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    given, graph = waveforms.clone(), torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(GRAPH_WARM_UPS):  # libraries choose kernels and take memory, neither of which can be recorded
            inner(given)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        answer = inner(given)
    return graph, given, answer


AUTHORS, FP32 = "authors", "fp32"
_FP16, _BF16 = (partial(_reduced, DTYPES[name]) for name in ("fp16", "bf16"))
WAYS = {
    way.name: way
    for way in (
        Way(AUTHORS, "fp32", "PyTorch eager, as the authors' code computes it", _authors),
        Way(FP32, "fp32", "PyTorch eager, nothing computed twice; attention in one kernel (SDPA)", _eager),
        Way("fp32-unfused", "fp32", "the same, attention as its separate products", _unfused),
        Way("fp16", "fp16", "PyTorch eager, encoder in fp16 (no encoder: autocast)", _FP16),
        Way("bf16", "bf16", "PyTorch eager, encoder in bf16 (no encoder: autocast)", _BF16),
        Way("torchscript", "fp32", "TorchScript, traced as it is served", _torchscript),
        Way("fp32-graphs", "fp32", "PyTorch, recorded as CUDA graphs", partial(_graphs, _eager), needs_cuda=True),
        Way("fp16-graphs", "fp16", "encoder in fp16, CUDA graphs", partial(_graphs, _FP16), needs_cuda=True),
        Way("bf16-graphs", "bf16", "encoder in bf16, CUDA graphs", partial(_graphs, _BF16), needs_cuda=True),
        Way("bf16-compiled", "bf16", "encoder in bf16, torch.compile", partial(_compiled, _BF16), needs_cuda=True),
    )
}


def find_way(name: str) -> Way:
    """Look a way up by name.

    Raises:
        ExportError: no such row.
    """
    if name not in WAYS:
        raise unknown("way", name, WAYS)
    return WAYS[name]


def open_way(way: Way, network: nn.Module, samples: int) -> Call:
    """The call, on a copy of the network, which stays as it is."""
    return way.make(copy.deepcopy(network), samples)


def no_tf32() -> None:
    """Keep fp32 products whole."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
