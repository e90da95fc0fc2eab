"""How often the intervals of `dfeval` hold the true figure, where it is known: 95 of 100 times is right.

    python benchmarks/coverage.py [--datasets N]

Draws data sets of normal scores, few trials or few speakers each, whose true figures follow from the distributions,
and prints for each figure how many intervals held it, how many lay wholly below it and how many wholly above; for the
EER also what percentiles of the same replicates would have held. A speaker shifts the scores of all their trials.
"""

import argparse
import itertools
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.special import ndtri

from dfeval.figures import Basis, figures_of, intervals_of
from dfeval.metrics.bootstrap import bootstrap
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.eer import Floats, error_rates
from dfeval.metrics.intervals import LEVEL
from dfeval.metrics.tdcf import AsvRates

N_REPLICATES = 300
N_TRUE = 100_000  # points of each class that stand for the whole distribution
FIGURES = ("eer", "auc", "min_dcf", "act_dcf", "cllr", "min_tdcf_2019")
ASV = AsvRates(p_fa=0.02, p_miss=0.02, p_fa_spoof=0.46)
DISTANCES = (1.0, 2.0, 3.0)  # of the classes' means: EERs of about 31, 16 and 7 % without speakers


@dataclass(frozen=True)
class Design:
    """How a data set is made: by trials (speakers 0), or by so many speakers of 20 trials with so strong an effect.

    ``apart``: as many speakers of each class, none of both.
    """

    n_bonafide: int = 0
    n_spoof: int = 0
    n_speakers: int = 0
    effect: float = 0.0
    apart: bool = False

    @property
    def name(self) -> str:
        """In words, for the table."""
        if not self.n_speakers:
            return f"{self.n_bonafide} + {self.n_spoof} trials"
        return f"{self.n_speakers} speakers{' a class' if self.apart else ''}, effect {self.effect}"


DESIGNS = (
    *(Design(*sizes) for sizes in ((20, 20), (20, 200), (30, 300), (100, 100), (1000, 1000))),
    *(Design(n_speakers=n, effect=effect) for n in (10, 12, 30) for effect in (0.5, 1.0)),
    Design(n_speakers=10, effect=0.7, apart=True),
)


def draw(design: Design, distance: float, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_], Floats | None]:
    """Scores, classes and speakers (None without) of one data set; the scores are log-likelihood ratios."""
    if not design.n_speakers:
        is_bonafide = np.arange(design.n_bonafide + design.n_spoof) < design.n_bonafide
        speakers, shift = None, np.zeros(is_bonafide.size)
    else:
        n_speakers = design.n_speakers * (1 + design.apart)
        speakers = np.repeat(np.arange(n_speakers), 20)
        is_bonafide = speakers < design.n_speakers if design.apart else np.arange(speakers.size) % 2 == 0
        shift = rng.normal(0, design.effect, n_speakers)[speakers]
    raw = rng.normal(is_bonafide * distance, 1) + shift
    return _as_llr(raw, distance, design.effect), is_bonafide, speakers


def true_figures(distance: float, effect: float) -> dict[str, float]:
    """The figures of the distributions themselves."""
    points = ndtri((np.arange(N_TRUE) + 0.5) / N_TRUE) * np.hypot(1, effect)
    return _figures(*(_as_llr(points + shift, distance, effect) for shift in (distance, 0.0)))[0]


def _as_llr(raw: Floats, distance: float, effect: float) -> Floats:
    return np.asarray((raw - distance / 2) * distance / (1 + effect**2))


def _figures(bonafide: Floats, spoof: Floats) -> tuple[dict[str, float], Basis]:
    rates = error_rates(bonafide, spoof)
    basis = Basis(rates, convex_hull(rates), DcfCosts(), ASV)
    return figures_of(basis)[0], basis


def coverage(design: Design, distance: float, n_datasets: int) -> dict[str, Counter[str]]:
    """For each figure, and the percentiles of the EER, how many intervals held the true one, or lay where."""
    truth = true_figures(distance, design.effect)
    counts: dict[str, Counter[str]] = {name: Counter() for name in (*FIGURES, "percentiles")}
    rng = np.random.default_rng(round(1000 * distance) + design.n_bonafide + 7 * design.n_speakers)
    for index in range(n_datasets):
        scores, is_bonafide, speakers = draw(design, distance, rng)
        figures, basis = _figures(scores[is_bonafide], scores[~is_bonafide])
        if speakers is not None:
            speakers = speakers[np.lexsort((~is_bonafide, scores))]
        replicates = bootstrap(basis.rates, speakers, N_REPLICATES, index)
        intervals = intervals_of(figures, basis, replicates, speakers)
        found = {name: (interval.low, interval.high) for name, interval in intervals.items()}
        if "eer" in found:
            found["percentiles"] = tuple(np.quantile(replicates.eers, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
        for name, count in counts.items():
            low, high = found.get(name, (np.nan, np.nan))
            value = truth["eer" if name == "percentiles" else name]
            where = "none" if np.isnan(low) else "above" if value < low else "below" if value > high else "held"
            count[where] += 1
    return counts


def main(argv: list[str] | None = None) -> int:
    """Print the table of coverage."""
    parser = argparse.ArgumentParser(prog="benchmarks/coverage.py", description=__doc__)
    parser.add_argument("--datasets", type=int, default=1000, help="of each design (default: %(default)s)")
    arguments = parser.parse_args(argv)
    table = Table(title="held, % (wholly below, wholly above; without interval)", title_justify="left", box=None)
    for name in ("data set", "EER, %", *FIGURES, "EER's percentiles"):
        table.add_column(name, justify="left" if name == "data set" else "right")
    for design, distance in itertools.product(DESIGNS, DISTANCES):
        counts = coverage(design, distance, arguments.datasets)
        eer = true_figures(distance, design.effect)["eer"]
        table.add_row(design.name, f"{100 * eer:.1f}", *map(_share, counts.values()))
        print(f"{design.name}, {eer:.1%}: {_share(counts['eer'])}", file=sys.stderr, flush=True)
    Console(width=200).print(table)
    return 0


def _share(count: Counter[str]) -> str:
    known = count["held"] + count["below"] + count["above"]
    if not known:
        return "none"
    parts = [f"{100 * count[where] / known:.1f}" for where in ("held", "below", "above")]
    missing = f"; {100 * count['none'] / count.total():.0f}" if count["none"] else ""
    return f"{parts[0]} ({parts[1]}, {parts[2]}{missing})"


if __name__ == "__main__":
    sys.exit(main())
