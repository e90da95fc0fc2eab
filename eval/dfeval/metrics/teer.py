"""Tandem equal error rate: Kinnunen, Lee, Tak, Evans, Nautsch, "t-EER", IEEE TPAMI, 2023, 10.1109/TPAMI.2023.3313648.

A countermeasure (CM) and a speaker verifier (ASV) must both accept. For every ASV threshold there is a CM threshold at
which the tandem misses as often as it is fooled; the paths of these pairs for all spoof prevalences meet in one point,
the concurrent t-EER.
"""

import numpy as np
from numpy.typing import NDArray

from dfeval.errors import EvalError
from dfeval.metrics.eer import ErrorRates
from dfeval.metrics.sasv import VerificationRates


def concurrent_teer(cm: ErrorRates, asv: VerificationRates) -> float:
    """The concurrent t-EER as a fraction.

    The path of spoof prevalence 0 is searched for the point where nontargets and spoofs fool the tandem equally often,
    which is what the ASVspoof 5 package reports.

    Args:
        cm: the CM's rates over bona fide (targets and nontargets) and spoof trials.
        asv: the verifier's rates.

    Raises:
        EvalError: the verifier is so poor that no pair of thresholds qualifies.
    """
    allowed = (asv.miss < asv.fa_nontarget) & (asv.fa_spoof > 0)
    if not allowed.any():
        raise EvalError("the t-EER is undefined: the verifier misses more than it is fooled at every threshold")
    miss, fa_nontarget, fa_spoof = asv.miss[allowed], asv.fa_nontarget[allowed], asv.fa_spoof[allowed]
    point = _closest(cm, miss, fa_nontarget)
    passes_bonafide = 1 - cm.frr[point]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(fa_nontarget / fa_spoof - cm.far[point] / passes_bonafide)
    meeting = int(np.nanargmin(distance))
    return float(fa_spoof[meeting] * cm.far[point[meeting]])


def _closest(cm: ErrorRates, miss: NDArray[np.float64], fa: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first CM point where the tandem's miss and false-alarm rates are closest, for each ASV threshold.

    The gap frr + (1 - frr)·miss - (1 - frr)·fa grows with frr alone, so the sorted distinct frr can be searched.
    """
    frr, first = np.unique(cm.frr, return_index=True)
    crossing = (fa - miss) / (1 + fa - miss)  # the frr at which the gap is zero
    right = np.clip(np.searchsorted(frr, crossing), 1, len(frr) - 1)
    left = right - 1

    def gap(index: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.abs(frr[index] + (1 - frr[index]) * (miss - fa))

    return np.asarray(first[np.where(gap(left) <= gap(right), left, right)], dtype=np.int64)
