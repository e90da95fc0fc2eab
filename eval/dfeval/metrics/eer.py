"""Error rates over all thresholds and the equal error rate, by ASVspoof's convention and on the ROC convex hull."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dfeval.errors import EvalError, OneClassError

Floats = NDArray[np.float64]
BELOW_ALL = 0.001  # the first threshold lies this far below the lowest score, as in the ASVspoof packages


@dataclass(frozen=True)
class OperatingPoint:
    """A rate or cost and the threshold it was found at."""

    value: float
    threshold: float


@dataclass(frozen=True)
class ErrorRates:
    """Both error rates at every threshold, by the convention of the ASVspoof evaluation packages.

    All scores are sorted stably with the bona fide ones listed first; point k (of 0 … n) is the state after the k
    lowest scores are rejected. ``frr`` = rejected bona fide, ``far`` = accepted spoof, each as a fraction of its
    class, shape (n + 1,). ``is_bonafide``, shape (n,), says whose score each step was.
    """

    frr: Floats
    far: Floats
    thresholds: Floats
    is_bonafide: NDArray[np.bool_]

    @property
    def n_bonafide(self) -> int:
        """Number of bona fide trials."""
        return int(self.is_bonafide.sum())

    @property
    def n_spoof(self) -> int:
        """Number of spoof trials."""
        return len(self.is_bonafide) - self.n_bonafide

    @property
    def scores(self) -> Floats:
        """All scores in ascending order, shape (n,)."""
        return self.thresholds[1:]

    @cached_property
    def distinct(self) -> NDArray[np.int64]:
        """The points that a threshold can reach: those between scores that differ, and both ends."""
        steps = np.flatnonzero(self.scores[1:] > self.scores[:-1]) + 1
        return np.concatenate(([0], steps, [self.scores.size]))

    def at(self, threshold: float) -> tuple[float, float]:
        """(FRR, FAR) when scores below the threshold are rejected and those at or above it are accepted."""
        rejected = int(np.searchsorted(self.scores, threshold, side="left"))
        return float(self.frr[rejected]), float(self.far[rejected])

    @cached_property
    def eer(self) -> OperatingPoint:
        """Equal error rate: the mean of both rates where they are closest, and the last score rejected there."""
        point = self._at_eer
        return OperatingPoint(float(self.frr[point] + self.far[point]) / 2, float(self.thresholds[point]))

    @cached_property
    def decision_at_eer(self) -> float:
        """The score from which on trials are accepted at the EER: midway between those rejected and those accepted.

        Where no threshold reaches the EER, the trials that share its score are accepted.
        """
        rejected, accepted = self.thresholds[self._at_eer : self._at_eer + 2]
        middle = rejected / 2 + accepted / 2
        return float(middle if rejected < middle else accepted)

    @cached_property
    def has_threshold_at_eer(self) -> bool:
        """False where the rates cross inside a block of equal scores: the EER is then none that a threshold reaches."""
        return bool(self._at_eer == self.distinct[np.searchsorted(self.distinct, self._at_eer)])

    @cached_property
    def _at_eer(self) -> int:
        return int(np.argmin(np.abs(self.frr - self.far)))

    @cached_property
    def auc(self) -> float:
        """Area under the ROC: how often a bona fide trial outscores a spoof one, a tie counting half."""
        return float(np.trapezoid(1 - self.frr[self.distinct], 1 - self.far[self.distinct]))


def refuse_nan(**scores: Floats) -> None:
    """Refuse scores that sorting would put above all others; each argument is a kind of trials.

    Raises:
        EvalError: a score is NaN.
    """
    for kind, values in scores.items():
        if n_nan := int(np.isnan(values).sum()):
            raise EvalError(
                f"expected scores that are numbers, found {n_nan:,} NaN among {values.size:,} {kind} trials"
            )


def error_rates(bonafide: Floats, spoof: Floats) -> ErrorRates:
    """Error rates of the scores (higher = more bona fide) of both classes, shapes (n_bonafide,) and (n_spoof,).

    Raises:
        OneClassError: a class is empty.
        EvalError: a score is NaN.
    """
    if not bonafide.size or not spoof.size:
        raise OneClassError(bonafide.size, spoof.size, "the error rate")
    refuse_nan(bonafide=bonafide, spoof=spoof)
    scores = np.concatenate((bonafide, spoof))
    order = np.argsort(scores, kind="stable")
    is_bonafide = order < bonafide.size
    rejected = np.concatenate(([0], np.cumsum(is_bonafide)))
    accepted = spoof.size - (np.arange(scores.size + 1) - rejected)
    thresholds = scores[order]
    return ErrorRates(
        frr=rejected / bonafide.size,
        far=accepted / spoof.size,
        thresholds=np.concatenate(([thresholds[0] - BELOW_ALL], thresholds)),
        is_bonafide=is_bonafide,
    )


def eer(bonafide: Floats, spoof: Floats) -> OperatingPoint:
    """Equal error rate and its threshold (ASVspoof's ``compute_eer``)."""
    return error_rates(bonafide, spoof).eer
