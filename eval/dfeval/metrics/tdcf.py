"""Tandem detection cost (t-DCF): a countermeasure in front of a speaker verifier (ASV) whose errors are given.

2019: Kinnunen et al., "t-DCF", Odyssey 2018, as the ASVspoof 2019 evaluation plan uses it ("legacy").
2021: Kinnunen et al., "Tandem Assessment of Spoofing Countermeasures and ASV: Fundamentals", IEEE/ACM TASLP 28, 2020.
"""

from dataclasses import dataclass

import numpy as np

from dfeval.errors import EvalError
from dfeval.metrics.eer import ErrorRates, Floats, OperatingPoint, eer


@dataclass(frozen=True)
class AsvRates:
    """Error rates of the speaker verifier, as fractions: impostors accepted, targets rejected, spoofs accepted."""

    p_fa: float
    p_miss: float
    p_fa_spoof: float

    def __post_init__(self) -> None:
        """Refuse what is no rate."""
        if not all(0 <= rate <= 1 for rate in (self.p_fa, self.p_miss, self.p_fa_spoof)):
            raise EvalError(f"expected ASV rates between 0 and 1 (fractions, not per cent), found {self}")


@dataclass(frozen=True)
class TdcfCosts:
    """Priors and costs of the ASVspoof 2019 and 2021 plans; the two forms read the costs that concern them.

    2019 parts the costs of the verifier (``c_miss``, ``c_fa``) from those of the countermeasure (``c_miss_cm``,
    ``c_fa_spoof``); 2021 charges the tandem as a whole (``c_miss``, ``c_fa``, ``c_fa_spoof``).
    """

    p_spoof: float = 0.05
    p_target: float = 0.95 * 0.99
    p_nontarget: float = 0.95 * 0.01
    c_miss: float = 1.0
    c_fa: float = 10.0
    c_fa_spoof: float = 10.0
    c_miss_cm: float = 1.0


def asv_rates(target: Floats, nontarget: Floats, spoof: Floats) -> AsvRates:
    """Rates of a verifier at its equal error rate, the spoof trials playing no part in the threshold."""
    threshold = eer(target, nontarget).threshold
    return AsvRates(
        p_fa=float(np.mean(nontarget >= threshold)),
        p_miss=float(np.mean(target < threshold)),
        p_fa_spoof=float(np.mean(spoof >= threshold)),
    )


@dataclass(frozen=True)
class TdcfWeights:
    """A t-DCF as a weighted sum of the countermeasure's rates: ``constant`` is what the verifier alone costs."""

    constant: float
    frr: float
    far: float

    @property
    def normaliser(self) -> float:
        """Cost of the better of a countermeasure that accepts all and one that rejects all."""
        return self.constant + min(self.frr, self.far)


def weights_2019(asv: AsvRates, costs: TdcfCosts) -> TdcfWeights:
    """The form of 2019: a countermeasure without errors costs nothing."""
    weight_frr = costs.p_target * (costs.c_miss_cm - costs.c_miss * asv.p_miss) - costs.p_nontarget * costs.c_fa * (
        asv.p_fa
    )
    return _checked(TdcfWeights(0.0, weight_frr, costs.c_fa_spoof * costs.p_spoof * asv.p_fa_spoof))


def weights_2021(asv: AsvRates, costs: TdcfCosts) -> TdcfWeights:
    """The form of 2021: even a countermeasure without errors pays for the verifier's."""
    errors_of_asv = costs.p_target * costs.c_miss * asv.p_miss + costs.p_nontarget * costs.c_fa * asv.p_fa
    weight_frr = costs.p_target * costs.c_miss - errors_of_asv
    return _checked(TdcfWeights(errors_of_asv, weight_frr, costs.p_spoof * costs.c_fa_spoof * asv.p_fa_spoof))


def min_tdcf_2019(rates: ErrorRates, asv: AsvRates, costs: TdcfCosts) -> OperatingPoint:
    """Minimum normalised t-DCF of 2019; 1 is a countermeasure of no use, 0 one without errors."""
    return min_tdcf(rates, weights_2019(asv, costs))


def min_tdcf_2021(rates: ErrorRates, asv: AsvRates, costs: TdcfCosts) -> OperatingPoint:
    """Minimum normalised t-DCF of 2021; even a faultless countermeasure pays for the verifier's errors."""
    return min_tdcf(rates, weights_2021(asv, costs))


def min_tdcf(rates: ErrorRates, weights: TdcfWeights) -> OperatingPoint:
    """Least normalised tandem cost over all thresholds."""
    curve = weights.constant + weights.frr * rates.frr + weights.far * rates.far
    best = int(np.argmin(curve))
    return OperatingPoint(float(curve[best]) / weights.normaliser, float(rates.thresholds[best]))


def _checked(weights: TdcfWeights) -> TdcfWeights:
    if weights.frr <= 0 or weights.far <= 0:
        raise EvalError(
            "the t-DCF is undefined: the verifier alone costs more than the countermeasure could save "
            f"(weights {weights.frr:.3g} and {weights.far:.3g}); are the ASV rates in the order FA, miss, spoof?"
        )
    return weights
