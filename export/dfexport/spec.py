"""What a detector is: the frozen facts that a registry row states."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SAMPLE_RATE_HZ = 16_000

ScoreKind = Literal["logit", "log_softmax"]
Weights = Literal["pretrained", "custom", "random"]


@dataclass(frozen=True)
class RemoteFile:
    """One file as its authors publish it.

    ``sha256`` is None where the publisher states none and nobody here has held the file; the build then records the
    digest it found.
    """

    name: str
    url: str
    sha256: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Published weights: the files (more than one are averaged), their page and their licence."""

    files: tuple[RemoteFile, ...]
    page: str
    licence: str


@dataclass(frozen=True)
class Threshold:
    """An operating point on the score axis, and the data it was set on: it means little anywhere else."""

    score: float
    set_on: str


@dataclass(frozen=True)
class DetectorSpec:
    """Architecture × published checkpoint × window.

    Attributes:
        name: registry and Triton model name.
        architecture: module under ``dfexport.detectors``.
        window_samples: the fixed length the network scores, at 16 kHz.
        checkpoint: where the weights come from.
        paper: citation.
        published_result: what the authors report, with the data set.
        parameters: trainable parameters of the network.
        options: keyword arguments of the architecture's ``shapes`` and ``build``.
        score_kind: what LOGITS and SCORE are: raw logits, or log-softmax values (≤ 0).
        threshold: where the authors' scores separate best, if they say.
        tolerance: largest difference of a logit between eager and exported that a build may have.
    """

    name: str
    architecture: str
    window_samples: int
    checkpoint: Checkpoint
    paper: str
    published_result: str
    parameters: int
    options: Mapping[str, Any] = field(default_factory=dict)
    score_kind: ScoreKind = "logit"
    threshold: Threshold | None = None
    tolerance: float = 1e-4

    @property
    def window_s(self) -> float:
        """Length of the window in seconds."""
        return self.window_samples / SAMPLE_RATE_HZ
