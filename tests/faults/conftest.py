"""A ``dfdeploy serve`` to be ill-treated."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from dfdeploy import ports


@dataclass
class Serving:
    """The supervisor, what it has said, and where its server is reached."""

    process: subprocess.Popen[str]
    grpc_port: int
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def said(self) -> str:
        return "".join(self.lines)

    @property
    def n_starts(self) -> int:
        return self.said.count("ready and self-checked")

    def read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def wait_for_start(self, number: int, timeout_s: float = 60) -> None:
        deadline_s = time.monotonic() + timeout_s
        while self.n_starts < number:
            assert time.monotonic() < deadline_s, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.02)

    def triton(self) -> psutil.Process:
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return next(process for process in processes if process.name() == "tritonserver")


@pytest.fixture
def serving(tiny_models: Path) -> Iterator[Serving]:
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    options = [f"--{name}-port={port}" for name, port in chosen.items()]
    command = [sys.executable, "-m", "dfdeploy", "serve", f"--repository={tiny_models}", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    serving = Serving(process, chosen["grpc"])
    reader = threading.Thread(target=serving.read, daemon=True)
    reader.start()
    try:
        serving.wait_for_start(1)
        yield serving
    finally:
        process.terminate()
        process.wait(60)
        for log in re.findall(r"its log: (\S+\.log)", serving.said):
            Path(log).unlink(missing_ok=True)
