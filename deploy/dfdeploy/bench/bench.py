"""How fast is it? Overhead of serving, throughput of the server, and how much of that the client gets.

A program that prints tables and writes JSON; never a test: a figure belongs to the machine that it was measured on.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dfclient.clips import clips_from
from dfclient.detector import DEFAULT_CONCURRENCY
from dfcontract.tensors import SAMPLE_RATE_HZ, WARMUP_FILE
from dfdeploy.bench import overhead
from dfdeploy.bench.overhead import Overhead
from dfdeploy.bench.perf_analyzer import Load, PerfAnalyzer
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError, RepositoryUnusable
from dfdeploy.repository import built_models, read_config

CLIP_S = 4.5
ROUNDS = 2
WANTED_OVERHEAD_PERCENT = 5.0
WANTED_CLIENT_PERCENT = 95.0


@dataclass(frozen=True)
class ClientRate:
    """``dfclient score`` from its start to its end, beside the server under perf_analyzer, in turns."""

    clips: int
    server_per_s: float
    client_per_s: float

    @property
    def percent(self) -> float:
        """The client's part of what the server can do."""
        return 100 * self.client_per_s / self.server_per_s


@dataclass(frozen=True)
class Figures:
    """Everything about one model."""

    overhead: Overhead | None
    loads: list[Load]
    client: ClientRate


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Measure, print, write.

    Args:
        arguments: of ``dfdeploy bench``.
        console: for the tables.

    Returns:
        The exit status: 1 when a wanted figure was missed.
    """
    _check_can_be_written(arguments.out)
    analyzer = PerfAnalyzer(arguments.perf_analyzer)
    # A model without a known waveform is not a detector but the live one beside it.
    built = [
        name for name in built_models(arguments.repository) if (arguments.repository / name / WARMUP_FILE).is_file()
    ]
    models = arguments.model or built
    if unknown := sorted(set(models) - set(built)):
        raise RepositoryUnusable(f"no {', '.join(unknown)} in {arguments.repository}, only {', '.join(built)}")
    figures = {}
    with _clips(arguments.clips) as clips:
        for model in models:
            with console.status(f"measuring {escape(model)}"):
                figures[model] = _measure(arguments, analyzer, model, clips)
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, profile {arguments.profile}"
    for table in (_overhead_table(figures), _load_table(figures), _client_table(figures)):
        console.print(table)
    console.print(f"[dim]{machine}; nothing else should run on it meanwhile[/]")
    described = {name: _as_json(one) for name, one in figures.items()}
    arguments.out.write_text(json.dumps({"machine": machine, "models": described}, indent=2) + "\n")
    console.print(f"written to {escape(str(arguments.out))}")
    return 0 if all(_is_good(one) for one in figures.values()) else 1


def _check_can_be_written(out: Path) -> None:
    """Before anything is measured: that takes minutes, which a mistyped folder would cost."""
    if not out.parent.is_dir():
        raise DeployError(f"--out {out}: there is no folder {out.parent}; make it, or name another")
    if out.is_dir():
        raise DeployError(f"--out {out} is a folder: name a file in it")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise DeployError(f"--out {out}: can't be written; name another")


def _measure(arguments: argparse.Namespace, analyzer: PerfAnalyzer, model: str, clips: Path) -> Figures:
    cost = None
    if read_config(arguments.repository / model).backend == "onnxruntime":
        cost = overhead.measure(
            arguments.repository,
            model,
            profile=arguments.profile,
            calls=arguments.calls,
            environment_dir=arguments.server_env,
        )
    waveform = np.fromfile(arguments.repository / model / WARMUP_FILE, "<f4")
    waveforms = np.stack([np.roll(waveform, shift) for shift in range(0, 4000, 1000)])
    with Server(arguments.repository, profile=arguments.profile, environment_dir=arguments.server_env) as server:
        loads = [analyzer.measure(server.grpc_url, model, waveforms, level) for level in arguments.concurrency]
        client = _client_rate(server, analyzer, model, waveforms, clips)
    return Figures(cost, loads, client)


def _client_rate(
    server: Server, analyzer: PerfAnalyzer, model: str, waveforms: NDArray[np.float32], clips: Path
) -> ClientRate:
    count = len(clips_from([str(clips)]))  # as many as `dfclient score` finds: a folder may hold a README, too

    def server_per_s() -> float:
        load = analyzer.measure(server.grpc_url, model, waveforms, DEFAULT_CONCURRENCY, requests=count // 3)
        return load.throughput_per_s

    servers, clients = [server_per_s()], []
    for _ in range(ROUNDS):
        clients.append(count / _score(clips, model, server.grpc_url))
        servers.append(server_per_s())
    return ClientRate(count, float(np.mean(servers)), float(np.mean(clients)))


def _score(clips: Path, model: str, url: str) -> float:
    """Seconds that ``dfclient score`` takes, with everything that a user waits for."""
    with tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder:
        command = [sys.executable, "-m", "dfclient", "score", str(clips), f"--model={model}", f"--url={url}"]
        start = time.perf_counter()
        finished = subprocess.run([*command, f"--out={folder}/scores.csv"], capture_output=True, text=True, check=False)
        duration_s = time.perf_counter() - start
    if finished.returncode:
        raise DeployError(f"dfclient score failed: {finished.stderr.strip().splitlines()[-1]}")
    return duration_s


@contextmanager
def _clips(given: Path | None) -> Iterator[Path]:
    """The user's recordings, or 300 of noise made by rule: how long a clip takes does not depend on what is in it."""
    if given is not None:
        if not given.is_dir():
            raise DeployError(f"--clips {given} is no folder")
        clips_from([str(given)])  # refuses a folder without audio now, not after minutes of measuring
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder:
        for seed in range(300):
            noise = 0.1 * np.random.default_rng(seed).standard_normal(int(CLIP_S * SAMPLE_RATE_HZ))
            soundfile.write(Path(folder) / f"noise_{seed:03d}.flac", noise, SAMPLE_RATE_HZ)
        yield Path(folder)


def _is_good(figures: Figures) -> bool:
    served_well = figures.overhead is None or figures.overhead.percent <= WANTED_OVERHEAD_PERCENT
    return served_well and figures.client.percent >= WANTED_CLIENT_PERCENT


def _as_json(figures: Figures) -> dict[str, object]:
    described: dict[str, object] = {"throughput": [dataclasses.asdict(load) for load in figures.loads]}
    if figures.overhead is not None:
        described["overhead"] = dataclasses.asdict(figures.overhead) | {"percent": figures.overhead.percent}
    return described | {"client": dataclasses.asdict(figures.client) | {"percent": figures.client.percent}}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _overhead_table(figures: dict[str, Figures]) -> Table:
    table = _table(
        f"Overhead: one request at a time, queue delay 0 (wanted: at most {WANTED_OVERHEAD_PERCENT:.0f} %)",
        *("model", "session.run, ms", "gRPC, ms", "overhead", "slowest, ms"),
    )
    for model, one in figures.items():
        if one.overhead is not None:
            cost = one.overhead
            mark = _mark(cost.percent <= WANTED_OVERHEAD_PERCENT, f"{cost.percent:+.1f} %")
            table.add_row(
                escape(model), f"{cost.direct_ms:.1f}", f"{cost.served_ms:.1f}", mark, f"{cost.served_maximum_ms:.0f}"
            )
    return table


def _load_table(figures: dict[str, Figures]) -> Table:
    table = _table("Throughput: perf_analyzer", "model", "in flight", "windows/s", "median, ms", "p99, ms")
    for model, one in figures.items():
        for load in one.loads:
            cells = (f"{load.throughput_per_s:.2f}", f"{load.p50_ms:.0f}", f"{load.p99_ms:.0f}")
            table.add_row(escape(model), str(load.concurrency), *cells)
    return table


def _client_table(figures: dict[str, Figures]) -> Table:
    table = _table(
        f"Client: dfclient score, start to end, {DEFAULT_CONCURRENCY} in flight "
        f"(wanted: at least {WANTED_CLIENT_PERCENT:.0f} %)",
        *("model", "clips", "server, windows/s", "client, clips/s", "of the server's"),
    )
    for model, one in figures.items():
        rate = one.client
        mark = _mark(rate.percent >= WANTED_CLIENT_PERCENT, f"{rate.percent:.1f} %")
        table.add_row(escape(model), str(rate.clips), f"{rate.server_per_s:.2f}", f"{rate.client_per_s:.2f}", mark)
    return table


def _mark(good: bool, text: str) -> str:
    return f"[{'green' if good else 'red'}]{text}[/]"
