"""How fast is it? Every way to run each model in turns: eager PyTorch, ONNX Runtime, the server under load, the client.

A program that prints tables and writes JSON, CSV and a page; never a test: a figure belongs to the machine that it was
measured on.
"""

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dfclient import perfdata
from dfclient.clips import Clip
from dfclient.detector import DEFAULT_CONCURRENCY
from dfcontract.card import ModelCard
from dfcontract.tensors import WARMUP_FILE
from dfcontract.windows import SLIDING, Windowing
from dfdeploy import environment
from dfdeploy.bench import cold, in_process, overhead, report, rounds, workers
from dfdeploy.bench.client_rate import ClientRate, Speech, client_rate, speech
from dfdeploy.bench.figures import Ceiling, Report, Row
from dfdeploy.bench.machine_facts import measured_on
from dfdeploy.bench.overhead import Overhead
from dfdeploy.bench.perf_analyzer import PerfAnalyzer
from dfdeploy.bench.rounds import QUICK, Plan
from dfdeploy.bench.workers import NotMeasured, Worker
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError, RepositoryUnusable
from dfdeploy.repository import built_models, parameters, read_config

SENT_WINDOWS = 16  # of real speech, sent in turn
HOP_S = 1.0
QUICK_CLIPS, QUICK_CALLS = 12, 5
# What the client scores takes some half a minute: beside that its own start, half a second, is what users feel of it.
CLIENT_S, LEAST_CLIPS, MOST_CLIPS = 25.0, 24, 300
PRECISIONS = ["fp32", "bf16", "int8", "fp16"]
WANTED_OVERHEAD_PERCENT = 5.0
WANTED_CLIENT_PERCENT = 95.0
WANTED_COST_AT_SATURATION = 0.03


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Measure, print, write.

    Args:
        arguments: of ``dfdeploy bench``.
        console: for the tables.

    Returns:
        The exit status: 1 when a wanted figure was missed; a quick round is too short to miss one.
    """
    _check_can_be_written(arguments.out)
    models = _models(arguments.repository, arguments.model)
    if arguments.in_process:
        found = in_process.measure(arguments, models, console)
        _finish(found, arguments.out, console)
        return 0
    analyzer = PerfAnalyzer(arguments.perf_analyzer)
    found, overheads, clients = _measure_all(arguments, analyzer, models, console)
    for table in (_overhead_table(overheads), _client_table(clients), _summary_table(found)):
        console.print(table)
    _finish(found, arguments.out, console)
    return 0 if arguments.quick or _is_good(found, overheads, clients) else 1


def _models(repository: Path, asked: list[str] | None) -> list[str]:
    # A model without a known waveform is not a detector but the live one beside it.
    built = [name for name in built_models(repository) if (repository / name / WARMUP_FILE).is_file()]
    if unknown := sorted(set(asked or []) - set(built)):
        raise RepositoryUnusable(f"no {', '.join(unknown)} in {repository}, only {', '.join(built)}")
    return asked or built


def _check_can_be_written(out: Path) -> None:
    """Before anything is measured: that takes minutes, which a mistyped folder would cost."""
    if not out.parent.is_dir():
        raise DeployError(f"--out {out}: there is no folder {out.parent}; make it, or name another")
    if out.is_dir():
        raise DeployError(f"--out {out} is a folder: name a file in it")
    if out.suffix != ".json":
        raise DeployError(f"--out {out}: expected a name that ends in .json; a .csv and an .html come beside it")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise DeployError(f"--out {out}: can't be written; name another")


def _measure_all(
    arguments: argparse.Namespace, analyzer: PerfAnalyzer, models: list[str], console: Console
) -> tuple[Report, dict[str, Overhead], dict[str, ClientRate]]:
    facts = measured_on() | _versions(arguments)
    rows: list[Row] = []
    ceilings: list[Ceiling] = []
    gflop: dict[str, float] = {}
    rates: list[tuple[str, str, float]] = []
    overheads: dict[str, Overhead] = {}
    clients: dict[str, ClientRate] = {}
    for model in models:
        with console.status(f"measuring {escape(model)}"), ExitStack() as stack:
            if workers.is_onnx(arguments.repository / model):
                overheads[model] = _overhead(arguments, model)
            pytorch, known = _pytorch(arguments, model, stack)
            server = stack.enter_context(_server(arguments))
            window_s = overhead.window_s(server, model)
            clips = stack.enter_context(_speech(arguments, known, window_s))
            facts |= {"speech": clips.described} | ({"PyTorch": str(known["torch"])} if known else {})
            gflop |= {model: known["gflop"]} if known else {}
            data = stack.enter_context(_sent(arguments.repository / model, clips.sources))
            found = rounds.measure(
                server,
                analyzer,
                model,
                data,
                plan=_plan(arguments, model, window_s),
                pytorch=pytorch,
                environment_dir=arguments.server_env,
            )
            rows += found[0]
            ceilings += found[1]
            clients[model] = client_rate(server, analyzer, model, data, clips.folder)
            if not rates and not isinstance(pytorch, str):
                rates = [tuple(rate) for rate in pytorch.ask(ask="gemm", precisions=PRECISIONS)["rates"]]
    with console.status("measuring a cold start"):
        cold_s = cold.first_scores_s(
            arguments.repository, models, profile=arguments.profile, environment_dir=arguments.server_env
        )
    facts["load after"] = f"{os.getloadavg()[0]:.1f}"
    facts["cold start"] = f"{cold_s:.1f} s from dfdeploy serve to the first score of {', '.join(models)}"
    extra = {
        "overhead": {name: dataclasses.asdict(one) | {"percent": one.percent} for name, one in overheads.items()},
        "client": {name: dataclasses.asdict(one) | {"percent": one.percent} for name, one in clients.items()},
        "cold_start_s": cold_s,
    }
    return Report(facts, rows, gflop, ceilings, rates, {}, extra), overheads, clients


def _overhead(arguments: argparse.Namespace, model: str) -> Overhead:
    calls = QUICK_CALLS if arguments.quick else arguments.calls
    return overhead.measure(
        arguments.repository,
        model,
        profile=arguments.profile,
        calls=calls,
        environment_dir=arguments.server_env,
    )


def _plan(arguments: argparse.Namespace, model: str, window_s: float) -> Plan:
    largest = max(read_config(arguments.repository / model, arguments.profile).max_batch_size, 1)
    if arguments.quick:
        return QUICK.up_to(largest)
    plan = Plan(tuple(arguments.concurrency), tuple(arguments.batch), arguments.rounds)
    return plan.up_to(largest).taking(window_s)


def _server(arguments: argparse.Namespace) -> Server:
    return Server(arguments.repository, profile=arguments.profile, environment_dir=arguments.server_env)


def _pytorch(arguments: argparse.Namespace, model: str, stack: ExitStack) -> tuple[Worker | str, dict[str, Any]]:
    """The process that runs a model's network and what it says of it; or why there is none, and nothing."""
    device = "cuda" if arguments.profile == "gpu" else "cpu"
    try:
        worker = stack.enter_context(workers.pytorch(arguments.repository / model, device))
        return worker, worker.ask(ask="describe")
    except NotMeasured as error:
        return str(error), {}


def _speech(arguments: argparse.Namespace, known: dict[str, Any], window_s: float) -> AbstractContextManager[Speech]:
    examples = Path(known["recordings"]) if known else None
    clips = QUICK_CLIPS if arguments.quick else min(max(round(CLIENT_S / window_s), LEAST_CLIPS), MOST_CLIPS)
    return speech(arguments.clips, examples, clips)


@contextmanager
def _sent(model_dir: Path, recordings: list[Path]) -> Iterator[Path]:
    """What perf_analyzer sends: windows of the recordings, every second of them."""
    card = ModelCard.from_parameters(model_dir.name, "", parameters(model_dir))
    windowing = Windowing.checked(card.window_samples, card.sample_rate_hz, SLIDING, HOP_S, clip=card.clip)
    windows = chain.from_iterable(
        perfdata.windows_of(Clip(str(path), path.stem), card, windowing) for path in recordings
    )
    with tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder:
        path = Path(folder) / "sent.json"
        with path.open("w", encoding="utf-8") as file:
            perfdata.write(islice(windows, SENT_WINDOWS), file)
        yield path


def _versions(arguments: argparse.Namespace) -> dict[str, str]:
    """What serves."""
    packages = environment.find(arguments.server_env).packages_dir
    names = (path.name.removesuffix(".dist-info") for path in packages.glob("onnxruntime*.dist-info"))
    return {"server": f"Triton 24.10, profile {arguments.profile}, {', '.join(sorted(names))}"}


def _finish(found: Report, out: Path, console: Console) -> None:
    for reason in dict.fromkeys(report.reasons(found)):
        console.print(f"[yellow]not measured[/] {escape(reason)}")
    machine = found.measured_on["processor"]
    console.print(f"[dim]{escape(machine)}; nothing else should run on it meanwhile[/]")
    console.print(f"written to {escape(', '.join(map(str, report.write(found, out))))}")


def _is_good(found: Report, overheads: dict[str, Overhead], clients: dict[str, ClientRate]) -> bool:
    costs = [report.serving_cost(found, model) for model in found.models]
    return (
        all(one.percent <= WANTED_OVERHEAD_PERCENT for one in overheads.values())
        and all(one.percent >= WANTED_CLIENT_PERCENT for one in clients.values())
        and all(cost is None or cost <= WANTED_COST_AT_SATURATION for cost in costs)
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _overhead_table(overheads: dict[str, Overhead]) -> Table:
    table = _table(
        f"Overhead: one request at a time, queue delay 0 (wanted: at most {WANTED_OVERHEAD_PERCENT:.0f} %)",
        *("model", "session.run, ms", "gRPC, ms", "overhead", "slowest, ms"),
    )
    for model, cost in overheads.items():
        mark = _mark(cost.percent <= WANTED_OVERHEAD_PERCENT, f"{cost.percent:+.1f} %")
        table.add_row(
            escape(model), f"{cost.direct_ms:.1f}", f"{cost.served_ms:.1f}", mark, f"{cost.served_maximum_ms:.0f}"
        )
    return table


def _client_table(clients: dict[str, ClientRate]) -> Table:
    table = _table(
        f"Client: dfclient score, start to end, {DEFAULT_CONCURRENCY} in flight "
        f"(wanted: at least {WANTED_CLIENT_PERCENT:.0f} %)",
        *("model", "clips", "server, windows/s", "client, clips/s", "of the server's"),
    )
    for model, rate in clients.items():
        mark = _mark(rate.percent >= WANTED_CLIENT_PERCENT, f"{rate.percent:.1f} %")
        table.add_row(escape(model), str(rate.clips), f"{rate.server_per_s:.2f}", f"{rate.client_per_s:.2f}", mark)
    return table


def _summary_table(found: Report) -> Table:
    short, *_ = report.tables(found)
    table = _table("Windows a second at the best load (the page has the rest)", *short["header"])
    for row in short["rows"]:
        table.add_row(*map(escape, row))
    return table


def _mark(good: bool, text: str) -> str:
    return f"[{'green' if good else 'red'}]{text}[/]"
