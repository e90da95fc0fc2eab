"""Calibration: from a raw score to a natural-log likelihood ratio (LLR) and a decision, fitted on one set of trials.

A calibration is a JSON file that anyone can apply with a few lines of arithmetic:

    {"schema": "dfserve-calibration-1",
     "kind": "affine",      llr = slope · score + intercept
     "parameters": {"slope": 0.26, "intercept": 0.26},
     or "kind": "isotonic", llr = linear interpolation between the knots, held at both ends
     "parameters": {"scores": [-7.1, …], "llrs": [-3.9, …]},
     "units": "natural-log likelihood ratio, bona fide over spoof",
     "threshold": {"score": -3.5, "llr": -0.64, "rule": "…"},           a score at or above it is called bona fide
     "detector": "aasist", "weights": "pretrained", "checkpoint_sha256": "…",
     "fitted_on": {"protocol": "…", "phase": "all", "scores": "scores.csv", "n_bonafide": 130, "n_spoof": 171,
                   "trials_sha256": "…"},
     "figures": {"cllr_before": …, "cllr_after": …, "min_cllr": …},     on the trials it was fitted on: optimistic
     "digest": "…"}                                 sha256 of all the rest, as JSON with sorted keys and no spaces

It holds for that detector and for data like those it was fitted on, and no further.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfeval.errors import CalibrationError, OneClassError
from dfeval.metrics.cllr import cllr, min_cllr
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.eer import ErrorRates, Floats, error_rates
from dfeval.scores import ScoreFile
from dfeval.trials import Trials

SCHEMA = "dfserve-calibration-1"
UNITS = "natural-log likelihood ratio, bona fide over spoof"
KINDS = ("affine", "isotonic")
PARAMETERS = {"affine": ("slope", "intercept"), "isotonic": ("scores", "llrs")}


@dataclass(frozen=True)
class Threshold:
    """A score at or above ``score`` (its LLR at or above ``llr``) is called bona fide; ``rule`` says how it was set."""

    score: float
    llr: float
    rule: str


@dataclass(frozen=True)
class Target:
    """What the threshold is for: at most this false-alarm or miss rate, or, with neither, the least expected cost."""

    far: float | None = None
    frr: float | None = None
    costs: DcfCosts = field(default_factory=DcfCosts)


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

    def llr(self, scores: Floats) -> Floats:
        """Natural-log likelihood ratios of raw scores, same shape."""
        return _llr(self.kind, self.parameters, scores)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, digest included."""
        body = {"schema": SCHEMA, "units": UNITS, **asdict(self)}
        return {**body, "digest": _digest(body)}

    def save(self, path: Path) -> None:
        """Write the JSON form."""
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")


def fit(trials: Trials, kind: str = "affine", target: Target | None = None) -> Calibration:
    """Fit a calibration and set its threshold.

    Affine is logistic regression with both classes weighing the same, which minimises Cllr; isotonic is
    pool-adjacent-violators with one made-up trial of the other class at each end, so that no LLR is infinite.

    Raises:
        CalibrationError: random weights, an inverted detector, classes that don't overlap (affine), a rate or cost
            that no threshold meets.
        OneClassError: a class is absent.
    """
    if kind not in KINDS:
        raise CalibrationError(f"calibration {kind!r} is unknown; known are {', '.join(KINDS)}")
    if trials.file.is_random:
        raise CalibrationError(f"{trials.file.path}: scores of random weights can't be calibrated: they mean nothing")
    bonafide, spoof = trials.bonafide, trials.spoof
    if not bonafide.size or not spoof.size:
        raise OneClassError(bonafide.size, spoof.size, "a calibration")
    rates = error_rates(bonafide, spoof)
    parameters = _fit_affine(bonafide, spoof) if kind == "affine" else _fit_isotonic(bonafide, spoof)
    return Calibration(
        kind=kind,
        parameters=parameters,
        threshold=_threshold(rates, kind, parameters, target or Target()),
        detector=trials.detector,
        weights=trials.file.weights,
        checkpoint_sha256=trials.file.checkpoint_sha256,
        fitted_on={
            "protocol": trials.protocol.description,
            "phase": trials.protocol.phase,
            "scores": trials.file.path.name,
            "n_bonafide": int(bonafide.size),
            "n_spoof": int(spoof.size),
            "trials_sha256": _trials_digest(trials),
        },
        figures={
            "cllr_before": cllr(bonafide, spoof),
            "cllr_after": cllr(_llr(kind, parameters, bonafide), _llr(kind, parameters, spoof)),
            "min_cllr": min_cllr(convex_hull(rates)),
        },
    )


def load_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        CalibrationError: unreadable, not a calibration, or changed since it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path}: can't be read as a calibration: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise CalibrationError(f"{path}: expected a calibration with schema {SCHEMA!r}; fit one with dfeval calibrate")
    digest = content.pop("digest", None)
    if digest != _digest(content):
        raise CalibrationError(f"{path}: its digest does not fit its content: it was changed by hand; fit it again")
    kind = content["kind"]
    if kind not in KINDS or set(content["parameters"]) != set(PARAMETERS[kind]):
        raise CalibrationError(f"{path}: expected the parameters {PARAMETERS.get(kind, KINDS)} of kind {kind!r}")
    fields = {name: content[name] for name in Calibration.__dataclass_fields__ if name != "threshold"}
    return Calibration(threshold=Threshold(**content["threshold"]), **fields)


def apply(calibration: Calibration, scores: ScoreFile) -> ScoreFile:
    """The scores with the columns ``llr`` and ``verdict`` (bona_fide or spoof).

    Raises:
        CalibrationError: the scores come from random weights or from another checkpoint than the calibration.
    """
    if scores.is_random:
        raise CalibrationError(f"{scores.path}: scores of random weights have no likelihood ratio")
    theirs, ours = scores.checkpoint_sha256, calibration.checkpoint_sha256
    if theirs and ours and theirs != ours:
        raise CalibrationError(
            f"{scores.path}: scored by the checkpoint {theirs[:12]}…, but the calibration is for {ours[:12]}…; "
            "fit one for this detector"
        )
    values = scores.table["score"].to_numpy(dtype=np.float64)
    verdicts = np.where(values >= calibration.threshold.score, "bona_fide", "spoof")
    verdicts = np.where(np.isnan(values), "", verdicts)
    table = scores.table.assign(llr=calibration.llr(values), verdict=verdicts)
    return replace(scores, table=table)


def _llr(kind: str, parameters: Mapping[str, Any], scores: Floats) -> Floats:
    if kind == "affine":
        return np.asarray(parameters["slope"] * scores + parameters["intercept"])
    return np.asarray(np.interp(scores, parameters["scores"], parameters["llrs"]))


def _fit_affine(bonafide: Floats, spoof: Floats) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    if bonafide.min() > spoof.max():
        raise CalibrationError(
            "every bona fide score lies above every spoof score: the best slope is infinite; "
            "fit on harder or more trials, or use --kind isotonic"
        )
    scores = np.concatenate((bonafide, spoof))
    centre, spread = float(scores.mean()), float(scores.std())
    if spread == 0:
        raise CalibrationError("all scores are the same: there is nothing to calibrate")
    labels = np.repeat((1, 0), (bonafide.size, spoof.size))
    model = LogisticRegression(C=np.inf, class_weight="balanced", solver="newton-cholesky", tol=1e-10)
    model.fit(((scores - centre) / spread)[:, None], labels)
    slope = float(model.coef_[0, 0]) / spread
    if slope <= 0:
        raise CalibrationError(
            f"the best slope is {slope:.3g}: on these trials a higher score means spoof; is the polarity right?"
        )
    return {"slope": slope, "intercept": float(model.intercept_[0]) - slope * centre}


def _fit_isotonic(bonafide: Floats, spoof: Floats) -> dict[str, list[float]]:
    lowest, highest = min(bonafide.min(), spoof.min()), max(bonafide.max(), spoof.max())
    hull = convex_hull(error_rates(np.append(bonafide, lowest), np.append(spoof, highest)))
    knots = np.column_stack((hull.lowest, hull.highest)).ravel()
    llrs = np.repeat(hull.llrs, 2)
    kept = np.concatenate(([True], np.diff(knots) > 0))
    return {"scores": knots[kept].tolist(), "llrs": llrs[kept].tolist()}


def _threshold(rates: ErrorRates, kind: str, parameters: Mapping[str, Any], target: Target) -> Threshold:
    if target.far is not None:
        score, rule = _first_score(rates, rates.far <= target.far), f"false-alarm rate at most {target.far:g}"
    elif target.frr is not None:
        score, rule = _last_score(rates, rates.frr <= target.frr), f"miss rate at most {target.frr:g}"
    else:
        costs = target.costs
        rule = f"least cost at p_spoof {costs.p_spoof:g}, c_miss {costs.c_miss:g}, c_fa {costs.c_fa:g}"
        return Threshold(_score_at(kind, parameters, costs.bayes_threshold), costs.bayes_threshold, rule)
    return Threshold(score, float(_llr(kind, parameters, np.array([score]))[0]), rule)


def _first_score(rates: ErrorRates, meets: Any) -> float:
    """The lowest threshold that meets a condition which holds from some point on."""
    return _between(rates, int(rates.distinct[np.argmax(meets[rates.distinct])]))


def _last_score(rates: ErrorRates, meets: Any) -> float:
    """The highest threshold that meets a condition which holds up to some point."""
    reachable = rates.distinct[meets[rates.distinct]]
    return _between(rates, int(reachable[-1]))


def _between(rates: ErrorRates, point: int) -> float:
    """A threshold that rejects the ``point`` lowest scores: midway between neighbours, the end scores themselves."""
    scores = rates.scores
    if point == 0:
        return float(scores[0])
    if point == scores.size:
        return float(np.nextafter(scores[-1], np.inf))
    return float((scores[point - 1] + scores[point]) / 2)


def _score_at(kind: str, parameters: Mapping[str, Any], llr: float) -> float:
    if kind == "affine":
        return float((llr - parameters["intercept"]) / parameters["slope"])
    llrs = np.asarray(parameters["llrs"])
    if not llrs[0] < llr <= llrs[-1]:
        raise CalibrationError(
            f"no score of these trials reaches the LLR {llr:.2f} that this cost asks for (they lie between "
            f"{llrs[0]:.2f} and {llrs[-1]:.2f}): one answer for all would cost least; set --target-far or --target-frr"
        )
    upper = int(np.searchsorted(llrs, llr))
    return float(np.interp(llr, llrs[upper - 1 : upper + 1], parameters["scores"][upper - 1 : upper + 1]))


def _trials_digest(trials: Trials) -> str:
    rows = sorted(zip(trials.table["utt_id"], trials.scores.tolist(), trials.table["label"], strict=True))
    return hashlib.sha256("".join(f"{utt}\t{score!r}\t{label}\n" for utt, score, label in rows).encode()).hexdigest()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
