"""What scoring answers: frozen dataclasses that carry their provenance."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from dfclient.audio.options import AudioOptions
from dfclient.clips import Clip
from dfclient.errors import DfclientError
from dfcontract.calibration import Calibration
from dfcontract.card import ModelCard
from dfcontract.text import number
from dfcontract.windows import PROTOCOL, Cutting, Windowing, in_words, pool_scores


@dataclass(frozen=True)
class WindowScore:
    """One window's part of a score. A clip shorter than the window ends at its own end, however it was repeated."""

    start_s: float
    end_s: float
    score: float  # higher sounds more bona fide
    logits: tuple[float, float]  # (spoof, bona fide)


@dataclass(frozen=True)
class AudioFacts:
    """What a row says of a recording, before it was resampled and downmixed."""

    duration_s: float
    sample_rate_hz: int
    channels: int
    warnings: tuple[str, ...]
    channel: int | None = None
    choice: AudioOptions = field(default_factory=AudioOptions)


@dataclass(frozen=True)
class Score:
    """How bona fide one recording sounds to one model; higher is more bona fide."""

    utt_id: str
    path: str  # "" for what is no file
    score: float  # pooled over the windows
    windows: tuple[WindowScore, ...]
    mode: str  # protocol | sliding
    pool: str  # "" in protocol mode, which has one window, or the mean of those of a clip too long to be sent whole
    hop_s: float | None  # None in protocol mode
    duration_s: float
    sample_rate_hz: int  # of the recording, before resampling
    channels: int  # of the recording, before downmixing
    warnings: tuple[str, ...]
    card: ModelCard = field(repr=False)
    channel: int | None = None  # from 1 on, where each channel is scored by itself
    choice: AudioOptions = field(default_factory=AudioOptions)  # what of the recording was asked for

    @classmethod
    def of(
        cls,
        clip: Clip,
        card: ModelCard,
        *,
        windowing: Windowing,
        windows: Sequence[WindowScore],
        facts: AudioFacts,
        pooled: float | None = None,
    ) -> Self:
        """The score of a recording's windows, at least one; scored offline and live alike.

        Args:
            clip: its name.
            card: of the model that scored.
            windowing: how the windows were cut and are pooled.
            windows: in order.
            facts: about the audio.
            pooled: of the windows, where that has been worked out already.
        """
        return cls(
            utt_id=clip.utt_id,
            path=clip.path,
            score=pool_scores((window.score for window in windows), windowing.pool) if pooled is None else pooled,
            windows=tuple(windows),
            mode=windowing.mode,
            pool=windowing.pool_stated,
            hop_s=windowing.hop_s,
            duration_s=facts.duration_s,
            sample_rate_hz=facts.sample_rate_hz,
            channels=facts.channels,
            warnings=facts.warnings,
            channel=facts.channel,
            choice=facts.choice,
            card=card,
        )

    @property
    def above_threshold(self) -> bool | None:
        """Whether the score reaches the card's threshold, which holds for the data it was set on.

        None without one, for random weights, and where it was set on recordings that were cut otherwise.
        """
        card = self.card
        if card.threshold is None or card.is_random or (card.calibration is not None and self.calibration is None):
            return None
        return self.score >= card.threshold

    @property
    def calibration(self) -> Calibration | None:
        """The card's, where it was fitted on recordings that were cut as this one was."""
        words = in_words(self.mode, self.pool, "" if self.hop_s is None else number(self.hop_s))
        return calibration_for(self.card, Cutting(words, str(self.card.longest_samples(self.mode))))

    @property
    def llr(self) -> float | None:
        """Natural-log likelihood ratio, bona fide over spoof, by the calibration; None without one."""
        return None if self.calibration is None else float(self.calibration.llr(self.score))

    @property
    def verdict(self) -> str:
        """`bona_fide` or `spoof` at the calibration's threshold; "" without a calibration."""
        return "" if self.calibration is None else self.calibration.verdict(self.score)

    @property
    def is_cut(self) -> bool:
        """Whether only the recording's beginning was scored: protocol mode has one window, where windows are fixed."""
        return self.mode == PROTOCOL and self.card.clip is None and self.duration_s > self.card.window_s

    def as_dict(self) -> dict[str, Any]:
        """The values of a score file's columns (`dfcontract.score_file.COLUMNS`), in their order."""
        return {
            "utt_id": self.utt_id,
            "score": self.score,
            "path": self.path,
            **_of_card(self.card, self.calibration, self.mode),
            "mode": self.mode,
            "pool": self.pool,
            "hop_s": self.hop_s,
            **_of_choice(self.choice),
            "n_windows": len(self.windows),
            "window_starts_s": tuple(window.start_s for window in self.windows),
            "window_scores": tuple(window.score for window in self.windows),
            "member_scores": (),
            "llr": self.llr,
            "verdict": self.verdict,
            "duration_s": self.duration_s,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class Failed:
    """One recording that could not be scored, and why; the others are unaffected."""

    utt_id: str
    path: str
    error: DfclientError


def run_values(card: ModelCard, windowing: Windowing, choice: AudioOptions) -> dict[str, Any]:
    """The values of a score file's columns that are the same in every row of a run."""
    cut = {"mode": windowing.mode, "pool": windowing.pool_stated, "hop_s": windowing.hop_s}
    return {**_of_card(card, calibration_for(card, windowing.cutting), windowing.mode), **cut, **_of_choice(choice)}


def calibration_for(card: ModelCard, cutting: Cutting) -> Calibration | None:
    """The card's calibration, unless it was fitted on recordings that were cut otherwise."""
    calibration = card.calibration
    return calibration if calibration is not None and calibration.cutting.suits(cutting) else None


def window_calibration(card: ModelCard) -> Calibration | None:
    """The card's calibration, where it says something of a window alone."""
    return calibration_for(card, Cutting(PROTOCOL, str(card.window_samples)))


def _of_choice(choice: AudioOptions) -> dict[str, Any]:
    return {"channel_choice": str(choice.channels), "track": "" if choice.track is None else str(choice.track)}


def _of_card(card: ModelCard, calibration: Calibration | None, mode: str) -> dict[str, Any]:
    return {
        "model": card.model,
        "version": card.version,
        "weights": card.weights,
        "checkpoint_sha256": card.checkpoint_sha256,
        "identity": str(card.identity or ""),
        "precision": card.precision,
        "window_samples": card.longest_samples(mode),
        "calibration_sha256": "" if calibration is None else calibration.digest,
        "fusion_sha256": "",
        "members": (),
    }
