"""A benchmark's figures as one JSON, one CSV and one page, side by side."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from dfdeploy.bench import pictures
from dfdeploy.bench.figures import AUTHORS, DIRECT, EAGER, MEANING, PYTORCH, SERVED, Report, Row, ratio
from dfdeploy.bench.server_statistics import PHASES

CSV_HEADER = (
    *("model", "way", "batch", "concurrency", "rounds", "windows_per_s", "p50_ms", "p90_ms", "p99_ms"),
    *(f"{phase}_ms" for phase in PHASES),
    *("executions_by_batch", "speedup_over_eager", "share_of_ceiling", "not_measured_because"),
)
PHASE_NAMES = dict(zip(PHASES, ("queue", "input", "computing", "output"), strict=True))
NOT_MEASURED = "not measured"
WHOLE_FROM = 1000  # three digits of such a figure would be a power of ten
SHORT_NOTE = (
    "Windows a second at the best load. Speed-up: Triton through gRPC, one request at a time, over eager PyTorch as "
    "the authors' code computes it, with as many windows. Serving costs: what is lost against ONNX Runtime "
    "in-process with the same threads, both busy; what generates the load takes its part of the cores."
)


class Picture(NamedTuple):
    """A chart with its words."""

    title: str
    svg: str
    caption: str


def write(report: Report, out: Path) -> list[Path]:
    """Write ``out`` (JSON), and beside it the same name as CSV and as a page; what was written."""
    paths = [out, out.with_suffix(".csv"), out.with_suffix(".html")]
    out.write_text(json.dumps(as_json(report), indent=2) + "\n", encoding="utf-8")
    with paths[1].open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(CSV_HEADER)
        table.writerows(_csv_row(report, row) for row in report.rows)
    paths[2].write_text(page(report), encoding="utf-8")
    return paths


def as_json(report: Report) -> dict[str, Any]:
    """Everything, each turn by itself, so that others can count anew."""
    return {
        "measured_on": dict(report.measured_on),
        "summary": {model: dict(zip(SUMMARY_KEYS, summary(report, model), strict=True)) for model in report.models},
        "rows": [dataclasses.asdict(row) | {"windows_per_s": row.windows_per_s} for row in report.rows],
        "gflop_per_window": dict(report.gflop),
        "ceilings": [dataclasses.asdict(ceiling) for ceiling in report.ceilings],
        "matrix_products": [list(rate) for rate in report.machine_rates],
        "drift": {model: dict(ways) for model, ways in report.drift.items()},
        **report.extra,
    }


SUMMARY_KEYS = (
    *("eager_windows_per_s", "onnxruntime_windows_per_s", "triton_windows_per_s"),
    *("speedup_batch_1", "largest_batch", "speedup_largest_batch"),
    *("serving_costs_at_saturation", "share_of_ceiling"),
)


def summary(report: Report, model: str) -> tuple[float | None, ...]:
    """The figures of `SUMMARY_KEYS`; a speed-up is Triton's, one request at a time, over eager at the same batch."""
    bests = [report.best(model, way) for way in (EAGER, DIRECT, SERVED)]
    batch = max((row.batch for row in report.rows if (row.model, row.way) == (model, SERVED)), default=1)
    speedups = [ratio(report.row(model, SERVED, size), report.row(model, EAGER, size)) for size in (1, batch)]
    served = bests[2]
    return (
        *(row.windows_per_s if row else None for row in bests),
        speedups[0],
        float(batch),
        speedups[1],
        serving_cost(report, model),
        report.share_of_ceiling(served) if served else None,
    )


def serving_cost(report: Report, model: str) -> float | None:
    """What part of ONNX Runtime's rate Triton, gRPC and our backend cost together, both busy with largest batches."""
    batch = max((row.batch for row in report.rows if (row.model, row.way) == (model, SERVED)), default=1)
    kept = ratio(report.row(model, SERVED, batch, 2), report.row(model, DIRECT, batch))
    return None if kept is None else 1 - kept


def page(report: Report) -> str:
    """The page: one file, nothing from elsewhere."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((files("dfdeploy.bench") / "bench.html.j2").read_text(encoding="utf-8"))
    return template.render(
        models=report.models,
        colours=pictures.COLOURS,
        rounds=max((len(row.samples) for row in report.rows), default=0),
        measured_on=report.measured_on,
        tables=list(tables(report)),
        overall=list(_overall(report)),
        by_model={model: found for model in report.models if (found := list(_of_model(report, model)))},
        reasons=list(dict.fromkeys(reasons(report))),
    )


def reasons(report: Report) -> Iterator[str]:
    """What was not measured, and why."""
    for row in report.rows:
        if row.reason:
            yield f"{row.model}, {meaning(row.way)}: {row.reason}"
    for ceiling in report.ceilings:
        if ceiling.reason:
            yield f"{ceiling.model}, the rate of matrix products in {ceiling.precision}: {ceiling.reason}"


def meaning(way: str) -> str:
    """A way to run a model, in words."""
    return MEANING.get(way, way)


def text(value: float | None, form: str = ".3g") -> str:
    """A figure, or the word that there is none; thousands are not written as powers of ten."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f}" if form == ".3g" and abs(value) >= WHOLE_FROM else format(value, form)


def _csv_row(report: Report, row: Row) -> tuple[object, ...]:
    eager = report.row(row.model, EAGER, row.batch) or report.row(row.model, AUTHORS, row.batch)
    measured = (row.windows_per_s, *(row.percentile_ms(name) for name in ("p50", "p90", "p99")))
    phases = (row.phase_ms(phase) for phase in PHASES)
    executions = " ".join(f"{size}:{count}" for size, count in row.batches.items())
    # Compared with eager is what computes the same number of windows at a time.
    speedup = ratio(row, eager) if row.concurrency == 1 else None
    figures = (*measured, *phases, executions, speedup, report.share_of_ceiling(row))
    head = (row.model, row.way, row.batch, row.concurrency, len(row.samples))
    return (*head, *("" if value is None else value for value in figures), row.reason)


def tables(report: Report) -> Iterator[dict[str, Any]]:
    """Title, note, header and rows of each table of the page, the summary first."""
    if any(row.way == SERVED for row in report.rows):
        yield {
            "title": "In short",
            "note": SHORT_NOTE,
            "header": (
                *("model", "eager", "ONNX Runtime", "Triton", "speed-up, batch 1", "speed-up, largest batch"),
                *("serving costs", "of the ceiling"),
            ),
            "rows": [(model, *_summary_cells(summary(report, model))) for model in report.models],
        }
    if report.machine_rates:
        yield {
            "title": "The ceiling: matrix products on this machine",
            "note": "Square products; a network's share of the ceiling is taken from the best library of each turn.",
            "header": ("precision", "library", "GFLOP/s"),
            "rows": [(precision, library, f"{rate:.0f}") for precision, library, rate in report.machine_rates],
        }
    if report.drift:
        yield {
            "title": "What fewer bits change",
            "note": "Logits against fp32 on the same device, on the example recordings.",
            "header": ("model, way", "largest difference", "mean difference"),
            "rows": [
                (f"{model}, {way}", f"{found['largest']:.2g}", f"{found['mean']:.2g}")
                for model, ways in report.drift.items()
                for way, found in ways.items()
            ],
        }
    yield {
        "title": "Everything",
        "note": "",
        "header": ("model, way", "windows", "in flight", "windows/s", "median, ms", "p99, ms", "share of the ceiling"),
        "rows": [
            (
                f"{row.model}, {meaning(row.way)}",
                str(row.batch),
                str(row.concurrency),
                text(row.windows_per_s),
                text(row.percentile_ms("p50"), ".0f") if row.samples else "",
                text(row.percentile_ms("p99"), ".0f") if row.samples else "",
                text(report.share_of_ceiling(row), ".0%") if row.samples else "",
            )
            for row in report.rows
        ],
    }


def _summary_cells(found: tuple[float | None, ...]) -> list[str]:
    eager, direct, served, speedup_1, batch, speedup_n, cost, share = found
    largest = text(speedup_n, ".2f") + ("" if speedup_n is None else f" (batch {batch:.0f})")
    return [
        *(text(rate) for rate in (eager, direct, served)),
        *(text(speedup_1, ".2f"), largest, text(cost, "+.1%"), text(share, ".0%")),
    ]


def _overall(report: Report) -> Iterator[Picture]:
    """Models beside one another."""
    found = {model: summary(report, model) for model in report.models}
    if any(one[3] is not None for one in found.values()):
        bars = {"batch 1": [one[3] for one in found.values()], "largest batch": [one[5] for one in found.values()]}
        yield Picture(
            "Speed-up over eager PyTorch",
            pictures.grouped(bars, list(found), y="times as fast"),
            "Triton through gRPC, one request at a time, over the authors' computation at the same batch.",
        )
    shares = {
        name: [report.share_of_ceiling(row) if (row := report.best(model, way)) else None for model in found]
        for name, way in (("eager", EAGER), ("ONNX Runtime", DIRECT), ("Triton", SERVED))
    }
    if any(share is not None for each in shares.values() for share in each):
        percent = {name: [None if share is None else 100 * share for share in each] for name, each in shares.items()}
        yield Picture(
            "Share of the machine's rate of matrix products",
            pictures.grouped(percent, list(found), y="%"),
            "Arithmetic of a window, nothing computed twice, times windows a second, over the rate of plain products.",
        )


def _of_model(report: Report, model: str) -> Iterator[Picture]:
    rows = [row for row in report.rows if row.model == model and row.samples]
    swept = [row for row in rows if row.way == SERVED and row.batch == 1]
    if swept:
        yield from _sweep(report, model, swept)
    ways = list(dict.fromkeys(row.way for row in rows if row.way.startswith(PYTORCH)))
    if ways:
        yield Picture(
            "Windows a second by batch",
            pictures.lines(
                {
                    way.removeprefix(PYTORCH): [(row.batch, row.windows_per_s or 0.0) for row in rows if row.way == way]
                    for way in ways
                },
                x="windows of a call",
                y="windows/s",
            ),
            "In this process, without a server.",
        )


def _sweep(report: Report, model: str, swept: list[Row]) -> Iterator[Picture]:
    """Pictures over the requests in flight, one window each."""
    in_flight, places = "requests in flight", [str(row.concurrency) for row in swept]
    levels = {
        f"{name}, best": row.windows_per_s
        for name, way in (("ONNX Runtime in-process", DIRECT), ("eager", EAGER))
        if (row := report.best(model, way)) and row.windows_per_s
    }
    yield Picture(
        "Throughput",
        pictures.lines(
            {"Triton": [(row.concurrency, row.windows_per_s or 0.0) for row in swept]},
            x=in_flight,
            y="windows/s",
            levels=levels,
        ),
        "Requests of one window.",
    )
    yield Picture(
        "Latency",
        pictures.lines(
            {
                name: [(row.concurrency, value) for row in swept if (value := row.percentile_ms(name)) is not None]
                for name in ("p50", "p90", "p99")
            },
            x=in_flight,
            y="ms",
        ),
        "Percentiles of a request, as perf_analyzer's client sees them.",
    )
    sizes = sorted({size for row in swept for size in row.batches})
    executed = [sum(row.batches.values()) or 1 for row in swept]
    shares = {
        str(size): [100 * row.batches.get(size, 0) / whole for row, whole in zip(swept, executed, strict=True)]
        for size in sizes
    }
    yield Picture(
        "Windows in a batch",
        pictures.stacked(shares, places, x=in_flight, y="% of executions"),
        "How many windows Triton's batcher put together; on a CPU the backend takes a batch apart again.",
    )
    yield Picture(
        "Where the time goes",
        pictures.stacked(
            {PHASE_NAMES[phase]: [row.phase_ms(phase) or 0.0 for row in swept] for phase in PHASES},
            places,
            x=in_flight,
            y="ms of a request",
        ),
        "A request's mean time inside the server, from Triton's statistics.",
    )
