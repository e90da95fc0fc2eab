"""The module that every format writes: a network as it is computed fastest, with the outputs of the contract."""

import torch
from torch import Tensor, nn

from dfcontract.windows import ClipLengths
from dfexport.layers.products import as_products
from dfexport.spec import ScoreKind


class ServedDetector(nn.Module):
    """WAVEFORM (batch, samples) → LOGITS (batch, 2), SCORE (batch, 1), IDENTITY (batch, 1).

    Args:
        network: waveform → logits; it stays as it is, and shares its weights.
        identity: see `dfcontract.tensors.identity_of`.
        score_kind: ``softmax`` where SCORE is the bona fide share of the logits' softmax; otherwise it is their bona
            fide column itself.
        clip: the lengths of a waveform, where the network takes any between two; None where the length is fixed.
    """

    identity: Tensor

    def __init__(
        self, network: nn.Module, identity: int, score_kind: ScoreKind = "logit", clip: ClipLengths | None = None
    ) -> None:
        super().__init__()
        self.network = as_products(network)
        self.clip = clip
        self.is_softmax = score_kind == "softmax"
        self.register_buffer("identity", torch.tensor([[identity]], dtype=torch.int64))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The score is of the bona fide column, so that higher means more bona fide."""
        if self.clip is not None:
            # A longer waveform points behind the end of a table of one, so that it fails here: memory grows with its
            # length squared, and one request would bring down a server that has to let any length in. The table stays
            # on the CPU, since a GPU would take no further requests after such a failure.
            place = torch.full((1,), waveform.shape[1] // (self.clip.most + 1), device="cpu")
            waveform = waveform + torch.zeros(1, device="cpu").index_select(0, place).sum()
        logits: Tensor = self.network(waveform)
        scores = logits.softmax(dim=1) if self.is_softmax else logits
        return logits, scores[:, 1:], self.identity.repeat(waveform.shape[0], 1)
