"""A calibration: from a raw score to a log-likelihood ratio (LLR) and a verdict. One JSON, checked by whoever reads it.

    {"schema": "dfserve-calibration-1",
     "kind": "affine",      llr = slope · score + intercept
     "parameters": {"slope": 0.26, "intercept": 0.26},
     or "kind": "isotonic", llr = linear interpolation between the knots, held at both ends
     "parameters": {"scores": [-7.1, …], "llrs": [-3.9, …]},
     "units": "natural-log likelihood ratio, bona fide over spoof",
     "threshold": {"score": -3.5, "llr": -0.64, "rule": "…"},           a score at or above it is called bona fide
     "detector": "aasist", "weights": "pretrained", "checkpoint_sha256": "…",
     "fitted_on": {"protocol": "…", "phase": "all", "scores": "scores.csv", "n_bonafide": 130, "n_spoof": 171,
                   "trials_sha256": "…", "score_deciles": [-6.2, …]},      nine, of all trials together
     "figures": {"cllr_before": …, "cllr_after": …, "min_cllr": …},     on the trials it was fitted on: optimistic
     "digest": "…"}                                 sha256 of all the rest, as JSON with sorted keys and no spaces

It holds for that detector and for data like those it was fitted on, and no further. `dfeval calibrate fit` writes it,
`dfexport build --calibration` puts it into a model card, and clients report by it. Keys that are not known here
survive.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dfcontract.errors import CalibrationError
from dfcontract.windows import Cutting

SCHEMA = "dfserve-calibration-1"
UNITS = "natural-log likelihood ratio, bona fide over spoof"
PARAMETERS = {"affine": ("slope", "intercept"), "isotonic": ("scores", "llrs")}
BONA_FIDE, SPOOF = "bona_fide", "spoof"  # verdicts
# Keys of `fitted_on` by which a calibration says what it is for: how recordings were cut (both parts of
# `dfcontract.windows.Cutting`), and the score file's column, where that is another than `score`.
WINDOWS, WINDOW_SAMPLES, SCORE_COLUMN = "windows", "window_samples", "score_column"
# And the nine scores that cut those it was fitted on into ten equal parts, for whoever watches whether they drift.
DECILES = "score_deciles"
N_DECILES = 9


@dataclass(frozen=True)
class Threshold:
    """A score at or above ``score`` (its LLR at or above ``llr``) is called bona fide; ``rule`` says how it was set."""

    score: float
    llr: float
    rule: str


@dataclass(frozen=True)
class Calibration:
    """A map from scores to LLRs with a threshold, and what it was fitted on; the module shows its JSON."""

    kind: str
    parameters: Mapping[str, Any]
    threshold: Threshold
    detector: str
    weights: str | None
    checkpoint_sha256: str | None
    fitted_on: Mapping[str, Any]
    figures: Mapping[str, float]
    extra: Mapping[str, Any] = field(default_factory=dict)  # top-level keys that are not known here

    def llr(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Natural-log likelihood ratios, bona fide over spoof, of raw scores; same shape."""
        return llr_of(self.kind, self.parameters, scores)

    def verdict(self, score: float) -> str:
        """`bona_fide` or `spoof`, at the calibration's threshold."""
        return BONA_FIDE if score >= self.threshold.score else SPOOF

    @property
    def deciles(self) -> tuple[float, ...]:
        """Nine scores that rise, between which a tenth each of those lies that it was fitted on; () if not known."""
        return tuple(self.fitted_on.get(DECILES, ()))

    @property
    def cutting(self) -> Cutting:
        """How the recordings were cut that it was fitted on; it says nothing about scores of others."""
        return Cutting(self.fitted_on.get(WINDOWS, ""), self.fitted_on.get(WINDOW_SAMPLES, ""))

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest_of(self._body())

    def to_json(self, indent: int | None = None) -> str:
        """The JSON, digest included: in one line for a card, or indented for a file."""
        return to_json(self._body(), indent)

    def save(self, path: Path) -> None:
        """Write the JSON; CalibrationError where that can't be."""
        save_json(path, self.to_json(indent=2))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; CalibrationError when it can't be read, is none, or was changed since it was written."""
        return cls.from_json(read_json(path, "calibration"), str(path))

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read the JSON of a file or a card; `where` names it in errors.

        Raises:
            CalibrationError: no calibration, a digest that does not fit, or numbers that make no calibration: text,
                NaN, a slope that is not positive, knots that do not rise.
        """
        content = checked_content(text, where, "calibration", SCHEMA, "dfeval calibrate fit")
        try:
            return cls._of_content(content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:  # the last: whole numbers beyond any float
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise CalibrationError(f"{where}: it makes no calibration: {reason}; fit it again") from None

    @classmethod
    def _of_content(cls, content: dict[str, Any]) -> Self:
        known = {name: content[name] for name in cls.__dataclass_fields__ if name not in ("threshold", "extra")}
        threshold = Threshold(**content["threshold"])
        check_parameters(known["kind"], known["parameters"])
        check_numbers("threshold", [threshold.score, threshold.llr])
        if not isinstance(known["fitted_on"]["protocol"], str):
            raise ValueError("fitted_on names no protocol")
        for name in (WINDOWS, WINDOW_SAMPLES, SCORE_COLUMN):
            if not isinstance(stated := known["fitted_on"].get(name, ""), str):
                raise ValueError(f"{name}: expected text, found {stated!r}")
        if deciles := known["fitted_on"].get(DECILES):
            check_numbers(DECILES, deciles)
            if len(deciles) != N_DECILES or any(a > b for a, b in pairwise(deciles)):
                raise ValueError(f"{DECILES}: expected {N_DECILES} scores that rise, found {deciles}")
        extra = {key: value for key, value in content.items() if key not in (*known, "threshold", "schema", "units")}
        return cls(threshold=threshold, extra=extra, **known)

    def _body(self) -> dict[str, Any]:
        own = asdict(self)
        return {"schema": SCHEMA, "units": UNITS, **own.pop("extra"), **own}


def llr_of(kind: str, parameters: Mapping[str, Any], scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """LLRs of raw scores by a calibration's kind and parameters; same shape."""
    raw = np.asarray(scores, dtype=np.float64)
    if kind == "affine":
        return np.asarray(parameters["slope"] * raw + parameters["intercept"])
    return np.asarray(np.interp(raw, parameters["scores"], parameters["llrs"]))


def digest_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of a calibration's content without its digest, as JSON with sorted keys and no spaces."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_json(body: Mapping[str, Any], indent: int | None) -> str:
    """The JSON of a content with its digest: in one line, keys sorted, or indented for a file."""
    content = {**body, "digest": digest_of(body)}
    separators = (",", ":") if indent is None else None
    return json.dumps(content, sort_keys=indent is None, separators=separators, indent=indent)


def save_json(path: Path, text: str) -> None:
    """Write the JSON of a calibration or a fusion; CalibrationError where that can't be."""
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CalibrationError(f"{path}: cannot write it: {error.strerror or error}") from None


def read_json(path: Path, noun: str) -> str:
    """The text of a calibration's or a fusion's file; CalibrationError where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CalibrationError(f"{path}: can't be read as a {noun}: {error.strerror or error}") from None
    except ValueError as error:
        raise CalibrationError(f"{path}: can't be read as a {noun}: {error}") from None


def checked_content(text: str, where: str, noun: str, schema: str, command: str) -> dict[str, Any]:
    """The content of a calibration's or a fusion's JSON, its digest checked and taken off.

    Raises:
        CalibrationError: no JSON, another schema, a digest that does not fit.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CalibrationError(f"{where}: can't be read as a {noun}: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise CalibrationError(f"{where}: expected a {noun} with schema {schema!r}; fit one with {command}")
    if content.pop("digest", None) != digest_of(content):
        raise CalibrationError(
            f"{where}: its digest does not fit its content: it was changed since it was fitted; fit it again"
        )
    return content


def check_parameters(kind: Any, parameters: Mapping[str, Any]) -> None:
    """ValueError for parameters that make no calibration of this kind."""
    if kind not in PARAMETERS:
        raise ValueError(f"kind {kind!r} is unknown; known are {', '.join(PARAMETERS)}")
    if set(parameters) != set(PARAMETERS[kind]):
        raise ValueError(f"kind {kind} has the parameters {', '.join(PARAMETERS[kind])}, found {', '.join(parameters)}")
    if kind == "affine":
        check_numbers("parameters", list(parameters.values()))
        if not parameters["slope"] > 0:
            raise ValueError(f"a slope of {parameters['slope']}: a higher score would be less bona fide")
        return
    scores, llrs = parameters["scores"], parameters["llrs"]
    check_numbers("scores", scores)
    check_numbers("llrs", llrs)
    if len(scores) != len(llrs) or len(scores) < 2:
        raise ValueError(f"{len(scores)} scores and {len(llrs)} LLRs: expected as many of both, at least two")
    if any(a >= b for a, b in pairwise(scores)) or any(a > b for a, b in pairwise(llrs)):
        raise ValueError("its knots do not rise")


def check_numbers(what: str, values: Sequence[Any]) -> None:
    """ValueError for values that are no finite numbers."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{what}: expected finite numbers, found {value!r}")
