"""One model, every way to run it, in turns: what slows the machine for a while slows all of them alike."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from dfdeploy.bench import server_statistics, workers
from dfdeploy.bench.figures import DIRECT, EAGER, SERVED, Ceiling, Row, Sample
from dfdeploy.bench.perf_analyzer import PerfAnalyzer
from dfdeploy.bench.workers import NotMeasured, Worker
from dfdeploy.embedded import Server
from dfdeploy.repository import parameters

FP32, PRODUCTS = "fp32", "products"
# A turn is long enough that a clock's tick or a scheduler's slice is nothing beside it; more rounds say more than
# longer turns, since ratios are taken round by round.
TURN_S = 5.0
# perf_analyzer's export repeats each waveform it sent as text, half a megabyte a window, so there are not too many.
MOST_WINDOWS, MOST_SENT, LEAST_REQUESTS = 32, 250, 6


@dataclass(frozen=True)
class Plan:
    """What is measured of a model.

    Attributes:
        concurrency: requests of one window in flight.
        batches: windows of a request, one request at a time; and of a call of the ways without a server.
        rounds: turns of everything.
        windows: in a turn of a way without a server, at least; one call takes them all where its batch is as large.
        sent: windows that perf_analyzer sends in a turn, about.
    """

    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16)
    batches: tuple[int, ...] = (1, 2, 4, 8)
    rounds: int = 3
    windows: int = 8
    sent: int = 40

    def up_to(self, batch: int) -> "Plan":
        """The same for a model that takes no larger batch."""
        return replace(self, batches=tuple(size for size in self.batches if size <= batch) or (1,))

    def taking(self, window_s: float) -> "Plan":
        """The same with turns of some `TURN_S`, where a window takes ``window_s``: a large model's end, too."""
        fitting = round(TURN_S / window_s)
        return replace(self, windows=min(max(fitting // 2, self.windows), MOST_WINDOWS), sent=min(fitting, MOST_SENT))

    def requests(self, batch: int, concurrency: int) -> int:
        """How many perf_analyzer sends in a turn: enough that its first and last one weigh little."""
        return max(self.sent // batch, 2 * concurrency, LEAST_REQUESTS)

    @property
    def loads(self) -> list[tuple[int, int]]:
        """(windows of a request, requests in flight); the last one keeps the server busy while a request travels."""
        largest = max(self.batches)
        loads = [(1, level) for level in self.concurrency] + [(batch, 1) for batch in self.batches] + [(largest, 2)]
        return list(dict.fromkeys(loads))


QUICK = Plan(concurrency=(1, 2), batches=(1, 2), rounds=1, windows=1, sent=10)


@dataclass(frozen=True)
class Turn:
    """A row to be filled, and what measures it once."""

    row: Row
    take: Callable[[], Sample]


def in_turns(turns: Sequence[Turn], rounds: int) -> list[Row]:
    """Let each take its turn, round after round; what can't be measured is not tried again, and its row says why."""
    samples: list[list[Sample]] = [[] for _ in turns]
    reasons = [""] * len(turns)
    for _ in range(rounds):
        for place, turn in enumerate(turns):
            if not reasons[place]:
                try:
                    samples[place].append(turn.take())
                except NotMeasured as error:
                    reasons[place] = str(error)
    return [
        replace(turn.row, samples=tuple(taken), reason=reason)
        for turn, taken, reason in zip(turns, samples, reasons, strict=True)
    ]


def timed(worker: Worker, batch: int, windows: int, **question: object) -> Sample:
    """What a worker's calls of one batch come to, as many as ``windows`` take."""
    seconds: list[float] = worker.ask(batch=batch, calls=math.ceil(windows / batch), **question)["seconds"]
    return Sample(windows_per_s=batch * len(seconds) / sum(seconds), p50_ms=1e3 * median(seconds))


def served(server: Server, analyzer: PerfAnalyzer, row: Row, data: Path, plan: Plan) -> Sample:
    """One measurement of perf_analyzer, with what the server's counters say of it."""
    before = server_statistics.read(server.http_url, row.model)
    requests = plan.requests(row.batch, row.concurrency)
    found = analyzer.measure(server.grpc_url, row.model, data, row.concurrency, batch=row.batch, requests=requests)
    taken = server_statistics.read(server.http_url, row.model).since(before)
    return Sample(
        windows_per_s=found.windows_per_s,
        p50_ms=found.p50_ms,
        p90_ms=found.p90_ms,
        p99_ms=found.p99_ms,
        phases_ms={phase: taken.mean_ms(phase) for phase in server_statistics.PHASES},
        batches=dict(taken.batches),
    )


def measure(
    server: Server,
    analyzer: PerfAnalyzer,
    model: str,
    data: Path,
    *,
    plan: Plan,
    pytorch: Worker | str,
    environment_dir: Path | None,
) -> tuple[list[Row], list[Ceiling]]:
    """All rows of one model, and the machine's rate of products beside them.

    Args:
        server: that serves it.
        analyzer: what loads the server.
        model: its name.
        data: what is sent, as `dfclient.perfdata` writes it.
        plan: which loads.
        pytorch: the process that runs its network, or why there is none.
        environment_dir: the server's environment; default see `environment.default_folder`.
    """
    model_dir = server.repository / model
    precision = parameters(model_dir).get("precision", FP32)
    with ExitStack() as stack:
        session: Worker | str = "ONNX Runtime does not serve this model"
        if workers.is_onnx(model_dir):
            session = stack.enter_context(workers.direct(model_dir, server.profile, environment_dir))
        # Of the eager network the ends of the range will do: it is the slowest by far, and a batch changes little.
        ends = sorted({min(plan.batches), max(plan.batches)})
        turns: list[Turn] = [
            *(_without_server(Row(model, EAGER, batch), plan, pytorch, ask="time", way="authors") for batch in ends),
            *(_without_server(Row(model, DIRECT, batch, precision=precision), plan, session) for batch in plan.batches),
            *(_with_server(Row(model, SERVED, *load, precision), server, analyzer, data, plan) for load in plan.loads),
        ]
        products = [products_turn(model, one, pytorch) for one in dict.fromkeys((FP32, precision))]
        rows = in_turns([*turns, *products], plan.rounds)
    return rows[: len(turns)], [as_ceiling(row) for row in rows[len(turns) :]]


def products_turn(model: str, precision: str, pytorch: Worker | str) -> Turn:
    """The machine's rate of products, as a turn among others: GFLOP/s in the place of windows a second."""

    def take() -> Sample:
        if isinstance(pytorch, str):
            raise NotMeasured(pytorch)
        rates = pytorch.ask(ask="gemm", precisions=[precision])["rates"]
        if not rates:
            raise NotMeasured(f"no library at hand multiplies in {precision} on this device")
        return Sample(max(rate for _precision, _library, rate in rates))

    return Turn(Row(model, PRODUCTS, 1, precision=precision), take)


def as_ceiling(row: Row) -> Ceiling:
    """What `products_turn` found."""
    return Ceiling(row.model, row.precision, tuple(sample.windows_per_s for sample in row.samples), row.reason)


def _without_server(row: Row, plan: Plan, worker: Worker | str, **question: object) -> Turn:
    def take() -> Sample:
        if isinstance(worker, str):
            raise NotMeasured(worker)
        return timed(worker, row.batch, plan.windows, **question)

    return Turn(row, take)


def _with_server(row: Row, server: Server, analyzer: PerfAnalyzer, data: Path, plan: Plan) -> Turn:
    return Turn(row, lambda: served(server, analyzer, row, data, plan))
