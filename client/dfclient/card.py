"""The model card: what the server says of a model through its configuration's parameters."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dfclient.calibration import Calibration
from dfclient.errors import ContractError

LIVE_SUFFIX = "_live"  # of the model beside a detector that takes its audio in chunks


def without_live_siblings(models: Iterable[str]) -> list[str]:
    """Names in order, without those that stand for another one's live streams."""
    names = set(models)
    return sorted(name for name in names if name.removesuffix(LIVE_SUFFIX) not in names - {name})


@dataclass(frozen=True)
class ModelCard:
    """What a score needs to be understood: which model, which weights, at which rate, against which threshold."""

    model: str
    version: str
    detector: str
    sample_rate_hz: int
    window_samples: int
    score_kind: str  # logit | log_softmax
    weights: str  # pretrained | custom | random
    checkpoint_sha256: str
    checkpoint_source: str
    licence: str
    paper: str
    published_result: str
    precision: str
    threshold: float | None  # scores above it were taken for bona fide …
    threshold_source: str  # … on this data
    calibration: Calibration | None = None  # from scores to log-likelihood ratios, where somebody fitted one

    @property
    def window_s(self) -> float:
        """Length of one window."""
        return self.window_samples / self.sample_rate_hz

    @property
    def is_random(self) -> bool:
        """Whether the weights are untrained, so that a score says nothing about any recording."""
        return self.weights == "random"

    @classmethod
    def from_parameters(cls, model: str, version: str, parameters: Mapping[str, str]) -> "ModelCard":
        """Read the card from a model configuration's parameters; ContractError when it has none or a wrong one."""

        def text(key: str, default: str = "") -> str:
            return parameters.get(key, default)

        def whole(key: str) -> int:
            value = text(key)
            if not value.isdecimal() or int(value) == 0:
                found = f"found {value!r}" if value else "found none"
                hint = "it is no detector, or was not built by dfexport"
                raise ContractError(f"model {model!r}: expected a whole number as parameter {key!r}, {found}: {hint}")
            return int(value)

        return cls(
            model=model,
            version=version,
            detector=text("detector", model),
            sample_rate_hz=whole("sample_rate_hz"),
            window_samples=whole("window_samples"),
            score_kind=text("score_kind", "logit"),
            weights=_weights(model, text("weights")),
            checkpoint_sha256=text("checkpoint_sha256"),
            checkpoint_source=text("checkpoint_source"),
            licence=text("licence", "unknown"),
            paper=text("paper"),
            published_result=text("published_result"),
            precision=text("precision"),
            threshold=_threshold(model, text("threshold")),
            threshold_source=text("threshold_source"),
            calibration=Calibration.from_json(model, text("calibration")) if text("calibration") else None,
        )


def _weights(model: str, value: str) -> str:
    if value not in ("pretrained", "custom", "random"):
        raise ContractError(
            f"model {model!r}: expected weights pretrained, custom or random in its card, found {value!r}"
        )
    return value


def _threshold(model: str, value: str) -> float | None:
    if not value:
        return None
    try:
        threshold = float(value)
    except ValueError:
        threshold = math.nan
    if not math.isfinite(threshold):
        raise ContractError(f"model {model!r}: expected a number as threshold in its card, found {value!r}")
    return threshold
