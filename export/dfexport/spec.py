"""What a detector is: the frozen facts that a registry row states."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from dfcontract.published import Eer, Transfer
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfcontract.windows import ClipLengths
from dfexport.errors import ExportError

ScoreKind = Literal["logit", "log_softmax", "softmax"]
Weights = Literal["pretrained", "custom", "random"]

WINDOW_OF_A_CLIP = (
    "Its authors score a whole clip, however long, where this takes one window of it: their figures are not of this"
)
XLSR_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class RemoteFile:
    """One file as its authors publish it.

    ``url`` is None where its page is known and its own address is not: it is placed by hand. ``sha256`` is None where
    the publisher states none and nobody here has held the file; the build then records the digest it found.
    ``size_bytes`` is None where it isn't known. ``mirrors`` are other addresses of the same file, asked in turn where
    the first one fails; only a digest proves that it is the same.
    """

    name: str
    url: str | None
    sha256: str | None = None
    size_bytes: int | None = None
    mirrors: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its own address and its mirrors; none where it is placed by hand."""
        return (self.url, *self.mirrors) if self.url is not None else ()


@dataclass(frozen=True)
class Checkpoint:
    """Published weights.

    Attributes:
        files: more than one are averaged.
        page: where they are published.
        licence: of the weights.
        size: of the weights that scoring uses, for people.
        asks_consent: whether the licence forbids uses that a user may have in mind, so that they have to accept it
            before the first download.
    """

    files: tuple[RemoteFile, ...]
    page: str
    licence: str
    size: str = "unknown"
    asks_consent: bool = False


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the score axis, and the data it was set on: it means little anywhere else."""

    score: float
    set_on: str


@dataclass(frozen=True)
class DetectorSpec:
    """Architecture × published checkpoint × window.

    Attributes:
        name: registry and Triton model name.
        family: the architecture, as ``module:NAME`` under ``dfexport.detectors``; see `dfexport.family`.
        window_samples: the fixed length the network scores, at 16 kHz; where it scores whole clips, the length of the
            windows that sliding mode and live streams cut.
        checkpoint: where the weights come from.
        paper: citation.
        published_result: what the authors report, with the data set; "" where ``eers`` say it all.
        parameters: trainable parameters of the network.
        seconds_per_window: measured in fp32 on two cores of an AMD EPYC; docs/detectors.md says how.
        other_windows: lengths that its authors scored other data with.
        score_kind: what SCORE is: a raw logit; a log-softmax value (≤ 0), as LOGITS then are; or the softmax of LOGITS,
            which are raw.
        threshold: where the authors' scores separate best, if they say.
        tolerance: largest difference of a logit between eager and exported that a build may have.
        precisions: what it can be built in; a network of 1 MB has nothing to gain.
        max_batch_size: clips of one inference, less where what is computed on the way takes much memory: some 140 MB a
            clip for AASIST and 50 for XLS-R (simulated, ONNX Runtime's arena).
        eers: published equal error rates, by data set.
        transfers: how thresholds of these weights did on other data, as far as somebody says.
        trained_on: what it was trained on, where that is known.
        pre_emphasis: its factor, where the graph begins with one.
        clip: the lengths that it scores, where its authors score whole clips; `with_window` gives it a fixed one.
        preparation: what the graph does to a waveform before the network, and how that differs from its authors'.
    """

    name: str
    family: str
    window_samples: int
    checkpoint: Checkpoint
    paper: str
    published_result: str
    parameters: int
    seconds_per_window: float | None = None
    other_windows: tuple[int, ...] = ()
    score_kind: ScoreKind = "logit"
    threshold: OperatingPoint | None = None
    tolerance: float = 1e-4
    precisions: tuple[str, ...] = ("fp32", "bf16")
    max_batch_size: int = 32
    eers: tuple[Eer, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    trained_on: str = ""
    preparation: str = ""
    pre_emphasis: float = 0.0
    clip: ClipLengths | None = None

    @property
    def result(self) -> str:
        """What the authors report, in a line."""
        return self.published_result or f"EER: {', '.join(str(eer) for eer in self.eers if not eer.source)}"

    @property
    def has_encoder(self) -> bool:
        """Whether most of it is an XLS-R encoder, whose large matrix products fewer bits and batches make faster."""
        return "int8" in self.precisions

    @property
    def window_s(self) -> float:
        """Length of the window in seconds."""
        return self.window_samples / SAMPLE_RATE_HZ

    def with_window(self, samples: int) -> Self:
        """The same detector at another of its authors' windows; one that scores whole clips, at its fixed window.

        Raises:
            ExportError: they did not score with that length.
        """
        lengths = (self.window_samples, *self.other_windows)
        if samples not in lengths:
            known = " or ".join(f"{length:,}" for length in lengths)
            raise ExportError(f"{self.name} scores windows of {known} samples, not of {samples:,}")
        if self.clip is not None:
            return replace(
                self,
                clip=None,
                preparation=f"{self.preparation}. {WINDOW_OF_A_CLIP}",
                max_batch_size=self.max_batch_size * (self.clip.most // self.window_samples),
            )
        return replace(self, window_samples=samples)
