"""Joining scores and protocol: what matched is evaluated, what did not is counted and shown, never silently dropped."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.formats import BONAFIDE
from dfeval.ids import NONE, SEVERAL, match
from dfeval.protocols import Protocol
from dfeval.scores import RANDOM_WEIGHTS, DetectorScores

N_EXAMPLES = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matching:
    """What became of every score row and every trial of the phase.

    Attributes:
        n_trials: of the phase.
        n_score_rows: in the score file.
        n_matched: trials that have a finite score.
        n_missing: trials without one.
        n_extra: score rows that are no trial's.
        n_ambiguous: score rows that fit several trials.
        n_other_phase: score rows of trials of another phase, or that a condition leaves out.
        n_duplicate: score rows that repeat a trial.
        n_conflicting: those of them whose score differs from the first.
        n_not_finite: trials whose score is NaN or infinite.
        n_distinct: different scores among the matched trials.
        n_protocol_duplicate: protocol lines that repeat a trial.
        examples: the first few ids of each kind.
    """

    n_trials: int
    n_score_rows: int
    n_matched: int
    n_missing: int = 0
    n_extra: int = 0
    n_ambiguous: int = 0
    n_other_phase: int = 0
    n_duplicate: int = 0
    n_conflicting: int = 0
    n_not_finite: int = 0
    n_distinct: int = 0
    n_protocol_duplicate: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """A sentence for each thing that did not match, the worst first; empty when everything did."""
        sentences = (
            (self.n_matched > 1 and self.n_distinct == 1, "all scores are the same: no figure means anything", ""),
            (self.n_missing, "{:,} of {:,} trials have no score and are left out", "missing"),
            (self.n_not_finite, "{:,} scores are NaN or infinite and are left out", "not_finite"),
            (self.n_conflicting, "{:,} repeated ids have differing scores: the first counts", "conflicting"),
            (self.n_duplicate, "{:,} score rows repeat an id: the first counts", "duplicate"),
            (self.n_ambiguous, "{:,} score rows fit several trials and are left out", "ambiguous"),
            (self.n_extra, "{:,} score rows are not in the protocol", "extra"),
            (self.n_other_phase, "{:,} score rows are of trials that the phase or --where leaves out", ""),
            (self.n_protocol_duplicate, "{:,} protocol lines repeat a trial", ""),
        )
        return [
            text.format(count, self.n_trials) + self._examples(kind, int(count))
            for count, text, kind in sentences
            if count
        ]

    def _examples(self, kind: str, count: int) -> str:
        names = self.examples.get(kind, [])
        return f" ({', '.join(names)}{', …' if count > len(names) else ''})" if names else ""


@dataclass(frozen=True)
class Trials:
    """Scored, labelled trials of one detector.

    Attributes:
        table: ``utt_id``, ``score``, ``label`` and the protocol's other columns.
        source: the scores that were joined.
        protocol: what they were joined with.
        matching: what matched and what did not.
    """

    table: pd.DataFrame
    source: DetectorScores
    protocol: Protocol
    matching: Matching

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.source.detector

    @property
    def shown_as(self) -> str:
        """The detector's name where figures stand beside it: those of random weights mean nothing, and say so."""
        return f"{self.detector} ({RANDOM_WEIGHTS})" if self.source.is_random else self.detector

    def notes(self) -> list[str]:
        """What did not match, what could not be read, and what was guessed of either file; empty when nothing was."""
        return [*self.matching.notes(), *self.source.notes, *self.protocol.notes]

    @property
    def scores(self) -> Floats:
        """Score of each trial, higher = more bona fide."""
        return self.table["score"].to_numpy(dtype=np.float64)

    @property
    def is_bonafide(self) -> NDArray[np.bool_]:
        """True where a trial is bona fide."""
        return (self.table["label"] == BONAFIDE).to_numpy(dtype=bool)

    @property
    def bonafide(self) -> Floats:
        """Scores of the bona fide trials, in protocol order."""
        return self.scores[self.is_bonafide]

    @property
    def spoof(self) -> Floats:
        """Scores of the spoof trials, in protocol order."""
        return self.scores[~self.is_bonafide]

    @property
    def speakers(self) -> NDArray[np.int64] | None:
        """A number for each trial's speaker, or None where the protocol names fewer than two."""
        if "speaker" not in self.table.columns:
            return None
        codes, names = pd.factorize(self.table["speaker"])
        return codes.astype(np.int64) if len(names) > 1 else None


def join(scores: DetectorScores, protocol: Protocol) -> Trials:
    """Match each score with its trial; ``ids`` says when two ids are the same."""
    trial_ids, score_ids = protocol.table["utt_id"].tolist(), _score_ids(scores.table)
    row_of = match(score_ids, trial_ids)
    values = scores.table["score"].to_numpy(dtype=np.float64)

    hit = np.flatnonzero(row_of >= 0)
    in_phase = protocol.in_phase[row_of[hit]]
    n_other_phase, hit = int((~in_phase).sum()), hit[in_phase]
    trials, first = np.unique(row_of[hit], return_index=True)  # the first score row of each trial, in protocol order
    kept = hit[first]
    repeats = np.setdiff1d(hit, kept, assume_unique=True)
    differs = values[repeats] != values[kept[np.searchsorted(trials, row_of[repeats])]]
    finite = np.isfinite(values[kept])

    table = protocol.table.iloc[trials[finite]].reset_index(drop=True)
    table.insert(1, "score", values[kept[finite]])
    wanting = {
        "extra": np.flatnonzero(row_of == NONE),
        "ambiguous": np.flatnonzero(row_of == SEVERAL),
        "duplicate": repeats,
        "conflicting": repeats[differs],
        "not_finite": kept[~finite],
    }
    examples = {kind: [score_ids[row] for row in rows[:N_EXAMPLES].tolist()] for kind, rows in wanting.items()}
    missing = np.setdiff1d(np.flatnonzero(protocol.in_phase), trials, assume_unique=True)
    matching = Matching(
        n_trials=int(protocol.in_phase.sum()),
        n_score_rows=len(values),
        n_matched=len(table),
        n_missing=len(missing),
        n_other_phase=n_other_phase,
        n_distinct=table["score"].nunique(),
        n_protocol_duplicate=protocol.n_duplicate,
        examples=examples | {"missing": [trial_ids[row] for row in missing[:N_EXAMPLES].tolist()]},
        **{f"n_{kind}": len(rows) for kind, rows in wanting.items()},
    )
    return Trials(table, scores, protocol, matching)


def _score_ids(table: pd.DataFrame) -> list[str]:
    """The ids, or the paths where ids repeat and paths do not (two folders with files of the same names)."""
    is_by_path = "path" in table.columns and table["utt_id"].duplicated().any() and table["path"].is_unique
    column = table["path" if is_by_path else "utt_id"]
    return list(map(str, column.tolist()))  # to iterate a column itself takes ten times as long
