"""The ROC convex hull: what remains of a detector once its scores are calibrated as well as an order-keeping map can.

Pool-adjacent-violators (PAV) on the labels in order of score gives the hull's segments: Fawcett & Niculescu-Mizil,
"PAV and the ROC convex hull", Machine Learning 68, 2007; Brümmer & de Villiers, BOSARIS toolkit, 2011.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from dfeval.metrics.eer import ErrorRates, Floats


@dataclass(frozen=True)
class Hull:
    """Segments of the hull, lowest scores first: trials of each class in it, and its lowest and highest score.

    Every array has shape (n_segments,).
    """

    n_bonafide: NDArray[np.int64]
    n_spoof: NDArray[np.int64]
    lowest: Floats
    highest: Floats

    @property
    def llrs(self) -> Floats:
        """Natural-log likelihood ratio of each segment, ascending; infinite where a class is absent."""
        with np.errstate(divide="ignore"):
            posterior_odds = np.log(self.n_bonafide) - np.log(self.n_spoof)
        prior_odds = np.log(self.n_bonafide.sum()) - np.log(self.n_spoof.sum())
        return np.asarray(posterior_odds - prior_odds)

    @property
    def eer(self) -> float:
        """Equal error rate on the hull: where it crosses FRR = FAR. Never above one half."""
        frr = np.concatenate(([0], np.cumsum(self.n_bonafide))) / self.n_bonafide.sum()
        far = 1 - np.concatenate(([0], np.cumsum(self.n_spoof))) / self.n_spoof.sum()
        after = int(np.argmax(frr >= far))
        gap_before, gap_after = far[after - 1] - frr[after - 1], frr[after] - far[after]
        share = gap_before / (gap_before + gap_after)
        return float(frr[after - 1] + share * (frr[after] - frr[after - 1]))


def convex_hull(rates: ErrorRates) -> Hull:
    """Hull of the ROC; tied scores stay together, as no threshold can part them."""
    edges = rates.distinct
    bonafide_seen = np.concatenate(([0], np.cumsum(rates.is_bonafide)))[edges]
    n_bonafide, n_trials = np.diff(bonafide_seen), np.diff(edges)
    segments = isotonic_regression(n_bonafide / n_trials, weights=n_trials.astype(np.float64)).blocks
    pooled_bonafide = np.add.reduceat(n_bonafide, segments[:-1])
    pooled_trials = np.add.reduceat(n_trials, segments[:-1])
    score_edges = edges[segments]
    return Hull(
        n_bonafide=pooled_bonafide,
        n_spoof=pooled_trials - pooled_bonafide,
        lowest=rates.scores[score_edges[:-1]],
        highest=rates.scores[score_edges[1:] - 1],
    )
