"""Detection cost: the ASVspoof 5 evaluation plan's minDCF (eq. 3, 4) and actual DCF."""

import math
from dataclasses import dataclass

import numpy as np

from dfeval.errors import EvalError
from dfeval.metrics.eer import ErrorRates, Floats, OperatingPoint


@dataclass(frozen=True)
class DcfCosts:
    """Prior of spoof and the costs of both errors; the defaults are those of ASVspoof 5, track 1."""

    p_spoof: float = 0.05
    c_miss: float = 1.0
    c_fa: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what is no prior or no cost."""
        is_cost = (0 < cost < math.inf for cost in (self.c_miss, self.c_fa))
        if not 0 < self.p_spoof < 1 or not all(is_cost):
            raise EvalError(f"expected 0 < p_spoof < 1 and finite costs above 0, found {self}")

    @property
    def weight_frr(self) -> float:
        """Cost of rejecting every bona fide trial."""
        return self.c_miss * (1 - self.p_spoof)

    @property
    def weight_far(self) -> float:
        """Cost of accepting every spoof trial."""
        return self.c_fa * self.p_spoof

    @property
    def bayes_threshold(self) -> float:
        """The threshold of least expected cost for scores that are natural-log likelihood ratios."""
        return -math.log(self.weight_frr / self.weight_far)

    @property
    def normaliser(self) -> float:
        """Cost of the better of accepting all and rejecting all."""
        return min(self.weight_frr, self.weight_far)

    def normalised(self, frr: float, far: float) -> float:
        """Cost of an operating point; 1 is the cost of the better of accepting all and rejecting all."""
        return (self.weight_frr * frr + self.weight_far * far) / self.normaliser


def min_dcf(rates: ErrorRates, costs: DcfCosts) -> OperatingPoint:
    """Least normalised cost over all thresholds: what a perfect choice of threshold would pay."""
    curve = costs.weight_frr * rates.frr + costs.weight_far * rates.far
    best = int(np.argmin(curve))
    return OperatingPoint(
        costs.normalised(float(rates.frr[best]), float(rates.far[best])), float(rates.thresholds[best])
    )


def act_dcf_losses(rates: ErrorRates, costs: DcfCosts) -> Floats:
    """What each trial, in the order of the rates, adds to the actual DCF: the sum of both classes' means."""
    is_wrong = (rates.scores >= costs.bayes_threshold) != rates.is_bonafide
    weights = np.where(rates.is_bonafide, costs.weight_frr, costs.weight_far)
    return np.asarray(is_wrong * weights / costs.normaliser)


def act_dcf(rates: ErrorRates, costs: DcfCosts) -> OperatingPoint:
    """Normalised cost at the Bayes threshold: what is paid by taking the scores for log-likelihood ratios."""
    return OperatingPoint(costs.normalised(*rates.at(costs.bayes_threshold)), costs.bayes_threshold)
