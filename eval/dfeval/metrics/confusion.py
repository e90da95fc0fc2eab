"""Decisions at a threshold. Spoof is the positive class: a true positive is a spoof that was caught."""

from dataclasses import dataclass

import numpy as np

from dfeval.metrics.eer import ErrorRates


@dataclass(frozen=True)
class Confusion:
    """Counts of decisions when a score at or above the threshold is called bona fide.

    Ratios that divide by nothing are NaN.
    """

    threshold: float
    spoof_caught: int
    spoof_accepted: int
    bonafide_rejected: int
    bonafide_accepted: int

    @property
    def accuracy(self) -> float:
        """Share of right decisions; says little where one class is rare."""
        return _ratio(self.spoof_caught + self.bonafide_accepted, self._total)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the shares of right decisions of both classes."""
        return (self.recall + _ratio(self.bonafide_accepted, self.bonafide_accepted + self.bonafide_rejected)) / 2

    @property
    def precision(self) -> float:
        """Share of spoof among the trials that were called spoof."""
        return _ratio(self.spoof_caught, self.spoof_caught + self.bonafide_rejected)

    @property
    def recall(self) -> float:
        """Share of the spoof trials that were caught."""
        return _ratio(self.spoof_caught, self.spoof_caught + self.spoof_accepted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, spoof positive."""
        return _ratio(2 * self.spoof_caught, 2 * self.spoof_caught + self.spoof_accepted + self.bonafide_rejected)

    @property
    def f1_bonafide(self) -> float:
        """Harmonic mean of precision and recall, bona fide positive, as libraries that call it class 1 have it."""
        return _ratio(
            2 * self.bonafide_accepted, 2 * self.bonafide_accepted + self.spoof_accepted + self.bonafide_rejected
        )

    @property
    def _total(self) -> int:
        return self.spoof_caught + self.spoof_accepted + self.bonafide_rejected + self.bonafide_accepted


def confusion(rates: ErrorRates, threshold: float) -> Confusion:
    """Count the decisions that the threshold makes."""
    rejected = int(np.searchsorted(rates.scores, threshold, side="left"))
    bonafide_rejected = int(rates.is_bonafide[:rejected].sum())
    return Confusion(
        threshold=threshold,
        spoof_caught=rejected - bonafide_rejected,
        spoof_accepted=rates.n_spoof - (rejected - bonafide_rejected),
        bonafide_rejected=bonafide_rejected,
        bonafide_accepted=rates.n_bonafide - bonafide_rejected,
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
