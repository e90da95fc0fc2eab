"""The module that every format writes: a network with the outputs of the contract."""

import torch
from torch import Tensor, nn

from dfexport.spec import ScoreKind


class ServedDetector(nn.Module):
    """WAVEFORM (batch, samples) → LOGITS (batch, 2), SCORE (batch, 1), IDENTITY (batch, 1).

    Args:
        network: waveform → logits.
        identity: see `dfcontract.tensors.identity_of`.
        score_kind: ``softmax`` where SCORE is the bona fide share of the logits' softmax; otherwise it is their bona
            fide column itself.
    """

    identity: Tensor

    def __init__(self, network: nn.Module, identity: int, score_kind: ScoreKind = "logit") -> None:
        super().__init__()
        self.network = network
        self.is_softmax = score_kind == "softmax"
        self.register_buffer("identity", torch.tensor([[identity]], dtype=torch.int64))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The score is of the bona fide column, so that higher means more bona fide."""
        logits: Tensor = self.network(waveform)
        scores = logits.softmax(dim=1) if self.is_softmax else logits
        return logits, scores[:, 1:], self.identity.repeat(waveform.shape[0], 1)
