"""Do scores stay what they were in fp32? Judged on recordings before a build of fewer bits is accepted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfcontract.tensors import Samples
from dfcontract.windows import Windowing
from dfexport.drift_set import DriftSet
from dfexport.errors import ExportError
from dfexport.formats import Runner
from dfexport.precision import DriftLimits

DRIFT_FILE = "drift.json"
MIN_RANKED = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """Scores of fewer bits against fp32's, over ``clips`` recordings, each as protocol mode sends it first."""

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
    precision: str, weights: str, limits: DriftLimits, *, on: DriftSet, before: Sequence[float], after: Sequence[float]
) -> Drift:
    """Compare scores.

    Args:
        precision: what ``after`` was scored in.
        weights: their kind.
        limits: how far it may go.
        on: what was scored.
        before: the recordings' scores in fp32.
        after: their scores now.

    Raises:
        ExportError: labels of too few of the recordings.
    """
    fp32, fewer_bits = np.array(before), np.array(after)
    rates = equal_error_rates(list(on.waveforms), fp32, fewer_bits, on.labels) if on.labels else (None, None)
    difference = np.abs(fewer_bits - fp32)
    return Drift(
        precision=precision,
        weights=weights,
        audio=on.name,
        clips=len(before),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        rank_correlation=rank_correlation(fp32, fewer_bits) if len(before) > 2 else None,
        eer_fp32=rates[0],
        eer=rates[1],
        limits=limits,
    )


def scores_of(
    run: Runner, waveforms: Mapping[str, Samples], windowing: Windowing, score_kind: str = "logit"
) -> list[float]:
    """Score of each recording's first window, or of all of it where the detector takes that; each is sent alone.

    Limits of drift are in units of a logit, so a softmax score is taken as its log-odds, which rank alike.
    """
    windows = (windowing.cut(waveform, 0) for waveform in waveforms.values())
    answers = [run(np.ascontiguousarray(window)[None]) for window in windows]
    if score_kind == "softmax":
        return [float(answer.logits[0, 1] - answer.logits[0, 0]) for answer in answers]
    return [float(answer.score[0, 0]) for answer in answers]


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
    names: Sequence[str], before: Floats, after: Floats, labels: Mapping[str, str]
) -> tuple[float, float]:
    """EER of both, over the recordings that have labels.

    Raises:
        ExportError: too few of them have.
    """
    found = np.array([labels.get(name, "") for name in names])
    bonafide, spoof = found == "bonafide", found == "spoof"
    if not (bonafide.any() and spoof.any()):
        raise ExportError(
            f"the labels name {bonafide.sum()} bona fide and {spoof.sum()} spoofed of the {len(names)} recordings; "
            "an equal error rate needs both"
        )
    return eer(before[bonafide], before[spoof]), eer(after[bonafide], after[spoof])


def eer(bonafide: Floats, spoof: Floats) -> float:
    """Equal error rate, as the ASVspoof challenges count it.

    The threshold passes over all scores in order, bona fide before spoofed ones where they tie; the rate is the mean of
    both errors where they differ least.
    """
    is_bonafide = np.concatenate([np.ones(len(bonafide)), np.zeros(len(spoof))])
    is_bonafide = is_bonafide[np.argsort(np.concatenate([bonafide, spoof]), kind="stable")]
    rejected = np.concatenate([[0.0], np.cumsum(is_bonafide)])
    false_rejections = rejected / len(bonafide)
    false_acceptances = (len(spoof) - (np.arange(len(rejected)) - rejected)) / len(spoof)
    least = np.argmin(np.abs(false_rejections - false_acceptances))
    return float((false_rejections[least] + false_acceptances[least]) / 2)
