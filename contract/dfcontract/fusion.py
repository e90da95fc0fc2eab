"""A fusion: several detectors' calibrated scores into one log-likelihood ratio (LLR). One JSON, as a calibration's.

    {"schema": "dfserve-fusion-1",
     "units": "natural-log likelihood ratio, bona fide over spoof",
     "members": [                                        llr = intercept + sum of weight · llr of each member
       {"detector": "aasist", "weight": 0.71,
        "kind": "affine", "parameters": {"slope": 0.26, "intercept": 0.26},      its own calibration
        "weights": "pretrained", "checkpoint_sha256": "…", "windows": "protocol",
        "window_samples": "64600",
        "figures": {"eer": 0.35, "cllr": 0.89}},                               alone, on the trials it was fitted on
       …],
     "intercept": -0.1,
     "threshold": {"llr": -0.64, "rule": "…"},            an LLR at or above it is called bona fide
     "fitted_on": {"protocol": "…", "phase": "all", "n_bonafide": 130, "n_spoof": 171, "trials_sha256": "…"},
     "figures": {"eer": 0.3, "cllr": 0.8, "min_cllr": 0.7},                     fused, on the same trials: optimistic
     "digest": "…"}                                       sha256 of all the rest, as JSON with sorted keys and no spaces

`dfeval fuse fit` writes it; whoever has a recording's score from each member applies it by `Fusion.llr`. It holds for
these detectors and for data like those it was fitted on. Keys that are not known here survive.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dfcontract.calibration import (
    BONA_FIDE,
    SCORE_COLUMN,
    SPOOF,
    UNITS,
    WINDOW_SAMPLES,
    check_numbers,
    check_parameters,
    checked_content,
    digest_of,
    llr_of,
    read_json,
    save_json,
    to_json,
)
from dfcontract.errors import CalibrationError
from dfcontract.windows import Cutting

SCHEMA = "dfserve-fusion-1"


@dataclass(frozen=True)
class Member:
    """One detector of a fusion.

    Attributes:
        detector: its model's name.
        weight: of its LLR in the sum; below zero where it corrects the others.
        kind, parameters: its calibration, as in `dfcontract.calibration`.
        weights, checkpoint_sha256, windows: of the scores that it was fitted on; None where they did not say.
        figures: its own, on the trials that the fusion was fitted on.
        window_samples: of those scores, too; "" where they did not say.
        score_column: the column that held them, as `dfcontract.calibration.SCORE_COLUMN`; "" for the score.
    """

    detector: str
    weight: float
    kind: str
    parameters: Mapping[str, Any]
    weights: str | None
    checkpoint_sha256: str | None
    windows: str | None
    figures: Mapping[str, float]
    window_samples: str = ""
    score_column: str = ""

    @property
    def cutting(self) -> Cutting:
        """How the recordings were cut that it was fitted on."""
        return Cutting(self.windows or "", self.window_samples)


@dataclass(frozen=True)
class LlrThreshold:
    """An LLR at or above ``llr`` is called bona fide; ``rule`` says how it was set."""

    llr: float
    rule: str


@dataclass(frozen=True)
class Fusion:
    """Several detectors' scores into one LLR, with a threshold; the module shows its JSON."""

    members: tuple[Member, ...]
    intercept: float
    threshold: LlrThreshold
    fitted_on: Mapping[str, Any]
    figures: Mapping[str, float]
    extra: Mapping[str, Any] = field(default_factory=dict)  # top-level keys that are not known here

    @property
    def detectors(self) -> tuple[str, ...]:
        """The members' names: a score of each is needed."""
        return tuple(member.detector for member in self.members)

    def llr(self, scores: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.float64]:
        """Natural-log likelihood ratios, bona fide over spoof; same shape as each detector's scores.

        Args:
            scores: raw scores of the same recordings by each member, under its name; others are passed over.

        Raises:
            CalibrationError: a member's scores are not there.
        """
        if missing := [name for name in self.detectors if name not in scores]:
            raise CalibrationError(
                f"expected scores of {', '.join(self.detectors)} to fuse, found {', '.join(scores)}: "
                f"{', '.join(missing)} missing"
            )
        terms = [
            member.weight * llr_of(member.kind, member.parameters, scores[member.detector]) for member in self.members
        ]
        return np.asarray(self.intercept + np.sum(terms, axis=0))

    def verdict(self, llr: float) -> str:
        """`bona_fide` or `spoof`, at the fusion's threshold."""
        return BONA_FIDE if llr >= self.threshold.llr else SPOOF

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest_of(self._body())

    def to_json(self, indent: int | None = None) -> str:
        """The JSON, digest included."""
        return to_json(self._body(), indent)

    def save(self, path: Path) -> None:
        """Write the JSON; CalibrationError where that can't be."""
        save_json(path, self.to_json(indent=2))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; CalibrationError when it can't be read, is none, or was changed since it was written."""
        return cls.from_json(read_json(path, "fusion"), str(path))

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read the JSON of a file; `where` names it in errors.

        Raises:
            CalibrationError: no fusion, a digest that does not fit, or numbers that make no fusion.
        """
        content = checked_content(text, where, "fusion", SCHEMA, "dfeval fuse fit")
        try:
            return cls._of_content(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise CalibrationError(f"{where}: it makes no fusion: {reason}; fit it again") from None

    @classmethod
    def _of_content(cls, content: dict[str, Any]) -> Self:
        members = tuple(Member(**stated) for stated in content["members"])
        threshold = LlrThreshold(**content["threshold"])
        names = [member.detector for member in members]
        if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected two members or more, each with a name of its own, found {names}")
        for member in members:
            check_parameters(member.kind, member.parameters)
        numbers = [content["intercept"], threshold.llr, *(member.weight for member in members)]
        check_numbers("intercept, threshold and weights", numbers)
        known = {name: content[name] for name in ("intercept", "fitted_on", "figures")}
        extra = {key: value for key, value in content.items() if key not in (*cls.__dataclass_fields__, *_FIXED)}
        return cls(members=members, threshold=threshold, extra=extra, **known)

    def _body(self) -> dict[str, Any]:
        own = asdict(self)
        # A fusion of before these were written down keeps its digest.
        added = (WINDOW_SAMPLES, SCORE_COLUMN)
        own["members"] = [
            {name: value for name, value in member.items() if value or name not in added} for member in own["members"]
        ]
        return {"schema": SCHEMA, "units": UNITS, **own.pop("extra"), **own}


_FIXED = ("schema", "units")
