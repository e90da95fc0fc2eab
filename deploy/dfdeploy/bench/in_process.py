"""`dfdeploy bench --in-process`: a detector's network in PyTorch, without Triton: precisions, TorchScript, CUDA graphs.

For a machine that has a GPU and PyTorch and no server. Batches and ways take turns, as everything here does.
"""

import argparse
from collections.abc import Iterator
from functools import partial

from rich.console import Console
from rich.markup import escape

from dfdeploy.bench import workers
from dfdeploy.bench.figures import PYTORCH, Ceiling, Report, Row
from dfdeploy.bench.machine_facts import measured_on
from dfdeploy.bench.rounds import PRODUCTS, QUICK, Plan, Turn, as_ceiling, in_turns, products_turn, timed
from dfdeploy.bench.workers import NotMeasured, Worker

BATCHES = {"cpu": (1, 2, 4, 8), "cuda": (1, 2, 4, 8, 16, 32, 64, 128)}
# Of a turn on a GPU, where a call takes milliseconds: this many windows, and this many calls, at least.
CUDA_WINDOWS, CUDA_CALLS = 64, 4
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def measure(arguments: argparse.Namespace, models: list[str], console: Console) -> Report:
    """All ways of each model on ``arguments.device``.

    Raises:
        NotMeasured: no PyTorch, no such device, or a model of no detector known here.
    """
    facts = measured_on() | {"server": "none: in-process"}
    rows: list[Row] = []
    ceilings: list[Ceiling] = []
    gflop: dict[str, float] = {}
    drift: dict[str, dict[str, dict[str, float]]] = {}
    rates: list[tuple[str, str, float]] = []
    for model in models:
        opened = workers.pytorch(arguments.repository / model, arguments.device)
        with console.status(f"measuring {escape(model)}"), opened as worker:
            known = worker.ask(ask="describe")
            facts |= {"device": known["device"], "PyTorch": f"{known['torch']}, {known['threads']} threads"}
            facts[f"weights of {model}"] = known["weights"]
            gflop[model] = known["gflop"]
            ways = _chosen(known["ways"], arguments)
            found = in_turns(list(_turns(worker, model, ways, arguments)), 1 if arguments.quick else arguments.rounds)
            rows += [row for row in found if row.way != PRODUCTS]
            ceilings += [as_ceiling(row) for row in found if row.way == PRODUCTS]
            drift[model] = _drift(worker, ways)
            rates = rates or [tuple(rate) for rate in worker.ask(ask="gemm", precisions=PRECISIONS)["rates"]]
    return Report(facts, rows, gflop, ceilings, rates, drift)


def _chosen(known: dict[str, list[str]], arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Way → its precision and meaning. On a CPU fewer bits are asked for by name: they may take minutes a window."""
    if missing := sorted(set(arguments.ways or []) - set(known)):
        raise NotMeasured(f"no way {', '.join(missing)} on {arguments.device}; known: {', '.join(known)}")
    usual = [name for name, (precision, _) in known.items() if arguments.device == "cuda" or precision == "fp32"]
    return {name: way for name, way in known.items() if name in (arguments.ways or usual)}


def _turns(worker: Worker, model: str, ways: dict[str, list[str]], arguments: argparse.Namespace) -> Iterator[Turn]:
    plan = QUICK if arguments.quick else Plan(batches=BATCHES[arguments.device], rounds=arguments.rounds)
    for batch in plan.batches[:1] if arguments.quick else plan.batches:
        windows = max(CUDA_WINDOWS, CUDA_CALLS * batch) if arguments.device == "cuda" else plan.windows
        for name, (precision, _meaning) in ways.items():
            row = Row(model, f"{PYTORCH}{name}", batch, precision=precision)
            yield Turn(row, partial(timed, worker, batch, windows, ask="time", way=name))
    for precision in dict.fromkeys(precision for precision, _meaning in ways.values()):
        yield products_turn(model, precision, worker)


def _drift(worker: Worker, ways: dict[str, list[str]]) -> dict[str, dict[str, float]]:
    found = {}
    for way in ways:
        try:
            found[way] = worker.ask(ask="drift", way=way)
        except NotMeasured:  # its rows say why
            continue
    return found
