"""Time the ways to write Mamba's selective scan with standard operators; prints the table of docs/selective-scan.md.

Each formulation is one layer of XLSR-Mamba's scan, both columns: 208 steps, 288 channels, 16 states. It is exported as
the detector is and run by ONNX Runtime; the formulations take turns, so that a busy machine slows all of them alike.

    python benchmarks/selective_scan.py [--rounds N]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.formats.onnx import OPSET, quiet_exporter
from dfexport.layers.mamba import selective_scan

COLUMNS, STEPS, CHANNELS, STATE = 2, 208, 288, 16
BATCHES = (1, 8)
THREADS = (1, 2)

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Exponents = tuple[Tensor, Tensor]


def _expanded(x: Tensor, step: Tensor, decay: Tensor, b: Tensor) -> Exponents:
    """Exponents and inputs for every state at once, each (columns, batch, time, state, channels)."""
    return step.unsqueeze(3) * decay[:, None, None], (step * x).unsqueeze(3) * b.unsqueeze(4)


def unrolled(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """One step after the other, as written in the paper."""
    exponent, add = _expanded(x, step, decay, b)
    keep = exponent.exp()
    h = torch.zeros_like(add[:, :, 0])
    y = []
    for t in range(x.shape[2]):
        h = keep[:, :, t] * h + add[:, :, t]
        y.append(c[:, :, t].unsqueeze(2) @ h)
    return torch.cat(y, 2)


def onnx_scan(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """ONNX ``Scan``: one step after the other, the loop inside the runtime."""

    def advance(h: Tensor, now: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x_t, step_t, b_t, c_t = now
        h = (step_t.unsqueeze(2) * decay.unsqueeze(1)).exp() * h + (step_t * x_t).unsqueeze(2) * b_t.unsqueeze(3)
        return h, (c_t.unsqueeze(2) @ h).squeeze(2)

    h = x.new_zeros(*x.shape[:2], *decay.shape[1:])
    _, y = torch._higher_order_ops.scan(advance, h, tuple(v.movedim(2, 0).contiguous() for v in (x, step, b, c)))
    return y.movedim(0, 2)


def log_depth(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Hillis and Steele: combine with the neighbour 1, 2, 4, … steps back."""
    exponent, h = _expanded(x, step, decay, b)
    keep = exponent.exp()
    distance = 1
    while distance < x.shape[2]:
        h = torch.cat([h[:, :, :distance], h[:, :, distance:] + keep[:, :, distance:] * h[:, :, :-distance]], 2)
        keep = torch.cat([keep[:, :, :distance], keep[:, :, distance:] * keep[:, :, :-distance]], 2)
        distance *= 2
    return (c.unsqueeze(3) @ h).squeeze(3)


def _blocks(v: Tensor, size: int) -> Tensor:
    """(columns, batch, time, …) → (columns, batch, blocks, size, …)."""
    missing = -v.shape[2] % size
    if missing:
        v = torch.cat([v, torch.zeros_like(v[:, :, :1]).expand(-1, -1, missing, *v.shape[3:])], 2)
    return v.unflatten(2, (-1, size))


def _starts(keep: Tensor, final: Tensor) -> Tensor:
    """Carry over axis 2: what a block keeps, and its final state from an empty one → every starting state."""
    starts = [torch.zeros_like(final[:, :, 0])]
    for k in range(final.shape[2] - 1):
        starts.append(keep[:, :, k] * starts[-1] + final[:, :, k])
    return torch.stack(starts, 2)


def chunk_matrix(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Chunks of 8; inside one, every step sees every earlier one through exp of the exponents' difference (≤ 0)."""
    exponent, add = (_blocks(v, 8) for v in _expanded(x, step, decay, b))
    total = exponent.cumsum(3)
    later = torch.ones(8, 8).tril()[:, :, None, None]
    difference = torch.where(later > 0, total.unsqueeze(4) - total.unsqueeze(3), -torch.inf)
    h = (difference.exp() * add.unsqueeze(3)).sum(4)
    h = h + total.exp() * _starts(total[:, :, :, -1].exp(), h[:, :, :, -1]).unsqueeze(3)
    return (c.unsqueeze(3) @ h.flatten(2, 3)[:, :, : x.shape[2]]).squeeze(3)


def chunk_factored(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Chunks of 16; the difference's exp taken apart, exp(total[t]) · exp(-total[s]): cheap, and it overflows."""
    exponent, add = (_blocks(v, 16) for v in _expanded(x, step, decay, b))
    total = exponent.cumsum(3)
    h = total.exp() * ((-total).exp() * add).cumsum(3)
    h = h + total.exp() * _starts(total[:, :, :, -1].exp(), h[:, :, :, -1]).unsqueeze(3)
    return (c.unsqueeze(3) @ h.flatten(2, 3)[:, :, : x.shape[2]]).squeeze(3)


def two_level(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Blocks of 14 side by side, everything expanded first; the carried states are added to every step at the end."""
    exponent, add = (_blocks(v, 14) for v in _expanded(x, step, decay, b))
    keep = exponent.exp()
    states, kept = [add[:, :, :, 0]], [keep[:, :, :, 0]]
    for t in range(1, 14):
        states.append(keep[:, :, :, t] * states[-1] + add[:, :, :, t])
        kept.append(keep[:, :, :, t] * kept[-1])
    h = torch.stack(states, 3) + torch.stack(kept, 3) * _starts(kept[-1], states[-1]).unsqueeze(3)
    return (c.unsqueeze(3) @ h.flatten(2, 3)[:, :, : x.shape[2]]).squeeze(3)


def column_by_column(x: Tensor, step: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The two-pass scan, each column by itself."""
    columns = [[v[i : i + 1] for v in (x, step, decay, b, c)] for i in range(x.shape[0])]
    return torch.cat([selective_scan(*column) for column in columns])


FORMULATIONS: dict[str, Scan] = {
    "unrolled loop": unrolled,
    "ONNX Scan": onnx_scan,
    "log-depth": log_depth,
    "chunks of 8, matrix": chunk_matrix,
    "chunks of 16, factored": chunk_factored,
    "two-level, blocks of 14": two_level,
    "two-pass, column by column": column_by_column,
    "two-pass, both columns": selective_scan,
}


class Layer(nn.Module):
    """A formulation as a module with the batch axis first, where the exporter and the runtime expect it."""

    def __init__(self, scan: Scan, decay: Tensor) -> None:
        super().__init__()
        self.scan = scan
        self.register_buffer("decay", decay)

    def forward(self, x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """(batch, columns, time, …) → (batch, columns, time, channels)."""
        x, step, b, c = (v.transpose(0, 1) for v in (x, step, b, c))
        return self.scan(x, step, self.get_buffer("decay"), b, c).transpose(0, 1)


@dataclass
class Row:
    """What one formulation costs."""

    nodes: int
    file_mb: float
    export_s: float
    load_s: float
    error: dict[str, float]
    sessions: dict[int, onnxruntime.InferenceSession]


def inputs(batch: int, step_scale: float = 1.0) -> dict[str, Tensor]:
    """Random x, step, b, c; step sizes about 0.05 times ``step_scale``."""
    generator = torch.Generator().manual_seed(batch)
    sizes = {"x": CHANNELS, "step": CHANNELS, "b": STATE, "c": STATE}
    values = {name: torch.randn(batch, COLUMNS, STEPS, size, generator=generator) for name, size in sizes.items()}
    return values | {"step": F.softplus(values["step"] - 3) * step_scale}


def reference(decay: Tensor, values: dict[str, Tensor]) -> Tensor:
    """The loop in float64."""
    y: Tensor = Layer(unrolled, decay.double())(**{name: value.double() for name, value in values.items()})
    return y


def export(module: nn.Module, inputs: dict[str, Tensor], path: Path) -> float:
    """Write ``path``, the batch dynamic; returns the seconds it took."""
    start = time.perf_counter()
    with quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            dynamic_shapes=[{0: torch.export.Dim("batch")} for _ in inputs],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    program.save(path)
    return time.perf_counter() - start


def load(path: Path, threads: int) -> tuple[onnxruntime.InferenceSession, float]:
    """A session with so many threads, and the seconds it took to load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As served; and a pool that spins would take a core from the session whose turn it is.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    start = time.perf_counter()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]), time.perf_counter() - start


def nodes_of(path: Path) -> int:
    """Operators in the file, those of functions and loops too."""
    model = onnx.load(path)
    graphs = [model.graph, *(a.g for node in model.graph.node for a in node.attribute if a.HasField("g"))]
    return sum(len(graph.node) for graph in graphs) + sum(len(function.node) for function in model.functions)


def measure(scan: Scan, decay: Tensor, folder: Path) -> Row:
    """Export, load, and compare with the float64 loop at usual and at a thousand times larger steps."""
    path = folder / "scan.onnx"
    export_s = export(Layer(scan, decay), inputs(2), path)
    loaded = {threads: load(path, threads) for threads in THREADS}
    error = {}
    for label, scale in (("usual", 1.0), ("large", 1000.0)):
        values = inputs(2, scale)
        (y,) = loaded[1][0].run(None, feed(values))
        expected = reference(decay, values).numpy()
        error[label] = float(np.abs(y - expected).max() / np.abs(expected).max())
    sessions = {threads: session for threads, (session, _) in loaded.items()}
    return Row(nodes_of(path), path.stat().st_size / 1e6, export_s, loaded[1][1], error, sessions)


def feed(values: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """The inputs as the runtime takes them."""
    return {name: value.numpy() for name, value in values.items()}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=25, help="turns of each; the fastest counts (default: %(default)s)"
    )
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    decay = -torch.arange(1.0, STATE + 1)[:, None] * torch.randn(COLUMNS, STATE, CHANNELS).mul(0.1).exp()
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: measure(scan, decay, Path(folder)) for name, scan in FORMULATIONS.items()}
    cases = [(batch, threads) for batch in BATCHES for threads in THREADS]
    times: dict[tuple[str, int, int], list[float]] = {(name, *case): [] for name in rows for case in cases}
    for batch, threads in cases:
        values = feed(inputs(batch))
        for _ in range(rounds):
            for name, row in rows.items():
                start = time.perf_counter()
                row.sessions[threads].run(None, values)
                times[name, batch, threads].append((time.perf_counter() - start) * 1000 / batch)
    headings = [f"ms a clip, batch {batch}, {threads} thread{'s' * (threads > 1)}" for batch, threads in cases]
    print("| formulation | " + " | ".join(headings) + " | nodes | MB | export s | load s | error | at large steps |")
    print("|---|" + "---|" * (len(cases) + 6))
    for name, row in rows.items():
        best = " | ".join(f"{min(times[name, *case]):.1f}" for case in cases)
        print(
            f"| {name} | {best} | {row.nodes} | {row.file_mb:.2f} | {row.export_s:.1f} | {row.load_s:.2f} "
            f"| {row.error['usual']:.0e} | {row.error['large']:.0e} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
