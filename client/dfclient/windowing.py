"""How recordings are cut and pooled: what the user chose, checked against a model's window."""

from dataclasses import dataclass
from typing import Self

from dfclient import audio, windows
from dfclient.card import ModelCard
from dfclient.errors import InputError


@dataclass(frozen=True)
class Windowing:
    """How a recording is cut and pooled, checked against a model's window."""

    mode: str
    hop_samples: int
    pool: str

    @classmethod
    def checked(cls, card: ModelCard, mode: str, hop_s: float | None, pool: str | None) -> Self:
        """Defaults: one window in protocol mode; in sliding mode a hop of one window, pooled by the mean."""
        hop_samples = card.window_samples if hop_s is None else audio.samples_of(hop_s, card.sample_rate_hz)
        if mode == "protocol" and (hop_s is not None or pool is not None):
            raise InputError("hop and pool belong to sliding mode; protocol mode scores one window a clip")
        try:
            windows.window_starts(mode, card.window_samples, card.window_samples, hop_samples)
            return cls(mode, hop_samples, windows.check_pool(pool or "mean"))
        except ValueError as error:
            raise InputError(f"{error} (window of {card.model}: {card.window_s:g} s)") from None

    def reported(self, sample_rate_hz: int) -> tuple[str, float | None]:
        """Pool and hop_s as results name them: neither exists in protocol mode."""
        return (self.pool, self.hop_samples / sample_rate_hz) if self.mode == "sliding" else ("", None)
