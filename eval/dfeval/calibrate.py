"""Calibrating a detector: fitting the map from its scores to log-likelihood ratios (LLR), and applying it to others.

What a calibration is, how its file looks and who may trust it: `dfcontract.calibration`.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dfcontract import score_file
from dfcontract.calibration import (
    DECILES,
    N_DECILES,
    PARAMETERS,
    SCORE_COLUMN,
    WINDOW_SAMPLES,
    WINDOWS,
    Calibration,
    Threshold,
    llr_of,
)
from dfcontract.score_file import Row
from dfcontract.text import number
from dfcontract.text_table import TextTableError, number_of
from dfeval.errors import CalibrationError, OneClassError, ScoreFileError
from dfeval.metrics.cllr import cllr, min_cllr
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.eer import ErrorRates, Floats, error_rates
from dfeval.scores import DetectorScores, check_id_column, load_scores
from dfeval.trials import Trials


@dataclass(frozen=True)
class Target:
    """What the threshold is for: at most this false-alarm or miss rate, or, with neither, the least expected cost."""

    far: float | None = None
    frr: float | None = None
    costs: DcfCosts = field(default_factory=DcfCosts)


def fit(trials: Trials, kind: str = "affine", target: Target | None = None) -> Calibration:
    """Fit a calibration and set its threshold.

    Affine is logistic regression with both classes weighing the same, which minimises Cllr; isotonic is
    pool-adjacent-violators with one made-up trial of the other class at each end, so that no LLR is infinite.

    Raises:
        CalibrationError: random weights, an inverted detector, classes that don't overlap (affine), a rate or cost
            that no threshold meets.
        OneClassError: a class is absent.
    """
    if kind not in PARAMETERS:
        raise CalibrationError(f"calibration {kind!r} is unknown; known are {', '.join(PARAMETERS)}")
    if trials.source.is_random:
        raise CalibrationError(f"{trials.source.name}: scores of random weights can't be calibrated: they mean nothing")
    bonafide, spoof = trials.bonafide, trials.spoof
    if not bonafide.size or not spoof.size:
        raise OneClassError(bonafide.size, spoof.size, "a calibration")
    rates = error_rates(bonafide, spoof)
    parameters = _fit_affine(bonafide, spoof) if kind == "affine" else _fit_isotonic(bonafide, spoof)
    return Calibration(
        kind=kind,
        parameters=parameters,
        threshold=threshold_for(rates, kind, parameters, target or Target()),
        detector=trials.detector,
        weights=trials.source.weights,
        checkpoint_sha256=trials.source.checkpoint_sha256,
        fitted_on={**_described(trials), DECILES: _deciles(np.concatenate([bonafide, spoof]))},
        figures={
            "cllr_before": cllr(bonafide, spoof),
            "cllr_after": cllr(llr_of(kind, parameters, bonafide), llr_of(kind, parameters, spoof)),
            "min_cllr": min_cllr(convex_hull(rates)),
        },
    )


def _deciles(scores: Floats) -> list[float]:
    return [float(score) for score in np.quantile(scores, np.arange(1, N_DECILES + 1) / (N_DECILES + 1))]


def apply(
    calibration: Calibration,
    source: Path,
    target: Path,
    score_column: str | None = None,
    *,
    model: str | None = None,
    id_column: str | None = None,
    warn: Callable[[str], None] = lambda _note: None,
) -> int:
    """Copy a score file with ``llr``, ``verdict`` and ``calibration_sha256``; a row without a score has none of them.

    Every column of a CSV file survives, known or not, with its values as they are. Of ASVspoof's text and of a pickle,
    which are no CSV, ids and scores become CSV.

    Args:
        calibration: fitted for this detector and for recordings cut this way.
        source: a score file that `load_scores` reads, with ``score_column``, ``model`` and ``id_column`` as there.
        target: may be the source.
        warn: is told what could not be read, and whether the scores name another detector.

    Returns:
        Rows written.

    Raises:
        CalibrationError: the scores come from random weights, from another checkpoint or column than the calibration,
            or from recordings that were cut in another way.
        ScoreFileError: a file that can't be read or written, or that would lose the rows of other models.
    """
    if model is not None and source.resolve() == target.resolve():
        raise ScoreFileError(f"{target}: would lose the rows of other models than {model}: write to another file")
    scores = load_scores(source, score_column, model, id_column=id_column)
    check_id_column(scores, id_column)
    check_suits(calibration, scores)
    caution = note_on_detector(calibration.detector, calibration.checkpoint_sha256, scores)
    for note in filter(None, (*scores.notes, caution)):
        warn(note)
    answers, column = _answerer(calibration), scores.column
    if column is None or not scores.is_rewritable:
        known = scores.table[[name for name in score_file.NAMES if name in scores.table.columns]]
        rows: list[Row] = [
            {str(name): value if isinstance(value, str) else repr(float(value)) for name, value in row.items()}
            for row in known.to_dict("records")
        ]
        score_file.write(target, [row | answers(row["score"]) for row in rows])
        return len(rows)

    def calibrated(row: Row) -> Row | None:
        if column not in row:
            raise ScoreFileError(f"{source}: expected a column {column!r}, found {', '.join(map(repr, row))}")
        return row | answers(row[column]) if model is None or row["model"] == model else None

    return score_file.rewrite(source, target, calibrated)


def _answerer(calibration: Calibration) -> Callable[[str], Row]:
    """What gives the columns that a calibration adds to a row, from the text of its score."""
    digest = calibration.digest  # a hash of the whole file, too slow to make for each row

    def answers(score_text: str) -> Row:
        try:
            score = number_of(score_text)
        except TextTableError:  # `load_scores` has named it
            score = math.nan
        if math.isnan(score):
            return dict.fromkeys(score_file.CALIBRATED_NAMES, "")
        values = (digest, number(float(calibration.llr(score))), calibration.verdict(score))
        return dict(zip(score_file.CALIBRATED_NAMES, values, strict=True))

    return answers


def check_suits(calibration: Calibration, scores: DetectorScores) -> None:
    """Refuse scores that a calibration was not fitted for, as far as both say what they are.

    Raises:
        CalibrationError: random weights, another checkpoint, other windows, another column.
    """
    if scores.is_random:
        raise CalibrationError(f"{scores.name}: scores of random weights have no likelihood ratio")
    theirs, ours = scores.checkpoint_sha256, calibration.checkpoint_sha256
    if theirs and ours and theirs != ours:
        raise CalibrationError(
            f"{scores.name}: scored by the checkpoint {theirs[:12]}…, but the calibration is for {ours[:12]}…; "
            "fit one for this detector"
        )
    if not calibration.cutting.suits(scores.cutting):
        raise CalibrationError(
            f"{scores.name}: expected windows as the calibration was fitted on ({calibration.cutting}), "
            f"found {scores.cutting}; score the recordings that way, or fit another calibration"
        )
    column, expected = scores.unusual_column, calibration.fitted_on.get(SCORE_COLUMN, "")
    if column.lower() != expected.lower():  # columns are found in any case
        raise CalibrationError(
            f"{scores.name}: expected the column that the calibration was fitted on ({expected or 'score'}), found "
            f"{column or 'score'}; choose it with --score-column, or fit another calibration"
        )


def note_on_detector(name: str, checkpoint_sha256: str | None, scores: DetectorScores) -> str:
    """A caution where scores name another model than what is applied to them; empty where they need none.

    Args:
        name: of the detector that a threshold or calibration was set on.
        checkpoint_sha256: of its weights; None where nobody says. The same weights may go by two names.
        scores: that it is applied to.
    """
    is_same = checkpoint_sha256 and checkpoint_sha256 == scores.checkpoint_sha256
    if not name or "model" not in scores.run or name == scores.detector or is_same:
        return ""
    return f"set on scores of {name}, applied to those of {scores.detector}: is it the same detector?"


def _described(trials: Trials) -> dict[str, Any]:
    stated = dict(zip((WINDOWS, WINDOW_SAMPLES), trials.source.cutting, strict=True))
    return {
        "protocol": trials.protocol.description,
        "phase": trials.protocol.phase,
        "scores": trials.source.name,
        "n_bonafide": int(trials.bonafide.size),
        "n_spoof": int(trials.spoof.size),
        "trials_sha256": _trials_digest(trials),
        **{name: text for name, text in stated.items() if text},
        **({SCORE_COLUMN: column} if (column := trials.source.unusual_column) else {}),
    }


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


def threshold_for(rates: ErrorRates, kind: str, parameters: Mapping[str, Any], target: Target) -> Threshold:
    """The threshold that meets a target on scores whose rates, and whose map to LLRs, are given."""
    if target.far is not None:
        score, rule = _first_score(rates, rates.far <= target.far), f"false-alarm rate at most {target.far:g}"
    elif target.frr is not None:
        score, rule = _last_score(rates, rates.frr <= target.frr), f"miss rate at most {target.frr:g}"
    else:
        costs = target.costs
        rule = f"least cost at p_spoof {costs.p_spoof:g}, c_miss {costs.c_miss:g}, c_fa {costs.c_fa:g}"
        return Threshold(_score_at(kind, parameters, costs.bayes_threshold), costs.bayes_threshold, rule)
    return Threshold(score, float(llr_of(kind, parameters, np.array([score]))[0]), rule)


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
