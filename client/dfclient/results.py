"""What scoring answers: frozen dataclasses that carry their provenance."""

from dataclasses import dataclass, field

from dfclient.card import ModelCard
from dfclient.errors import DfclientError


@dataclass(frozen=True)
class WindowScore:
    """One window's part of a score. A clip shorter than the window ends at its own end, however it was repeated."""

    start_s: float
    end_s: float
    score: float  # higher sounds more bona fide
    logits: tuple[float, float]  # (spoof, bona fide)


@dataclass(frozen=True)
class Score:
    """How bona fide one recording sounds to one model; higher is more bona fide."""

    utt_id: str
    path: str  # "" for an array
    score: float  # pooled over the windows
    windows: tuple[WindowScore, ...]
    mode: str  # protocol | sliding
    pool: str  # "" in protocol mode, which has one window
    hop_s: float | None  # None in protocol mode
    duration_s: float
    sample_rate_hz: int  # of the recording, before resampling
    channels: int  # of the recording, before downmixing
    warnings: tuple[str, ...]
    card: ModelCard = field(repr=False)

    @property
    def above_threshold(self) -> bool | None:
        """Whether the score reaches the card's threshold, which holds for the data it was set on; None without one."""
        return None if self.card.threshold is None or self.card.is_random else self.score >= self.card.threshold

    @property
    def llr(self) -> float | None:
        """Natural-log likelihood ratio, bona fide over spoof, by the card's calibration; None without one."""
        return None if self.card.calibration is None else self.card.calibration.llr(self.score)

    @property
    def verdict(self) -> str:
        """`bona_fide` or `spoof` at the calibration's threshold; "" without a calibration."""
        return "" if self.card.calibration is None else self.card.calibration.verdict(self.score)


@dataclass(frozen=True)
class Failed:
    """One recording that could not be scored, and why; the others are unaffected."""

    utt_id: str
    path: str
    error: DfclientError
