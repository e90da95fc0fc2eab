"""What a benchmark found: a row for each load of each way to run a model, and what follows from rows of one run.

A figure that was not measured is None, and its row says why; nothing is filled in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

# Ways to run a model; those in PyTorch alone have the names of `dfexport.speed.ways`, after a mark.
EAGER, DIRECT, SERVED = "eager", "onnxruntime", "triton"
PYTORCH = "pytorch "
AUTHORS = f"{PYTORCH}authors"  # in-process; its name is that of `dfexport.speed.ways`
MEANING = {
    EAGER: "eager PyTorch, as the authors' code computes it",
    DIRECT: "ONNX Runtime in-process, as the backend calls it",
    SERVED: "Triton, through gRPC",
}


@dataclass(frozen=True)
class Sample:
    """One turn of one way at one load.

    Attributes:
        windows_per_s: answered.
        p50_ms, p90_ms, p99_ms: percentiles of a request's latency.
        phases_ms: a request's mean time in each phase of the server.
        batches: windows of an execution → how many there were.
    """

    windows_per_s: float
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    batches: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One way to run one model at one load: its turns, or why there are none.

    Attributes:
        model: its name in the repository.
        way: see `MEANING`.
        batch: windows of a call or request.
        concurrency: requests in flight.
        precision: of the matrix products.
        samples: one a round.
        reason: why nothing was measured.
    """

    model: str
    way: str
    batch: int
    concurrency: int = 1
    precision: str = "fp32"
    samples: tuple[Sample, ...] = ()
    reason: str = ""

    @property
    def windows_per_s(self) -> float | None:
        """The median over rounds."""
        return middle([sample.windows_per_s for sample in self.samples])

    def percentile_ms(self, name: str) -> float | None:
        """The median over rounds of ``p50``, ``p90`` or ``p99``."""
        return middle([value for sample in self.samples if (value := getattr(sample, f"{name}_ms")) is not None])

    def phase_ms(self, phase: str) -> float | None:
        """The median over rounds of a request's mean time in one phase."""
        return middle([sample.phases_ms[phase] for sample in self.samples if phase in sample.phases_ms])

    @property
    def batches(self) -> dict[int, int]:
        """Windows of an execution → how many there were, all rounds together."""
        sizes = sorted({size for sample in self.samples for size in sample.batches})
        return {size: sum(sample.batches.get(size, 0) for sample in self.samples) for size in sizes}


@dataclass(frozen=True)
class Ceiling:
    """The machine's rate of matrix products beside a model, one a round: the best library's of each."""

    model: str
    precision: str
    gflop_per_s: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """One run.

    Attributes:
        measured_on: machine, versions, time.
        rows: everything that was timed.
        gflop: model → arithmetic of a window, where it is known.
        ceilings: the rate of matrix products beside each model, in turn with it.
        machine_rates: precision, library, GFLOP/s, once.
        drift: model → way → how far logits are from fp32's.
        extra: what single figures there are, by name.
    """

    measured_on: Mapping[str, str]
    rows: Sequence[Row]
    gflop: Mapping[str, float] = field(default_factory=dict)
    ceilings: Sequence[Ceiling] = ()
    machine_rates: Sequence[tuple[str, str, float]] = ()
    drift: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """Those with rows, in order."""
        return list(dict.fromkeys(row.model for row in self.rows))

    def row(self, model: str, way: str, batch: int, concurrency: int = 1) -> Row | None:
        """The row of one load, if it was tried."""
        wanted = (model, way, batch, concurrency)
        return next((row for row in self.rows if (row.model, row.way, row.batch, row.concurrency) == wanted), None)

    def best(self, model: str, way: str) -> Row | None:
        """The load of most windows a second."""
        measured = [row for row in self.rows if (row.model, row.way) == (model, way) and row.samples]
        return max(measured, key=lambda row: row.windows_per_s or 0.0, default=None)

    def share_of_ceiling(self, row: Row) -> float | None:
        """What part of the machine's rate of products a row reached, round by round; None without a ceiling."""
        wanted = (row.model, row.precision)
        ceiling = next((one for one in self.ceilings if (one.model, one.precision) == wanted), None)
        gflop = self.gflop.get(row.model)
        if ceiling is None or gflop is None:
            return None
        pairs = zip(row.samples, ceiling.gflop_per_s, strict=False)
        return middle([sample.windows_per_s * gflop / rate for sample, rate in pairs])


def ratio(one: Row | None, other: Row | None) -> float | None:
    """How many times faster one row is than another: of each round, so that what slows a round slows both; median."""
    if one is None or other is None:
        return None
    pairs = zip(one.samples, other.samples, strict=False)
    return middle([mine.windows_per_s / theirs.windows_per_s for mine, theirs in pairs])


def middle(values: Sequence[float]) -> float | None:
    """The median; None of none."""
    return median(values) if values else None
