"""Joining scores and protocol: what matched is evaluated, what did not is counted and shown, never dropped in silence.

Two ids are the same when, audio extension aside, one path is the end of the other: ``LA_E_1`` is ``flac/LA_E_1.flac``
and ``yourtts/7.wav`` is ``/data/yourtts/7.wav``, but ``fish/7.wav`` is neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.formats import BONAFIDE
from dfeval.protocols import Protocol
from dfeval.scores import ScoreFile

AUDIO_EXTENSIONS = (
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".opus",
    ".m4a",
    ".mp4",
    ".aac",
    ".wma",
    ".aiff",
    ".aif",
    ".amr",
    ".webm",
)
N_EXAMPLES = 5
_NONE, _SEVERAL = -1, -2  # in place of a row number

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matching:
    """What became of every score row and every trial of the phase; ``examples`` names the first few of each kind."""

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
            (self.n_matched and self.n_distinct == 1, "all scores are the same: no figure below means anything", ""),
            (self.n_missing, "{:,} of {:,} trials have no score and are left out", "missing"),
            (self.n_not_finite, "{:,} scores are NaN or infinite and are left out", "not_finite"),
            (self.n_conflicting, "{:,} repeated ids have differing scores: the first counts", "conflicting"),
            (self.n_duplicate, "{:,} score rows repeat an id: the first counts", "duplicate"),
            (self.n_ambiguous, "{:,} score rows fit several trials and are left out", "ambiguous"),
            (self.n_extra, "{:,} score rows are not in the protocol", "extra"),
            (self.n_other_phase, "{:,} score rows belong to another phase", ""),
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
    """Scored, labelled trials of one detector: ``table`` has ``utt_id``, ``score``, ``label`` and protocol columns."""

    table: pd.DataFrame
    detector: str
    protocol: Protocol
    scores_path: Path
    matching: Matching
    weights: str | None = None
    checkpoint_sha256: str | None = None
    mode: str | None = None

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

    @property
    def is_random(self) -> bool:
        """True when the scores came from seeded weights."""
        return self.weights is not None and "random" in self.weights


def join(scores: ScoreFile, protocol: Protocol) -> Trials:
    """Match each score with its trial; see the module for when two ids are the same."""
    trial_ids, score_ids = protocol.table["utt_id"].tolist(), _score_ids(scores.table)
    row_of, ambiguous = _match(score_ids, trial_ids)
    values = scores.table["score"].to_numpy(dtype=np.float64)

    hit = np.flatnonzero(row_of >= 0)
    in_phase = protocol.in_phase[row_of[hit]]
    n_other_phase, hit = int((~in_phase).sum()), hit[in_phase]
    trials, first = np.unique(row_of[hit], return_index=True)  # the first score row of each trial, in protocol order
    kept = hit[first]
    repeats = np.setdiff1d(hit, kept, assume_unique=True)
    differs = values[repeats] != values[kept[np.searchsorted(trials, row_of[repeats])]]
    finite = np.isfinite(values[kept])

    missing = protocol.in_phase.copy()
    missing[trials] = False
    extra = np.flatnonzero((row_of < 0) & ~ambiguous)
    table = protocol.table.iloc[trials[finite]].reset_index(drop=True)
    table.insert(1, "score", values[kept[finite]])
    matching = Matching(
        n_trials=int(protocol.in_phase.sum()),
        n_score_rows=len(values),
        n_matched=len(table),
        n_missing=int(missing.sum()),
        n_extra=len(extra),
        n_ambiguous=int(ambiguous.sum()),
        n_other_phase=n_other_phase,
        n_duplicate=len(repeats),
        n_conflicting=int(differs.sum()),
        n_not_finite=int((~finite).sum()),
        n_distinct=len(np.unique(table["score"])) if len(table) else 0,
        n_protocol_duplicate=protocol.n_duplicate,
        examples={
            "missing": [trial_ids[i] for i in np.flatnonzero(missing)[:N_EXAMPLES]],
            "extra": [score_ids[i] for i in extra[:N_EXAMPLES]],
            "ambiguous": [score_ids[i] for i in np.flatnonzero(ambiguous)[:N_EXAMPLES]],
            "duplicate": [score_ids[i] for i in repeats[:N_EXAMPLES]],
            "conflicting": [score_ids[i] for i in repeats[differs][:N_EXAMPLES]],
            "not_finite": [score_ids[i] for i in kept[~finite][:N_EXAMPLES]],
        },
    )
    return Trials(
        table=table,
        detector=scores.detector,
        protocol=protocol,
        scores_path=scores.path,
        matching=matching,
        weights=scores.weights,
        checkpoint_sha256=scores.checkpoint_sha256,
        mode=scores.mode,
    )


def _score_ids(table: pd.DataFrame) -> list[str]:
    """The ids, or the paths where ids repeat and paths do not (two folders with files of the same names)."""
    if "path" in table.columns and table["utt_id"].duplicated().any() and table["path"].is_unique:
        return [str(path) for path in table["path"]]
    return [str(utt_id) for utt_id in table["utt_id"]]


def _match(score_ids: Sequence[str], trial_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Row of the protocol for each score id (-1: none), and which ids fit several trials."""
    exact = pd.Index(trial_ids).get_indexer(pd.Index(score_ids)).astype(np.int64)
    ambiguous = np.zeros(len(score_ids), dtype=bool)
    left = np.flatnonzero(exact < 0)
    if not len(left):
        return exact, ambiguous
    whole: dict[str, int] = {}
    ends: dict[str, int] = {}
    for row, parts in enumerate(map(_parts, trial_ids)):
        for start in range(len(parts)):
            keys, key = ends if start else whole, "/".join(parts[start:])
            keys[key] = _SEVERAL if key in keys else row
    for index in left.tolist():
        parts = _parts(score_ids[index])
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        candidates = [keys[tail] for keys, tail in _lookups(whole, ends, tails) if tail in keys]
        found = candidates[0] if candidates else _NONE
        exact[index], ambiguous[index] = max(found, _NONE), found == _SEVERAL
    return exact, ambiguous


def _lookups(whole: dict[str, int], ends: dict[str, int], tails: Sequence[str]) -> Iterator[tuple[dict[str, int], str]]:
    """Where to look for an id, the closest first: the same path, a trial's path that ends in it, an end that is one."""
    if tails:
        yield whole, tails[0]
        yield ends, tails[0]
    for tail in tails[1:]:
        yield whole, tail


def _parts(utt_id: str) -> list[str]:
    parts = [part for part in utt_id.replace("\\", "/").split("/") if part not in ("", ".")]
    if parts and parts[-1].lower().endswith(AUDIO_EXTENSIONS):
        parts[-1] = parts[-1].rpartition(".")[0]
    return parts
