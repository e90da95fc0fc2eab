"""Spoofing-robust speaker verification, one score for both tasks: the a-DCF of Shim et al., Odyssey 2024."""

from dataclasses import dataclass

import numpy as np

from dfeval.errors import EvalError
from dfeval.metrics.eer import BELOW_ALL, Floats, OperatingPoint, refuse_nan


@dataclass(frozen=True)
class AdcfCosts:
    """Priors and costs; the defaults are the paper's. See ASVSPOOF5_COSTS for the challenge's own."""

    p_spoof: float = 0.05
    p_nontarget: float = 0.05
    p_target: float = 0.9
    c_miss: float = 1.0
    c_fa_nontarget: float = 10.0
    c_fa_spoof: float = 20.0


# The ASVspoof 5 evaluation package since June 2024 (`t2_tandem`); before, it had the paper's.
ASVSPOOF5_COSTS = AdcfCosts(p_target=0.95 * 0.99, p_nontarget=0.95 * 0.01, p_spoof=0.05, c_fa_spoof=10.0)


@dataclass(frozen=True)
class VerificationRates:
    """Rates of the three kinds of trials at every threshold, each of shape (n + 1,): the ErrorRates of a verifier."""

    miss: Floats
    fa_nontarget: Floats
    fa_spoof: Floats
    thresholds: Floats


def verification_rates(target: Floats, nontarget: Floats, spoof: Floats) -> VerificationRates:
    """Rates of a verifier's scores, higher = more target; stable sort in the order of the arguments.

    Raises:
        EvalError: a kind of trials is absent, or a score is NaN.
    """
    sizes = (target.size, nontarget.size, spoof.size)
    if not all(sizes):
        raise EvalError("expected target, nontarget and spoof trials, found {}, {} and {}".format(*sizes))
    refuse_nan(target=target, nontarget=nontarget, spoof=spoof)
    scores = np.concatenate((target, nontarget, spoof))
    order = np.argsort(scores, kind="stable")
    kinds = np.repeat((0, 1, 2), sizes)[order]
    rejected = [np.concatenate(([0], np.cumsum(kinds == kind))) / size for kind, size in enumerate(sizes)]
    thresholds = np.concatenate(([scores[order[0]] - BELOW_ALL], scores[order]))
    return VerificationRates(rejected[0], 1 - rejected[1], 1 - rejected[2], thresholds)


def min_a_dcf(rates: VerificationRates, costs: AdcfCosts) -> OperatingPoint:
    """Least normalised a-DCF over all thresholds; 1 is the better of accepting all and rejecting all."""
    reject_all = costs.c_miss * costs.p_target
    accept_nontarget, accept_spoof = costs.c_fa_nontarget * costs.p_nontarget, costs.c_fa_spoof * costs.p_spoof
    curve = reject_all * rates.miss + accept_nontarget * rates.fa_nontarget + accept_spoof * rates.fa_spoof
    best = int(np.argmin(curve))
    normaliser = min(reject_all, accept_nontarget + accept_spoof)
    return OperatingPoint(float(curve[best]) / normaliser, float(rates.thresholds[best]))
