"""Fusing detectors: weights for their calibrated scores by logistic regression (Brümmer et al., IEEE TASLP 15, 2007).

What a fusion is and how its file looks: `dfcontract.fusion`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfcontract import score_file
from dfcontract.calibration import SCORE_COLUMN, WINDOW_SAMPLES, WINDOWS, Calibration, Threshold
from dfcontract.fusion import Fusion, LlrThreshold, Member
from dfeval.calibrate import Target, check_suits, threshold_for
from dfeval.calibrate import fit as fit_calibration
from dfeval.errors import CalibrationError, EvalError, OneClassError, ScoreFileError
from dfeval.metrics.cllr import cllr, min_cllr
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.eer import Floats, eer, error_rates
from dfeval.scores import DetectorScores
from dfeval.trials import Trials


def fit(detectors: Sequence[Trials], target: Target | None = None) -> Fusion:
    """Calibrate each detector, and weigh them, on the trials that all have scored.

    Args:
        detectors: of one protocol, each with a name of its own.
        target: what the threshold is for; without, the least expected cost.

    Raises:
        EvalError: fewer than two detectors, or two of one name.
        CalibrationError: random weights, classes that don't overlap, an inverted detector.
        OneClassError: the common trials are of one class.
    """
    names = [trials.detector for trials in detectors]
    if len(names) < 2 or len(set(names)) < len(names):
        raise EvalError(
            f"expected two detectors or more, each with a name of its own (--name), found {', '.join(names)}"
        )
    common = _common(detectors)
    is_bonafide = common[0].is_bonafide
    if is_bonafide.all() or not is_bonafide.any():
        n_bonafide = int(is_bonafide.sum())
        raise OneClassError(n_bonafide, is_bonafide.size - n_bonafide, "a fusion on the trials that all have scored")
    calibrations = [_calibrated(trials) for trials in common]
    llrs = np.column_stack([one.llr(trials.scores) for one, trials in zip(calibrations, common, strict=True)])
    weights, intercept = _fit_weights(llrs, is_bonafide)
    fused = llrs @ weights + intercept
    if fused[is_bonafide].min() > fused[~is_bonafide].max():
        raise CalibrationError(
            "together these detectors part all bona fide from all spoof trials: the best weights are infinite; "
            "fit on harder or more trials"
        )
    rates = error_rates(fused[is_bonafide], fused[~is_bonafide])
    threshold = threshold_for(rates, "affine", {"slope": 1.0, "intercept": 0.0}, target or Target())
    members = [_member(*one, is_bonafide) for one in zip(common, calibrations, weights.tolist(), llrs.T, strict=True)]
    first = detectors[0].protocol
    return Fusion(
        members=tuple(members),
        intercept=intercept,
        threshold=LlrThreshold(threshold.llr, threshold.rule),
        fitted_on={
            "protocol": first.description,
            "phase": first.phase,
            "n_bonafide": rates.n_bonafide,
            "n_spoof": rates.n_spoof,
            "trials_sha256": _digest(common),
        },
        figures={
            "eer": rates.eer.value,
            "cllr": cllr(fused[is_bonafide], fused[~is_bonafide]),
            "min_cllr": min_cllr(convex_hull(rates)),
        },
    )


def apply(fusion: Fusion, detectors: Sequence[DetectorScores], target: Path) -> tuple[int, int]:
    """Write a score file whose score is the fused LLR, beside each detector's own score.

    A recording that a detector has not scored has no fused score, and its row says so by an empty one.

    Args:
        fusion: of these detectors.
        detectors: their scores, under the names that the fusion knows; others are refused.
        target: the file.

    Returns:
        Rows with a score, and rows without.

    Raises:
        CalibrationError: a detector is missing or not known, or its scores are not those that the fusion is for.
        ScoreFileError: an id comes twice, or the file can't be written.
    """
    by_name = {one.detector: one for one in detectors}
    if set(by_name) != set(fusion.detectors) or len(by_name) < len(detectors):
        found = ", ".join(one.detector for one in detectors)
        raise CalibrationError(
            f"expected scores of {', '.join(fusion.detectors)}, one each, found {found}; say with --name which is which"
        )
    columns = []
    for member in fusion.members:
        scores = by_name[member.detector]
        check_suits(_calibration(fusion, member), scores)
        if scores.table["utt_id"].duplicated().any():
            raise ScoreFileError(f"{scores.name}: ids repeat: which rows of the files belong together can't be told")
        columns.append(scores.table.set_index("utt_id")["score"].rename(member.detector))
    table = pd.concat(columns, axis=1).replace([np.inf, -np.inf], np.nan)
    llrs = fusion.llr({name: table[name].to_numpy(dtype=np.float64) for name in table.columns})
    score_file.write(
        target, [_row(fusion, row, llr) for row, llr in zip(table.itertuples(), llrs.tolist(), strict=True)]
    )
    n_without = int(np.isnan(llrs).sum())
    return len(llrs) - n_without, n_without


def _row(fusion: Fusion, row: tuple[object, ...], llr: float) -> dict[str, str]:
    has_llr = not np.isnan(llr)
    values = {
        "utt_id": str(row[0]),
        "score": llr if has_llr else None,
        "model": " + ".join(fusion.detectors),
        "fusion_sha256": fusion.digest,
        "members": fusion.detectors,
        "member_scores": np.asarray(row[1:], dtype=np.float64).tolist(),
        "llr": llr if has_llr else None,
        "verdict": fusion.verdict(llr) if has_llr else "",
    }
    texts = score_file.to_row(values)
    return {name: texts[name] for name in values}


def _common(detectors: Sequence[Trials]) -> list[Trials]:
    """Each detector's trials, those that all have scored, in one order."""
    tables = [trials.table.set_index("utt_id") for trials in detectors]
    ids = tables[0].index
    for table in tables[1:]:
        ids = ids.intersection(table.index, sort=False)
    return [
        replace(trials, table=table.loc[ids].reset_index()) for trials, table in zip(detectors, tables, strict=True)
    ]


def _calibrated(trials: Trials) -> Calibration:
    try:
        return fit_calibration(trials)
    except CalibrationError as error:
        raise CalibrationError(f"{trials.detector}: {error}") from None


def _fit_weights(llrs: Floats, is_bonafide: NDArray[np.bool_]) -> tuple[Floats, float]:
    """A weight for each column and the intercept, by logistic regression with both classes weighing the same."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = llrs.mean(axis=0), llrs.std(axis=0)
    if np.linalg.matrix_rank((llrs - centre) / spread, tol=1e-6 * np.sqrt(len(llrs))) < llrs.shape[1]:
        raise CalibrationError("two detectors, or more together, say the same of every trial: leave one of them out")
    model = LogisticRegression(C=np.inf, class_weight="balanced", solver="newton-cholesky", tol=1e-10)
    model.fit((llrs - centre) / spread, is_bonafide)
    weights = model.coef_[0] / spread
    return weights, float(model.intercept_[0] - weights @ centre)


def _member(
    trials: Trials, calibration: Calibration, weight: float, llrs: Floats, is_bonafide: NDArray[np.bool_]
) -> Member:
    return Member(
        detector=trials.detector,
        weight=weight,
        kind=calibration.kind,
        parameters=calibration.parameters,
        weights=trials.source.weights,
        checkpoint_sha256=trials.source.checkpoint_sha256,
        windows=trials.source.mode,
        window_samples=trials.source.cutting.window_samples,
        score_column=trials.source.unusual_column,
        figures={
            "eer": eer(trials.bonafide, trials.spoof).value,
            "cllr": cllr(llrs[is_bonafide], llrs[~is_bonafide]),
        },
    )


def _calibration(fusion: Fusion, member: Member) -> Calibration:
    """A member as a calibration, which knows what scores it is for."""
    fitted_on = {
        "protocol": fusion.fitted_on["protocol"],
        WINDOWS: member.cutting.words,
        WINDOW_SAMPLES: member.cutting.window_samples,
        SCORE_COLUMN: member.score_column,
    }
    threshold = Threshold(fusion.threshold.llr, fusion.threshold.llr, fusion.threshold.rule)
    return Calibration(
        member.kind,
        member.parameters,
        threshold,
        member.detector,
        member.weights,
        member.checkpoint_sha256,
        fitted_on,
        {},
    )


def _digest(common: Sequence[Trials]) -> str:
    table = pd.concat([trials.table["score"].rename(str(index)) for index, trials in enumerate(common)], axis=1)
    rows = zip(common[0].table["utt_id"], common[0].table["label"], table.to_numpy().tolist(), strict=True)
    lines = sorted(f"{utt_id}\t{scores!r}\t{label}\n" for utt_id, label, scores in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
