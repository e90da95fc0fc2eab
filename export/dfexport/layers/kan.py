"""Kolmogorov-Arnold layers: a learned curve for each pair of an input and an output, as a sum of B-splines.

Liu et al., "KAN: Kolmogorov-Arnold Networks", arXiv 2404.19756, equations 2.10 to 2.12; Schoenberg, "Contributions to
the problem of approximation of equidistant data by analytic functions", 1946, for splines on even knots. Parameter
names are those of the published Spectra-AASIST3.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfexport.errors import CheckpointInvalid
from dfexport.seeded import Array, SeededRules

ORDER = 4
INTERVALS = 16  # of [-1, 1]
SPLINES = INTERVALS + ORDER
KNOTS = SPLINES + ORDER + 1


def uniform_knots(noise: Array) -> Array:
    """The knots that training starts from and leaves: -1.5 to 1.5 in steps of 1/8, on every row."""
    knots = -1 + 2 / INTERVALS * np.arange(-ORDER, INTERVALS + ORDER + 1)
    return np.broadcast_to(knots, noise.shape)


SEEDED_RULES: SeededRules = {
    "spline_scaler": lambda noise: 1 + 0.1 * noise,
    "*.base_activation.weight": lambda noise: 0.25 + 0.1 * noise,
    "grid": uniform_knots,
}


class KanLinear(nn.Module):
    """The parameters of a layer (…, d_in) → (…, d_out) under their published names; `FoldedKan` computes with them."""

    grid: Tensor

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.base_weight = nn.Parameter(torch.empty(d_out, d_in))
        self.spline_weight = nn.Parameter(torch.empty(d_out, d_in, SPLINES))
        self.spline_scaler = nn.Parameter(torch.empty(d_out, d_in))
        self.base_activation = nn.PReLU()
        self.register_buffer("grid", torch.empty(d_in, KNOTS))


class FoldedKan(nn.Module):
    """(…, d_in) → (…, d_out); outside of the knots only the PReLU's part is left.

    Between even knots all splines of order 4 are one curve, moved. Its form around the middle loses no digits and takes
    half the time of the recursion over orders. What depends on the weights alone is computed here, once: a graph of a
    hundred such layers would take minutes to export otherwise.
    """

    curves: Tensor
    middles: Tensor

    def __init__(self, published: KanLinear) -> None:
        super().__init__()
        first, last = published.grid[:, : -ORDER - 1], published.grid[:, ORDER + 1 :]
        step = float((last - first).mean()) / (ORDER + 1)
        self.per_step = 1 / step
        self.register_buffer("middles", (first + last) / (2 * step))  # (d_in, splines), in steps
        curves = published.spline_weight * published.spline_scaler.unsqueeze(-1) / 24
        self.register_buffer("curves", curves.detach().flatten(1))  # (d_out, d_in · splines)
        self.base_weight, self.base_activation = published.base_weight, published.base_activation

    def forward(self, x: Tensor) -> Tensor:
        """The PReLU's part and the splines', each one product."""
        steps = (x.unsqueeze(-1) * self.per_step - self.middles).abs()  # from each spline's middle: (…, d_in, splines)
        outer, inner, core = ((reach - steps).relu().square().square() for reach in (2.5, 1.5, 0.5))
        splines = (outer - 5 * inner + 10 * core).flatten(-2)  # 24 times their values
        return F.linear(self.base_activation(x), self.base_weight) + F.linear(splines, self.curves)


def fold(network: nn.Module) -> None:
    """Put a `FoldedKan` in the place of every loaded `KanLinear`.

    Raises:
        CheckpointInvalid: training has moved the knots of one, which `FoldedKan` would not follow.
    """
    for parent_name, parent in list(network.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, KanLinear):
                steps = child.grid.diff(dim=1)
                if not (torch.allclose(steps, steps[:1, :1], rtol=1e-3) and bool((steps > 0).all())):
                    where = f"{parent_name}.{name}".lstrip(".")
                    raise CheckpointInvalid(f"expected knots in even steps, found others in {where}.grid")
                setattr(parent, name, FoldedKan(child))
