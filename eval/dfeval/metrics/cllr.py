"""Cost of log-likelihood ratios, in bits: Brümmer & du Preez, "Application-independent evaluation", CSL 20, 2006."""

import math

import numpy as np

from dfeval.errors import OneClassError
from dfeval.metrics.convex_hull import Hull
from dfeval.metrics.eer import ErrorRates, Floats, refuse_nan


def cllr(bonafide: Floats, spoof: Floats) -> float:
    """Cllr of scores taken for natural-log likelihood ratios: 0 perfect, 1 what knowing nothing costs, no upper end."""
    if not bonafide.size or not spoof.size:
        raise OneClassError(bonafide.size, spoof.size, "Cllr")
    refuse_nan(bonafide=bonafide, spoof=spoof)
    cost = np.logaddexp(0, -bonafide).mean() + np.logaddexp(0, spoof).mean()
    return float(cost / (2 * math.log(2)))


def cllr_losses(rates: ErrorRates) -> Floats:
    """What each trial, in the order of the rates, adds to the Cllr: the sum of both classes' means."""
    return np.asarray(np.logaddexp(0, np.where(rates.is_bonafide, -rates.scores, rates.scores)) / (2 * math.log(2)))


def min_cllr(hull: Hull) -> float:
    """Cllr after the best order-keeping calibration, fitted on these very trials: what discrimination alone costs."""
    llrs = hull.llrs
    bonafide, spoof = hull.n_bonafide > 0, hull.n_spoof > 0
    cost_bonafide = np.average(np.logaddexp(0, -llrs[bonafide]), weights=hull.n_bonafide[bonafide])
    cost_spoof = np.average(np.logaddexp(0, llrs[spoof]), weights=hull.n_spoof[spoof])
    return float((cost_bonafide + cost_spoof) / (2 * math.log(2)))
