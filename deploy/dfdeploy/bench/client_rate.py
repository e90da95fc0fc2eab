"""How much of a server's rate its client gets: ``dfclient score`` as a user runs it, on recordings of speech."""

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

from dfclient.clips import clips_from
from dfclient.detector import DEFAULT_CONCURRENCY
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfdeploy.bench.perf_analyzer import PerfAnalyzer
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError

ROUNDS = 2
CLIP_S = 4.5


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
class Speech:
    """Recordings to measure with.

    Attributes:
        folder: for the client, with as many clips as it takes to measure.
        sources: the recordings, each once.
        described: in words, for the report.
    """

    folder: Path
    sources: list[Path]
    described: str


def client_rate(server: Server, analyzer: PerfAnalyzer, model: str, data: Path, clips: Path) -> ClientRate:
    """Both rates at the client's own concurrency.

    Args:
        server: that serves the model.
        analyzer: what else loads it.
        model: its name.
        data: what perf_analyzer sends.
        clips: a folder of recordings, which the client scores.
    """
    count = len(clips_from([str(clips)]))  # as many as `dfclient score` finds: a folder may hold a README, too

    def server_per_s() -> float:
        requests = max(count // 2, 2 * DEFAULT_CONCURRENCY)
        return analyzer.measure(server.grpc_url, model, data, DEFAULT_CONCURRENCY, requests=requests).windows_per_s

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
def speech(given: Path | None, examples: Path | None, clips: int) -> Iterator[Speech]:
    """The user's recordings, else the examples over and over, else noise.

    Args:
        given: the user's folder.
        examples: a folder of real recordings, where there is one.
        clips: how many the client scores, where the user gives none.
    """
    if given is not None:
        if not given.is_dir():
            raise DeployError(f"--clips {given} is no folder")
        found = clips_from([str(given)])  # refuses a folder without audio now, not after minutes of measuring
        yield Speech(given, [Path(clip.path) for clip in found], f"{len(found)} recordings in {given.name}")
        return
    with tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder:
        if examples is None:
            noise = 0.1 * np.random.default_rng(0).standard_normal(int(CLIP_S * SAMPLE_RATE_HZ))
            soundfile.write(Path(folder) / "noise.flac", noise, SAMPLE_RATE_HZ)
            sources, described = [Path(folder) / "noise.flac"], "none: noise made by rule, no recordings are installed"
        else:
            sources = sorted(examples.glob("*.flac"))
            described = f"the examples: {', '.join(path.stem for path in sources)}"
        (many := Path(folder) / "clips").mkdir()
        for number in range(clips):
            (many / f"{number:03}.flac").symlink_to(sources[number % len(sources)])
        yield Speech(many, sources, described)
