"""From a raw score to a log-likelihood ratio, by the calibration that a model's card carries.

The card's parameter `calibration` is the JSON that `dfeval calibrate` writes (docs/evaluation.md): affine,
llr = slope · score + intercept, or isotonic, linear between knots and held at both ends. LLRs are natural logarithms of
how much more likely the score is for bona fide than for spoof, on data like those the calibration was fitted on.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dfclient.errors import ContractError

BONA_FIDE, SPOOF = "bona_fide", "spoof"


@dataclass(frozen=True)
class Calibration:
    """A map from scores to LLRs, the score at or above which a clip is called bona fide, and what both hold for."""

    kind: str  # affine | isotonic
    knots: tuple[tuple[float, float], ...]  # affine: one, (slope, intercept); isotonic: (score, llr), rising
    threshold: float
    fitted_on: str
    digest: str  # sha256 of the calibration's content

    def llr(self, score: float) -> float:
        """Natural-log likelihood ratio of one raw score."""
        if self.kind == "affine":
            slope, intercept = self.knots[0]
            return slope * score + intercept
        scores, llrs = zip(*self.knots, strict=True)
        return float(np.interp(score, scores, llrs))

    def verdict(self, score: float) -> str:
        """`bona_fide` or `spoof`, at the calibration's threshold."""
        return BONA_FIDE if score >= self.threshold else SPOOF

    @classmethod
    def from_json(cls, model: str, text: str) -> Self:
        """Read a card's `calibration`; ContractError when it is none."""
        try:
            content: dict[str, Any] = json.loads(text)
            parameters = content["parameters"]
            knots: tuple[tuple[float, float], ...]
            if content["kind"] == "affine":
                knots = ((float(parameters["slope"]), float(parameters["intercept"])),)
            elif content["kind"] == "isotonic":
                knots = tuple(zip(map(float, parameters["scores"]), map(float, parameters["llrs"]), strict=True))
            else:
                raise ValueError(f"kind {content['kind']!r}")
            threshold = float(content["threshold"]["score"])
            if not knots or not all(map(math.isfinite, (threshold, *(value for knot in knots for value in knot)))):
                raise ValueError("a number is missing or not finite")
            return cls(
                str(content["kind"]), knots, threshold, str(content["fitted_on"]["protocol"]), str(content["digest"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ContractError(
                f"model {model!r}: its card's calibration can't be read ({type(error).__name__}: {error}): "
                "build it again with dfexport build --calibration FILE"
            ) from None
