"""The two-branch graph back-end that AASIST and SSL_Anti-spoofing share (AASIST paper, figure 1 and section 3.4)."""

import torch
from torch import Tensor, nn

from dfexport.layers.graph_attention import GraphAttention, GraphPool, HeterogeneousGraphAttention
from dfexport.seeded import SeededRules

OUTPUT_LAYER = "out_layer"
SEEDED_RULES: SeededRules = {
    pattern: lambda noise: 0.3 * noise for pattern in ("pos_S", "master", "master[12]", "att_weight*")
}


def readout(temporal: Tensor, spectral: Tensor, master: Tensor) -> Tensor:
    """(batch, nodes, d) twice and (batch, 1, d) → (batch, 5 d): largest and mean of both kinds, and the master."""
    parts = [
        temporal.abs().amax(dim=1),
        temporal.mean(dim=1),
        spectral.abs().amax(dim=1),
        spectral.mean(dim=1),
        master.squeeze(1),
    ]
    return torch.cat(parts, dim=1)


class GraphBackend(nn.Module):
    """Spectral and temporal node sets → logits.

    The published checkpoints keep these parameters at the top level of the state dict, so detectors inherit from
    this class rather than hold one.

    Args:
        channels: features of the incoming nodes.
        gat_dims: features after the first and after the heterogeneous graph attention.
        pool_ratios: kept share of nodes: spectral pool, temporal pool, the four later pools.
        temperatures: spectral and temporal attention, the heterogeneous ones.
        spectral_nodes: rows of the spectral position embedding.
    """

    def __init__(
        self,
        channels: int,
        gat_dims: tuple[int, int],
        pool_ratios: tuple[float, float, float],
        temperatures: tuple[float, float, float],
        spectral_nodes: int,
    ) -> None:
        super().__init__()
        wide, narrow = gat_dims
        spectral_ratio, temporal_ratio, later_ratio = pool_ratios
        self.pos_S = nn.Parameter(torch.empty(1, spectral_nodes, channels))
        self.master1 = nn.Parameter(torch.empty(1, 1, wide))
        self.master2 = nn.Parameter(torch.empty(1, 1, wide))
        self.GAT_layer_S = GraphAttention(channels, wide, temperatures[0])
        self.GAT_layer_T = GraphAttention(channels, wide, temperatures[1])
        self.pool_S = GraphPool(wide, spectral_ratio)
        self.pool_T = GraphPool(wide, temporal_ratio)
        for branch in (1, 2):
            self.add_module(f"HtrgGAT_layer_ST{branch}1", HeterogeneousGraphAttention(wide, narrow, temperatures[2]))
            self.add_module(f"HtrgGAT_layer_ST{branch}2", HeterogeneousGraphAttention(narrow, narrow, temperatures[2]))
            self.add_module(f"pool_hS{branch}", GraphPool(narrow, later_ratio))
            self.add_module(f"pool_hT{branch}", GraphPool(narrow, later_ratio))
        self.out_layer = nn.Linear(5 * narrow, 2)

    def classify(self, spectral: Tensor, temporal: Tensor) -> Tensor:
        """(batch, spectral nodes, channels) and (batch, temporal nodes, channels) → logits (batch, 2)."""
        spectral = self.pool_S(self.GAT_layer_S(spectral + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        branches = zip(self._branch(1, spectral, temporal), self._branch(2, spectral, temporal), strict=True)
        spectral, temporal, master = (torch.maximum(one, two) for one, two in branches)
        logits: Tensor = self.out_layer(readout(temporal, spectral, master))
        return logits

    def _branch(self, branch: int, spectral: Tensor, temporal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run one of the two max-graph-operation branches: heterogeneous attention, pool, residual attention."""
        master: Tensor = getattr(self, f"master{branch}")
        temporal, spectral, master = getattr(self, f"HtrgGAT_layer_ST{branch}1")(temporal, spectral, master)
        spectral = getattr(self, f"pool_hS{branch}")(spectral)
        temporal = getattr(self, f"pool_hT{branch}")(temporal)
        more_temporal, more_spectral, more_master = getattr(self, f"HtrgGAT_layer_ST{branch}2")(
            temporal, spectral, master
        )
        return spectral + more_spectral, temporal + more_temporal, master + more_master
