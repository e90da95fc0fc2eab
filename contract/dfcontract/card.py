"""The model card: what a score needs to be understood, as text in the ``parameters`` of a Triton model's config."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from dfcontract import published
from dfcontract.calibration import Calibration
from dfcontract.errors import CalibrationError, CardError
from dfcontract.published import Eer, Transfer
from dfcontract.text import number
from dfcontract.windows import PROTOCOL, ClipLengths

PRETRAINED, CUSTOM, RANDOM = WEIGHTS = ("pretrained", "custom", "random")
# What SCORE is, made of LOGITS (spoof, bona fide).
SCORE_KINDS = {
    "logit": "the raw logit of bona fide, unbounded and no probability",
    "log_softmax": "the log-softmax of bona fide, 0 at most; LOGITS hold log-softmax values, too",
    "softmax": "the softmax of bona fide, from 0 to 1 and, uncalibrated, no probability; LOGITS are raw",
}
POLARITY = "higher_is_bona_fide"

# Card fields that are plain text, under the same name; absent or empty, they have the default of their field.
_TEXTS = (
    *("detector", "score_kind", "checkpoint_sha256", "checkpoint_source", "licence", "paper", "published_result"),
    *("format", "precision", "precision_note", "drift", "threshold_source", "preparation", "trained_on"),
)
_MAX_DIGITS = 18  # of a whole number: no rate or window has more, and Python refuses to read thousands
_OTHERS = (
    *("sample_rate_hz", "window_samples", "score_polarity", "weights", "threshold", "calibration", "identity"),
    *("self_check_logits", "self_check_tolerance", "pre_emphasis", "eers", "transfers"),
    *("clip_samples", "sliding_samples"),
)


@dataclass(frozen=True)
class SelfCheck:
    """What the model answers to the waveform beside it, and how far a server's answer may be from that."""

    logits: tuple[float, float]  # spoof, bona fide; float32 values
    tolerance: float


@dataclass(frozen=True)
class ModelCard:
    """Which model, which weights, at which rate, against which threshold.

    Attributes:
        model, version: at the server; a card on disk has no version.
        detector: the registry's name of what was built.
        sample_rate_hz: of the waveform.
        window_samples: of the waveform; of a detector that scores whole clips, the length of a window that is cut out
            of one, in sliding mode and live.
        clip: of a detector that scores whole clips, which lengths it takes; None for one with a fixed window.
        weights: ``pretrained``, ``custom`` or ``random``.
        score_kind: what SCORE is: one of ``SCORE_KINDS``.
        checkpoint_sha256, checkpoint_source: the weights' digest and page or path.
        identity: what each answer's IDENTITY must be; 0 where the graph has none.
        threshold: scores from it on were taken for bona fide on the data that ``threshold_source`` names.
        calibration: from scores to log-likelihood ratios, where somebody fitted one.
        eers: the equal error rates that somebody published for these weights.
        transfers: how thresholds of these weights did on other data than they were set on, as far as somebody says.
        trained_on: what they were trained on; "" where that is not known.
        preparation: what the graph does to a waveform before the network; "" for nothing.
        pre_emphasis: its factor where that is part of the graph, for `windows.cut`; 0 where it is not.
        self_check: what the model must answer to the waveform beside it, for whoever serves it.
        format, precision, precision_note, drift: how the graph was written, and what fewer bits changed.
        extra: parameters that are not the card's, such as a backend's options; they survive a round trip.
    """

    model: str
    version: str
    detector: str
    sample_rate_hz: int
    window_samples: int
    weights: str
    score_kind: str = "logit"
    checkpoint_sha256: str = ""
    checkpoint_source: str = ""
    licence: str = "unknown"
    paper: str = ""
    published_result: str = ""
    eers: tuple[Eer, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    trained_on: str = ""
    format: str = ""
    precision: str = ""
    precision_note: str = ""
    drift: str = ""
    preparation: str = ""
    pre_emphasis: float = 0.0
    identity: int = 0
    threshold: float | None = None
    threshold_source: str = ""
    calibration: Calibration | None = None
    self_check: SelfCheck | None = None
    clip: ClipLengths | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def window_s(self) -> float:
        """Length of one window."""
        return self.window_samples / self.sample_rate_hz

    def longest_samples(self, mode: str) -> int:
        """The most of a recording that is scored at once: a window, or in protocol mode the longest whole clip."""
        return self.clip.most if self.clip is not None and mode == PROTOCOL else self.window_samples

    @property
    def window_words(self) -> str:
        """What it scores, in a few words: `4.038 s`, or `clip, up to 13 s`."""
        if self.clip is None:
            return f"{self.window_s:.3f} s"
        return f"clip, up to {self.clip.most / self.sample_rate_hz:g} s"

    @property
    def sliding_note(self) -> str:
        """What is to be said where windows are scored instead of what its authors score; "" where that is a window."""
        if self.clip is None:
            return ""
        window = f"windows of {self.window_s:.2f} s"
        return f"{window}: its authors score whole clips, so their figures are not of these scores"

    @property
    def is_random(self) -> bool:
        """Whether the weights are untrained, so that a score says nothing about any recording."""
        return self.weights == RANDOM

    @classmethod
    def from_parameters(cls, model: str, version: str, parameters: Mapping[str, str]) -> Self:
        """Read a card.

        Args:
            model: the model's name at the server, or its folder's.
            version: "" where none is known.
            parameters: of the model's configuration.

        Raises:
            CardError: there is none, or a value that can't be used.
        """
        read = _Reader(model, parameters)
        texts = {name: parameters[name] for name in _TEXTS if parameters.get(name)}
        card: dict[str, Any] = {"detector": model, **texts}
        read.one_of("score_kind", tuple(SCORE_KINDS), default="logit")
        read.one_of("score_polarity", (POLARITY,), default=POLARITY)
        clip = read.clip()
        return cls(
            model=model,
            version=version,
            sample_rate_hz=read.whole("sample_rate_hz"),
            window_samples=read.whole("window_samples" if clip is None else "sliding_samples"),
            clip=clip,
            weights=read.one_of("weights", WEIGHTS),
            identity=read.identity(),
            pre_emphasis=read.finite("pre_emphasis") or 0.0,
            threshold=read.finite("threshold"),
            calibration=read.calibration(),
            eers=read.eers(),
            transfers=read.transfers(),
            self_check=read.self_check(),
            extra={key: value for key, value in parameters.items() if key not in (*_TEXTS, *_OTHERS)},
            **card,
        )

    def to_parameters(self) -> dict[str, str]:
        """The text of each parameter; what has no value is left out."""
        return dict(sorted({**self.extra, **dict(self._own_parameters())}.items()))

    def _own_parameters(self) -> Iterator[tuple[str, str]]:
        yield from ((name, getattr(self, name)) for name in _TEXTS if getattr(self, name))
        yield "sample_rate_hz", str(self.sample_rate_hz)
        if self.clip is None:
            yield "window_samples", str(self.window_samples)
        else:  # under other names, so that a client of before has nothing to take for a fixed window
            yield "clip_samples", " ".join(map(str, self.clip))
            yield "sliding_samples", str(self.window_samples)
        yield "score_polarity", POLARITY
        yield "weights", self.weights
        if self.identity:
            yield "identity", str(self.identity)
        if self.eers:
            yield "eers", published.to_text(self.eers)
        if self.transfers:
            yield "transfers", published.to_text(self.transfers)
        if self.pre_emphasis:
            yield "pre_emphasis", repr(self.pre_emphasis)
        if self.threshold is not None:
            yield "threshold", repr(self.threshold)
        if self.calibration is not None:
            yield "calibration", self.calibration.to_json()
        if self.self_check is not None:
            yield "self_check_logits", " ".join(map(number, self.self_check.logits))
            yield "self_check_tolerance", repr(self.self_check.tolerance)


@dataclass(frozen=True)
class _Reader:
    """Values of one model's parameters, checked; a CardError names the model, the parameter and what was found."""

    model: str
    parameters: Mapping[str, str]

    def whole(self, key: str) -> int:
        text = self.parameters.get(key, "")
        if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS) or int(text) == 0:
            hint = "it is no detector, or was not built by dfexport"
            raise self._error("a whole number", key, hint)
        return int(text)

    def clip(self) -> ClipLengths | None:
        text = self.parameters.get("clip_samples", "")
        if not text:
            return None
        words = text.split()
        if not all(word.isascii() and word.isdecimal() and len(word) <= _MAX_DIGITS for word in words):
            raise self._error("two whole numbers", "clip_samples")
        lengths = [int(word) for word in words]
        if len(lengths) != 2 or not 1 <= lengths[0] <= lengths[1]:
            raise self._error("two whole numbers, the least and the most", "clip_samples")
        return ClipLengths(*lengths)

    def identity(self) -> int:
        text = self.parameters.get("identity", "0")
        try:
            return int(text)
        except ValueError:
            raise self._error("a whole number", "identity") from None

    def one_of(self, key: str, known: tuple[str, ...], default: str = "") -> str:
        value = self.parameters.get(key) or default
        if value not in known:
            raise self._error(" or ".join(known), key)
        return value

    def finite(self, key: str) -> float | None:
        text = self.parameters.get(key)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._error("a number", key)
        return value

    def calibration(self) -> Calibration | None:
        text = self.parameters.get("calibration")
        try:
            return Calibration.from_json(text, f"model {self.model!r}, the calibration in its card") if text else None
        except CalibrationError as error:
            raise CardError(f"{error}, then build the model again with dfexport build --calibration FILE") from None

    def eers(self) -> tuple[Eer, ...]:
        text = self.parameters.get("eers")
        try:
            return published.from_text(text) if text else ()
        except (ValueError, RecursionError):
            raise self._error("a list of published equal error rates", "eers") from None

    def transfers(self) -> tuple[Transfer, ...]:
        text = self.parameters.get("transfers")
        try:
            return published.transfers_from_text(text) if text else ()
        except (ValueError, RecursionError):
            raise self._error("a list of transferred thresholds", "transfers") from None

    def self_check(self) -> SelfCheck | None:
        tolerance = self.finite("self_check_tolerance")
        text = self.parameters.get("self_check_logits")
        if tolerance is None or not text:
            return None
        try:
            spoof, bonafide = (float(np.float32(word)) for word in text.split())
        except ValueError:
            raise self._error("two numbers", "self_check_logits") from None
        return SelfCheck((spoof, bonafide), tolerance)

    def _error(self, expected: str, key: str, hint: str = "build it again with dfexport") -> CardError:
        found = self.parameters.get(key)
        words = "found none" if not found else f"found {found!r}"
        return CardError(f"model {self.model!r}: expected {expected} as {key} in its card, {words}: {hint}")
