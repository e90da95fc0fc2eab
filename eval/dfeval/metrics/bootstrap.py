"""Bootstrap replicates, by speaker where speakers are known (Bisani & Ney, ICASSP 2004; Efron & Tibshirani).

Trials of one speaker resemble each other, so drawing single trials makes intervals too narrow: with speakers known,
speakers are drawn, and a speaker's trials come along; without, trials are drawn within each class.

Nothing is sorted again. In the sorted order a replicate is a count for each trial, and a rate needs sums of counts
over stretches of trials only. So the counts are drawn for up to ``N_CELLS`` stretches first, the stretch where both
rates cross is found, and only there the single trials are drawn: exact, and 1,000 replicates of 600,000 trials take
seconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfeval.metrics.eer import ErrorRates, Floats
from dfeval.metrics.intervals import MIN_SPEAKERS, Units, units_of

N_CELLS = 1024

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Replicates:
    """Bootstrap replicates of the error rates, on a grid of operating points.

    ``eers``: shape (n_replicates,), exact. ``frr``, ``far``: shape (n_replicates, n_points) at ``points``, which are
    indices into the error rates' arrays; every threshold where there are at most ``N_CELLS`` trials. ``auc_off_grid``:
    what the grid's trapezoids lack of the area under the ROC of all thresholds.
    """

    eers: Floats
    frr: Floats
    far: Floats
    points: Counts
    units: Units
    auc_off_grid: float

    @property
    def aucs(self) -> Floats:
        """Area under the ROC of each replicate, by trapezoids between the grid's points; shape (n_replicates,)."""
        return _area(self.frr, self.far) + self.auc_off_grid


def bootstrap(
    rates: ErrorRates, speakers: NDArray[np.int64] | None, n_replicates: int = 1000, seed: int = 0
) -> Replicates:
    """Draw replicates of the error rates.

    ``speakers`` numbers the speaker of each trial in sorted order (the order of ``rates.is_bonafide``), or is None.
    Replicates in which a class is absent (possible when speakers are drawn) are left out.
    """
    rng = np.random.default_rng(seed)
    edges = _edges(rates)
    drawn: _TrialDraw | _SpeakerDraw
    if speakers is None:
        drawn = _TrialDraw(rates.is_bonafide, edges, rng, n_replicates)
    else:
        drawn = _SpeakerDraw(rates.is_bonafide, edges, rng, n_replicates, speakers)
    bonafide, spoof = _from_zero(drawn.bonafide), _from_zero(drawn.spoof)
    defined = np.flatnonzero((bonafide[:, -1] > 0) & (spoof[:, -1] > 0))
    eers = np.array([_exact_eer(bonafide[row], spoof[row], drawn, int(row)) for row in defined])
    frr = bonafide[defined] / bonafide[defined, -1:]
    far = 1 - spoof[defined] / spoof[defined, -1:]
    off_grid = rates.auc - float(_area(rates.frr[edges], rates.far[edges]))
    return Replicates(eers, frr, far, edges, units_of(rates.is_bonafide, speakers), off_grid)


def minimum_costs(replicates: Replicates, weight_frr: float, weight_far: float, constant: float = 0.0) -> Floats:
    """Least weighted sum of both rates of each replicate, over the grid's points; shape (n_replicates,)."""
    return np.asarray((constant + weight_frr * replicates.frr + weight_far * replicates.far).min(axis=1))


def _edges(rates: ErrorRates) -> Counts:
    """Points at which the cells begin and end: evenly spread, and between scores that differ.

    Inside a block of equal scores, bona fide ones first, there are points that no threshold reaches: an area over them,
    or a band, would be another detector's.
    """
    even = np.linspace(0, rates.is_bonafide.size, N_CELLS + 1).astype(np.int64)
    return np.unique(rates.distinct[np.searchsorted(rates.distinct, even, side="right") - 1])


def _area(frr: Floats, far: Floats) -> Floats:
    """Area under the ROC by trapezoids, over the last axis."""
    return np.asarray(np.trapezoid(1 - frr, 1 - far, axis=-1))


def drawable(speakers: NDArray[np.int64] | None, is_bonafide: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """The speakers numbered from 0 without gaps, or None where a class has too few of them to be drawn."""
    if speakers is None:
        return None
    if any(np.unique(speakers[mask]).size < MIN_SPEAKERS for mask in (is_bonafide, ~is_bonafide)):
        return None
    return np.asarray(np.unique(speakers, return_inverse=True)[1], dtype=np.int64)


class _TrialDraw:
    """Trials drawn within each class: how often in each cell (``bonafide``, ``spoof``: replicates × cells)."""

    def __init__(
        self, is_bonafide: NDArray[np.bool_], edges: Counts, rng: np.random.Generator, n_replicates: int
    ) -> None:
        self.is_bonafide, self.edges, self.rng = is_bonafide, edges, rng
        self.bonafide, self.spoof = (
            rng.multinomial(int(mask.sum()), np.add.reduceat(mask, edges[:-1], dtype=float) / mask.sum(), n_replicates)
            for mask in (is_bonafide, ~is_bonafide)
        )

    def trials(self, replicate: int, cell: int) -> Counts:
        """How often each trial of a cell was drawn, given the cell's sums; shape (trials in the cell,)."""
        is_bonafide = self.is_bonafide[self.edges[cell] : self.edges[cell + 1]]
        drawn = np.zeros(is_bonafide.size, dtype=np.int64)
        for mask, sums in ((is_bonafide, self.bonafide), (~is_bonafide, self.spoof)):
            if size := int(mask.sum()):
                drawn[mask] = self.rng.multinomial(sums[replicate, cell], np.full(size, 1 / size))
        return drawn


class _SpeakerDraw:
    """Speakers drawn, their trials coming along; the same attributes as _TrialDraw."""

    def __init__(
        self,
        is_bonafide: NDArray[np.bool_],
        edges: Counts,
        rng: np.random.Generator,
        n_replicates: int,
        speakers: NDArray[np.int64],
    ) -> None:
        self.is_bonafide, self.edges = is_bonafide, edges
        self.speakers, self.n_units = speakers, int(speakers.max()) + 1
        self.drawn = rng.multinomial(self.n_units, np.full(self.n_units, 1 / self.n_units), size=n_replicates)
        self.bonafide, self.spoof = self._cells(is_bonafide), self._cells(~is_bonafide)

    def trials(self, replicate: int, cell: int) -> Counts:
        """How often each trial of a cell was drawn; shape (trials in the cell,)."""
        speakers = self.speakers[self.edges[cell] : self.edges[cell + 1]]
        return np.asarray(self.drawn[replicate, speakers])

    def _cells(self, mask: NDArray[np.bool_]) -> Counts:
        n_cells = len(self.edges) - 1
        cell = np.repeat(np.arange(n_cells), np.diff(self.edges))[mask]
        counts = np.bincount(self.speakers[mask] * n_cells + cell, minlength=self.n_units * n_cells)
        # Floats, because integer products miss the fast matrix multiplication; sums stay exact below 2**53.
        table = counts.reshape(self.n_units, n_cells).astype(np.float64)
        return np.asarray(self.drawn.astype(np.float64) @ table, dtype=np.int64)


def _exact_eer(bonafide: Counts, spoof: Counts, draw: _TrialDraw | _SpeakerDraw, replicate: int) -> float:
    """EER of one replicate, given its cumulated counts at the edges."""
    total = (int(bonafide[-1]), int(spoof[-1]))
    cell = int(np.searchsorted(_gap(bonafide, spoof, *total), 0)) - 1  # the gap is below zero here, not so at the next
    inside = draw.is_bonafide[draw.edges[cell] : draw.edges[cell + 1]]
    return crossing(draw.trials(replicate, cell), inside, (int(bonafide[cell]), int(spoof[cell])), total)


def crossing(drawn: Counts, is_bonafide: NDArray[np.bool_], before: tuple[int, int], total: tuple[int, int]) -> float:
    """EER of trials repeated ``drawn`` times each, both rates crossing within these trials.

    ``before`` and ``total``: bona fide and spoof trials below the first of these, and in all. Whole numbers
    throughout, so that the convention (first point of the least gap, copies of a trial being points of their own)
    is met exactly.
    """
    bonafide = before[0] + np.cumsum(drawn * is_bonafide)
    spoof = before[1] + np.cumsum(drawn * ~is_bonafide)
    last = int(np.searchsorted(_gap(bonafide, spoof, *total), 0))
    n_bonafide, n_spoof = (int(bonafide[last - 1]), int(spoof[last - 1])) if last else before
    step = total[1] if is_bonafide[last] else total[0]
    gap = n_bonafide * total[1] + n_spoof * total[0] - total[0] * total[1]
    copies, left = divmod(-gap, step)
    copies += 2 * left > step
    n_bonafide, n_spoof = (n_bonafide + copies, n_spoof) if is_bonafide[last] else (n_bonafide, n_spoof + copies)
    return (n_bonafide / total[0] + 1 - n_spoof / total[1]) / 2


def _gap(bonafide: Counts, spoof: Counts, n_bonafide: int, n_spoof: int) -> Counts:
    """FRR - FAR, times both class sizes to stay whole."""
    return bonafide * n_spoof + spoof * n_bonafide - n_bonafide * n_spoof


def _from_zero(cells: Counts) -> Counts:
    return np.concatenate((np.zeros((len(cells), 1), dtype=np.int64), np.cumsum(cells, axis=1)), axis=1)
