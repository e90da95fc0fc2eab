"""The module that every format writes: a network with the outputs of the contract."""

import torch
from torch import Tensor, nn


class ServedDetector(nn.Module):
    """WAVEFORM (batch, samples) → LOGITS (batch, 2), SCORE (batch, 1), IDENTITY (batch, 1).

    Args:
        network: waveform → logits.
        identity: see `dfcontract.tensors.identity_of`.
    """

    identity: Tensor

    def __init__(self, network: nn.Module, identity: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("identity", torch.tensor([[identity]], dtype=torch.int64))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The score is the bona fide column, so that higher means more bona fide."""
        logits: Tensor = self.network(waveform)
        return logits, logits[:, 1:], self.identity.repeat(waveform.shape[0], 1)
