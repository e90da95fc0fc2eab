"""Does the proxy shield Triton from clients that hang up? How often Triton died, with the proxy before it and without.

    python benchmarks/disconnects.py [--repository DIR] [--model NAME] [--streams N] [--rounds N]

Each live stream is a call that is cancelled once its first answer is there, which our own client never does: it ends
its streams. Sixteen are open at once, in turns straight to Triton and through nginx with the project's configuration. A
server that died is started again, and streams wait for it. Needs nginx (Debian: nginx-light) and openssl. It prints a
table.
"""

import argparse
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import service_pb2, service_pb2_grpc

from dfclient import Credentials, Detector
from dfcontract.live import AUDIO, live_name
from dfdeploy import ports
from dfdeploy.embedded import Server
from dfdeploy.machine import missing_line, which

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 16
KEY = "a-key"
ANSWER_S = 60.0
ANSWERED = "answers"
WAYS = ("Triton alone", "behind nginx")


@dataclass
class Watched:
    """A server that is started again whenever it dies, and how often that was.

    Attributes:
        failure: why it is watched no longer: from then on no death is counted.
    """

    server: Server
    n_deaths: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None

    def watch(self) -> None:
        """Until `done` is set."""
        try:
            while not self.done.wait(0.1):
                if self.server.failure():
                    self.n_deaths += 1
                    self.server.stop(drain=False)
                    self.server.start()
        except Exception as error:
            self.failure = error

    def check(self) -> None:
        """Raise what ended the watch, where something did: what is measured from then on says nothing."""
        if self.failure is not None:
            raise RuntimeError(f"Triton could not be started again after {self.n_deaths} deaths") from self.failure


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--model", help="default: the first that is served")
    parser.add_argument("--streams", type=int, default=1500, help="in each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default: %(default)s)")
    options = parser.parse_args()
    table = Table("way", "streams", "what came", "deaths of Triton", title="clients that hang up after an answer")
    with Server(options.repository) as server, tempfile.TemporaryDirectory() as folder:
        watched = Watched(server)
        watcher = threading.Thread(target=watched.watch)
        watcher.start()
        try:
            with nginx(Path(folder), server.grpc_url) as (url, credentials):
                ends = ((server.grpc_url, Credentials()), (url, credentials))
                totals = measured(watched, ends, options.model or server.models[0], options.streams, options.rounds)
        finally:
            watched.done.set()
            watcher.join()
    for way, (came, n_deaths) in zip(WAYS, totals, strict=True):
        told = "\n".join(f"{n_times} {what}" for what, n_times in came.most_common())
        table.add_row(way, str(came.total()), told, str(n_deaths))
    Console().print(table)


def measured(
    watched: Watched, ends: tuple[tuple[str, Credentials], ...], model: str, n_streams: int, n_rounds: int
) -> list[tuple[Counter[str], int]]:
    """Of each way, over all its turns: what came of its streams, deaths of Triton."""
    with Detector(ends[0][0], model) as detector:
        window_samples = detector.card.window_samples
    came: list[Counter[str]] = [Counter() for _ in ends]
    deaths, ids = [0 for _ in ends], count(1)
    for _ in range(n_rounds):
        for way, (url, credentials) in enumerate(ends):
            before = watched.n_deaths
            channel = credentials.channel(url, [("grpc.use_local_subchannel_pool", 1)])
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with channel, ThreadPoolExecutor(AT_ONCE) as pool:
                leave = partial(left, stub, credentials.metadata, live_name(model), window_samples)
                for outcome in pool.map(leave, islice(ids, n_streams)):
                    came[way][outcome] += 1
                    if watched.failure is not None:
                        pool.shutdown(cancel_futures=True)
                    watched.check()
            time.sleep(2)  # what a turn has done to the server is this turn's
            watched.check()
            deaths[way] += watched.n_deaths - before
    return list(zip(came, deaths, strict=True))


def left(
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
    metadata: tuple[tuple[str, str], ...],
    model: str,
    window_samples: int,
    number: int,
) -> str:
    """Begin a stream, and cancel its call at the first answer; that, or why none came."""
    hold = threading.Event()

    def messages() -> Iterator[service_pb2.ModelInferRequest]:
        yield chunk(model, number, 2 * window_samples)
        hold.wait(ANSWER_S)

    call = stub.ModelStreamInfer(messages(), metadata=metadata, timeout=ANSWER_S, wait_for_ready=True)
    try:
        return next(iter(call)).error_message.partition(":")[0] or ANSWERED
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    finally:
        call.cancel()
        hold.set()


def chunk(model: str, number: int, n_samples: int) -> service_pb2.ModelInferRequest:
    """The first audio of a stream, and more is to come: noise, in 16 bits."""
    audio = np.random.default_rng(number).integers(-9_000, 9_000, n_samples, dtype="<i2").tobytes()
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[audio])
    tensor = request.inputs.add()
    tensor.name, tensor.datatype = AUDIO, "UINT8"
    tensor.shape.append(len(audio))
    request.parameters["sequence_id"].int64_param = number
    request.parameters["sequence_start"].bool_param = True
    request.parameters["sequence_end"].bool_param = False
    return request


@contextmanager
def nginx(folder: Path, triton: str) -> Iterator[tuple[str, Credentials]]:
    """The project's proxy before a Triton: where it is, and what lets a client in."""
    program = which("nginx")
    if program is None:
        raise SystemExit(str(missing_line("nginx-light")))
    port = ports.resolve({"proxy": 0})["proxy"]
    subprocess.run(
        [ROOT / "deploy/compose/prepare.sh"],
        env=os.environ | {"DFSERVE_SECRETS": str(folder)},
        check=True,
        capture_output=True,
    )
    for name in ("run", "logs"):
        (folder / name).mkdir()
    config = (ROOT / "deploy/proxy/nginx.conf").read_text()
    # One client is all of them here: its quotas would end the measurement.
    files = {
        "nginx.conf": config.replace("limit_conn streams 64;", ""),
        "keys.conf": f'"{KEY}" everybody;\n',
        "upstream.conf": f"server {triton};\n",
        "listen.conf": f"listen 127.0.0.1:{port} ssl http2;\n",
        "clients.conf": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    process = subprocess.Popen([program, "-p", folder, "-c", "nginx.conf", "-e", "logs/error.log", "-g", "daemon off;"])
    try:
        yield f"localhost:{port}", Credentials(tls=True, ca=folder / "tls/server.pem", api_key=KEY)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
