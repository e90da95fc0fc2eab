"""Do scores stay what they were in fp32? Judged on recordings before a build of fewer bits is accepted.

This judges a build from outside, as a user would, so it reads audio as the client does and protocols as the evaluation
does.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfexport.errors import ExportError
from dfexport.formats import Runner
from dfexport.precision import DriftLimits
from dfexport.spec import SAMPLE_RATE_HZ

DRIFT_FILE = "drift.json"
MIN_RANKED = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DriftAudio:
    """What drift is judged on: a folder of recordings, and their labels where there are any."""

    folder: Path
    protocol: Path | None = None
    protocol_format: str = "csv"


@dataclass(frozen=True)
class Drift:
    """Scores of fewer bits against fp32's, over ``clips`` recordings, each one window (tile-repeated or cut)."""

    precision: str
    weights: str
    audio: str
    clips: int
    max_difference: float
    mean_difference: float
    rank_correlation: float | None
    eer_fp32: float | None
    eer: float | None
    limits: DriftLimits

    @property
    def failures(self) -> list[str]:
        """What is past its limit, in words; empty where the build may stand."""
        limits = self.limits
        found = []
        if not self.max_difference <= limits.max_difference:
            found.append(f"a score moved by {self.max_difference:.3g}, the limit is {limits.max_difference:g}")
        if not self.mean_difference <= limits.mean_difference:
            found.append(f"the mean score moved by {self.mean_difference:.3g}, the limit is {limits.mean_difference:g}")
        correlation = self.rank_correlation
        if self.clips >= MIN_RANKED and correlation is not None and not correlation >= limits.rank_correlation:
            found.append(f"rank correlation {correlation:.3f}, the limit is {limits.rank_correlation:g}")
        if self.eer is not None and self.eer_fp32 is not None and self.eer - self.eer_fp32 > limits.eer_difference:
            found.append(f"EER {self.eer:.2%} against {self.eer_fp32:.2%}, the limit is +{limits.eer_difference:.1%}")
        return found

    def summary(self) -> str:
        """One line for the model card and the screen."""
        words = f"{self.clips} clips: scores differ from fp32's by {self.max_difference:.2g} at most"
        words += f", {self.mean_difference:.2g} on average"
        if self.rank_correlation is not None:
            words += f", rank correlation {self.rank_correlation:.3f}"
        if self.eer is not None and self.eer_fp32 is not None:
            words += f", EER {self.eer:.2%} (fp32 {self.eer_fp32:.2%})"
        return words

    def write(self, path: Path, *, forced: bool) -> None:
        """Store the report beside the model."""
        report = {**asdict(self), "failures": self.failures, "forced": forced}
        path.write_text(json.dumps(report, indent=2) + "\n")


def measure(
    precision: str,
    weights: str,
    limits: DriftLimits,
    *,
    on: DriftAudio,
    before: Mapping[str, float],
    after: Floats,
) -> Drift:
    """Compare scores.

    Args:
        precision: what ``after`` was scored in.
        weights: their kind.
        limits: how far it may go.
        on: what was scored.
        before: clip → score in fp32.
        after: scores of the same clips.

    Raises:
        ExportError: a protocol that can't be read or names too few of the clips.
    """
    fp32 = np.array(list(before.values()))
    rates = equal_error_rates(list(before), fp32, after, on.protocol, on.protocol_format) if on.protocol else None
    difference = np.abs(after - fp32)
    return Drift(
        precision=precision,
        weights=weights,
        audio=on.folder.name,
        clips=len(before),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        rank_correlation=rank_correlation(fp32, after) if len(before) > 2 else None,
        eer_fp32=rates[0] if rates else None,
        eer=rates[1] if rates else None,
        limits=limits,
    )


def scores_of(run: Runner, clips: Iterable[NDArray[np.float32]]) -> Floats:
    """Score of each window, (window_samples,), sent alone."""
    return np.array([float(run(window[None])[1][0, 0]) for window in clips])


def recordings(folder: Path, window_samples: int) -> dict[str, NDArray[np.float32]]:
    """Clip name → its first window, (window_samples,), of every recording below ``folder``."""
    from dfclient import audio, inputs, windows
    from dfclient.errors import DfclientError

    try:
        found = inputs.clips_from([str(folder)])
        return {
            clip.utt_id: windows.cut(audio.load(clip.path, SAMPLE_RATE_HZ).samples, 0, window_samples) for clip in found
        }
    except DfclientError as error:
        raise ExportError(f"drift can't be judged on {folder}: {error}") from None


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's: Pearson's of the ranks, ties ranked by their mean."""
    ranks: Floats = np.stack([_ranks(first), _ranks(second)])
    if not ranks.std(axis=1).all():
        return float(np.array_equal(ranks[0], ranks[1]))
    correlations: Floats = np.asarray(np.corrcoef(ranks))
    return float(correlations[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[place]
    return ranks


def equal_error_rates(
    names: list[str], before: Floats, after: Floats, protocol: Path, protocol_format: str
) -> tuple[float, float]:
    """EER of both, over the clips that the protocol names.

    Raises:
        ExportError: it can't be read, or names too few of them.
    """
    from dfeval.errors import EvalError
    from dfeval.ids import match
    from dfeval.metrics.eer import eer
    from dfeval.protocols import load_protocol

    try:
        table = load_protocol(protocol, protocol_format).table
        rows = match(names, table["utt_id"].tolist())
    except EvalError as error:
        raise ExportError(f"--drift-protocol: {error}") from None
    labels = np.array([table["label"].iloc[row] if row >= 0 else "" for row in rows])
    bonafide, spoof = labels == "bonafide", labels == "spoof"
    if not (bonafide.any() and spoof.any()):
        raise ExportError(
            f"{protocol} names {bonafide.sum()} bona fide and {spoof.sum()} spoofed of the {len(names)} recordings; "
            "an equal error rate needs both"
        )
    return float(eer(before[bonafide], before[spoof]).value), float(eer(after[bonafide], after[spoof]).value)
