"""Graph attention of AASIST (Jung et al., ICASSP 2022, arXiv 2110.01200, sections 3.2 to 3.4).

Parameter names are those of clovaai/aasist, ``models/AASIST.py``, so that its checkpoints load strictly. Inference
only: the dropouts of the original are the identity and are left out. Relatives of AASIST put another layer in the place
of each linear one, and no activation behind the heterogeneous attention.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Linear = Callable[[int, int], nn.Module]  # features in and out → a layer in the place of a linear one


def _column(features: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(features, 1))


def _pairwise(nodes: Tensor) -> Tensor:
    """Every node times every node: (batch, n, d) → (batch, n, n, d)."""
    return nodes.unsqueeze(2) * nodes.unsqueeze(1)


def _batch_norm_nodes(norm: nn.BatchNorm1d, nodes: Tensor) -> Tensor:
    """Normalise the features of all nodes of all graphs together: (batch, n, d) → (batch, n, d)."""
    batch, n, features = nodes.shape
    normed: Tensor = norm(nodes.reshape(batch * n, features))
    return normed.reshape(batch, n, features)


class GraphAttention(nn.Module):
    """Attention among nodes of one kind: (batch, n, d_in) → (batch, n, d_out)."""

    def __init__(self, d_in: int, d_out: int, temperature: float, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.att_proj = linear(d_in, d_out)
        self.att_weight = _column(d_out)
        self.proj_with_att = linear(d_in, d_out)
        self.proj_without_att = linear(d_in, d_out)
        self.bn = nn.BatchNorm1d(d_out)
        self.temperature = temperature

    def forward(self, nodes: Tensor) -> Tensor:
        """Mix each node with its neighbours."""
        affinity = torch.tanh(self.att_proj(_pairwise(nodes))) @ self.att_weight  # (batch, n, n, 1)
        attention = torch.softmax(affinity / self.temperature, dim=-2).squeeze(-1)
        mixed = self.proj_with_att(attention @ nodes) + self.proj_without_att(nodes)
        return F.selu(_batch_norm_nodes(self.bn, mixed))


class HeterogeneousGraphAttention(nn.Module):
    """Attention among nodes of two kinds and a master node that sees them all (paper, section 3.3)."""

    def __init__(
        self, d_in: int, d_out: int, temperature: float, linear: Linear = nn.Linear, *, activated: bool = True
    ) -> None:
        super().__init__()
        self.proj_type1 = linear(d_in, d_in)
        self.proj_type2 = linear(d_in, d_in)
        self.att_proj = linear(d_in, d_out)
        self.att_projM = linear(d_in, d_out)
        self.att_weight11 = _column(d_out)
        self.att_weight22 = _column(d_out)
        self.att_weight12 = _column(d_out)
        self.att_weightM = _column(d_out)
        self.proj_with_att = linear(d_in, d_out)
        self.proj_without_att = linear(d_in, d_out)
        self.proj_with_attM = linear(d_in, d_out)
        self.proj_without_attM = linear(d_in, d_out)
        self.bn = nn.BatchNorm1d(d_out)
        self.temperature = temperature
        self.activated = activated

    def forward(self, first: Tensor, second: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mix (batch, n1, d_in), (batch, n2, d_in) and (batch or 1, 1, d_in); return the three at d_out."""
        n1 = first.shape[1]
        nodes = torch.cat([self.proj_type1(first), self.proj_type2(second)], dim=1)
        attention = self._attention(nodes, n1)
        master = self._update_master(nodes, master)
        mixed = self.proj_with_att(attention @ nodes) + self.proj_without_att(nodes)
        mixed = _batch_norm_nodes(self.bn, mixed)
        if self.activated:
            mixed = F.selu(mixed)
        return mixed[:, :n1], mixed[:, n1:], master

    def _attention(self, nodes: Tensor, n1: int) -> Tensor:
        """Each pair of kinds has a weight vector of its own; (batch, n, n)."""
        projected = torch.tanh(self.att_proj(_pairwise(nodes)))
        top, bottom = projected[:, :n1], projected[:, n1:]
        affinity = torch.cat(
            [
                torch.cat([top[:, :, :n1] @ self.att_weight11, top[:, :, n1:] @ self.att_weight12], dim=2),
                torch.cat([bottom[:, :, :n1] @ self.att_weight12, bottom[:, :, n1:] @ self.att_weight22], dim=2),
            ],
            dim=1,
        )
        return torch.softmax(affinity / self.temperature, dim=-2).squeeze(-1)

    def _update_master(self, nodes: Tensor, master: Tensor) -> Tensor:
        affinity = torch.tanh(self.att_projM(nodes * master)) @ self.att_weightM  # (batch, n, 1)
        attention = torch.softmax(affinity / self.temperature, dim=-2)
        pooled = attention.transpose(1, 2) @ nodes  # (batch, 1, d_in)
        updated: Tensor = self.proj_with_attM(pooled) + self.proj_without_attM(master)
        return updated


class GraphPool(nn.Module):
    """Keep the nodes with the highest scores, scaled by them: (batch, n, d) → (batch, max(int(n · ratio), 1), d)."""

    def __init__(self, features: int, ratio: float, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.proj = linear(features, 1)
        self.ratio = ratio

    def forward(self, nodes: Tensor) -> Tensor:
        """The kept nodes, in the order of their scores."""
        scores = torch.sigmoid(self.proj(nodes))
        kept = max(int(nodes.shape[1] * self.ratio), 1)
        order = torch.topk(scores, kept, dim=1).indices.expand(-1, -1, nodes.shape[2])
        return torch.gather(nodes * scores, 1, order)
