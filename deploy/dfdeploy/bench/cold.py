"""From nothing to the first score: how long `dfdeploy serve` takes until each of its models has answered."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from dfclient.errors import ServerError
from dfclient.transport import Transport
from dfcontract.tensors import WARMUP_FILE, Samples
from dfdeploy import ports
from dfdeploy.errors import ServerFailed

TIMEOUT_S = 300.0
POLL_S = 0.02


def first_scores_s(repository: Path, models: list[str], *, profile: str, environment_dir: Path | None) -> float:
    """Seconds from the command to the last of the models' first answers, as a client that waits for them sees it.

    Args:
        repository: what is served, all of it.
        models: that must answer.
        profile: ``cpu`` or ``gpu``.
        environment_dir: the server's environment; default see `environment.default_folder`.

    Raises:
        ServerFailed: the server ended, or did not answer in time.
    """
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    command = [sys.executable, "-m", "dfdeploy", "serve", f"--repository={repository}", f"--profile={profile}"]
    command += [f"--{name}-port={port}" for name, port in chosen.items()]
    command += [f"--server-env={environment_dir}"] if environment_dir else []
    waveforms = {model: np.fromfile(repository / model / WARMUP_FILE, "<f4") for model in models}
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as log:  # no pipe, which would stop whoever says more than it holds
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

        def wait_until(is_there: Callable[[], bool]) -> None:
            _wait(process, log, began_s, is_there)

        try:
            # A channel that is refused waits a second before it tries again, so it is opened when somebody listens.
            wait_until(partial(_listens, chosen["grpc"]))
            with closing(Transport(f"{ports.LOOPBACK}:{chosen['grpc']}")) as transport:
                for model, waveform in waveforms.items():
                    wait_until(partial(_answers, transport, model, waveform))
            return time.monotonic() - began_s
        finally:
            process.terminate()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", log: IO[bytes], began_s: float, is_there: Callable[[], bool]) -> None:
    while not is_there():
        if process.poll() is not None:
            log.seek(0)
            words = log.read().decode(errors="replace").strip()
            raise ServerFailed(f"dfdeploy serve ended with status {process.returncode}: {words}")
        if time.monotonic() - began_s > TIMEOUT_S:
            raise ServerFailed(f"dfdeploy serve gave no score within {TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((ports.LOOPBACK, port)) == 0


def _answers(transport: Transport, model: str, waveform: Samples) -> bool:
    try:
        transport.infer(model, "", waveform)
    except ServerError:
        return False
    return True
