"""What is left of a server's capacity when ten times as much is asked of it; prints a table.

First as many requests in flight as keep the server busy: its capacity. Then requests at fixed moments, several times
that, whatever comes of them. All from one process without threads; the processor time of this generator, of Triton and
of its backends is measured over the same seconds. Where generator and server share the cores, what the generator takes
more than in the first phase is not the server's to use: the last column is the goodput as a share of the capacity that
the remaining cores would have.

    python benchmarks/overload.py [--repository DIR] [--model NAME] [--seconds S] [--times N…]
"""

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from dfclient.transport import QUEUE_SHARE
from dfcontract.tensors import BEGIN_BY, TIMEOUT, WARMUP_FILE, WAVEFORM
from dfdeploy.embedded import Server

IN_FLIGHT = 16  # for the capacity: two batches of a CPU's
CHANNELS = 4
DEADLINE_S = 30.0
MAY_WAIT_US = round(QUEUE_SHARE * DEADLINE_S * 1e6)
N_CORES = len(os.sched_getaffinity(0))
HEADER = (
    "asked", "requests/s", "answered/s", "rejected after p50 ms", "p99 ms",
    "cores: generator", "Triton", "backends", "share of capacity", "of what the generator left", "what came",
)  # fmt: skip


@dataclass
class Phase:
    """What came of some seconds: answers by status, latencies of rejections, cores in use."""

    seconds: float
    outcomes: Counter[str] = field(default_factory=Counter)
    rejected_after_s: list[float] = field(default_factory=list)
    cores: dict[str, float] = field(default_factory=dict)

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return self.outcomes["OK"] / self.seconds

    def row(self, name: str, capacity: "Phase") -> str:
        """A line of the table."""
        offered = sum(self.outcomes.values()) / self.seconds
        p50, p99 = np.percentile(self.rejected_after_s or [0], [50, 99]) * 1e3
        taken = max(0.0, self.cores["generator"] - capacity.cores["generator"])
        fair = capacity.goodput * (1 - taken / N_CORES)
        cores = " | ".join(f"{self.cores[who]:.2f}" for who in ("generator", "triton", "backends"))
        came = ", ".join(f"{n_times} {status}" for status, n_times in self.outcomes.most_common())
        return (
            f"| {name} | {offered:.0f} | {self.goodput:.1f} | {p50:.1f} | {p99:.1f} | {cores} "
            f"| {self.goodput / capacity.goodput:.2f} | {self.goodput / fair:.2f} | {came} |"
        )


def processor_times(server: Server) -> dict[str, float]:
    """Seconds of processor time so far."""

    def of(pids: list[int]) -> float:
        times = [psutil.Process(pid).cpu_times() for pid in pids]
        return sum(found.user + found.system for found in times)

    return {"generator": of([os.getpid()]), "triton": of([server.pid]), "backends": of(server.backend_pids)}


class Generator:
    """Asks one model for the same window, again and again."""

    def __init__(self, server: Server, model: str, window: bytes) -> None:
        self.server = server
        self.request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[window])
        self.request.parameters[TIMEOUT].int64_param = MAY_WAIT_US
        self.request.inputs.add(name=WAVEFORM, datatype="FP32", shape=[1, len(window) // 4])
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self.channels = [grpc.aio.insecure_channel(server.grpc_url, options) for _ in range(CHANNELS)]
        self.stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in self.channels]

    async def ask(self, number: int, phase: Phase) -> None:
        """One request."""
        began_s = time.perf_counter()
        self.request.parameters[BEGIN_BY].int64_param = time.time_ns() // 1000 + MAY_WAIT_US
        try:
            await self.stubs[number % CHANNELS].ModelInfer(self.request, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            phase.outcomes[error.code().name] += 1
            phase.rejected_after_s.append(time.perf_counter() - began_s)
        else:
            phase.outcomes["OK"] += 1

    async def measure(self, seconds: float, rate_hz: float | None) -> Phase:
        """Some seconds at a fixed rate, or with IN_FLIGHT requests in flight."""
        phase = Phase(seconds)
        before, began_s = processor_times(self.server), time.perf_counter()
        if rate_hz is None:
            await asyncio.gather(*(self._keep_asking(began_s + seconds, phase) for _ in range(IN_FLIGHT)))
        else:
            await self._ask_at(rate_hz, began_s, phase)
        phase.seconds = time.perf_counter() - began_s
        after = processor_times(self.server)
        phase.cores = {who: (after[who] - before[who]) / phase.seconds for who in after}
        return phase

    async def _keep_asking(self, until_s: float, phase: Phase) -> None:
        while time.perf_counter() < until_s:
            await self.ask(0, phase)

    async def _ask_at(self, rate_hz: float, began_s: float, phase: Phase) -> None:
        tasks: set[asyncio.Task[None]] = set()
        number = 0
        while (elapsed_s := time.perf_counter() - began_s) < phase.seconds:
            while number < elapsed_s * rate_hz:
                task = asyncio.create_task(self.ask(number, phase))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)

    async def close(self) -> None:
        """Let the connections go."""
        await asyncio.gather(*(channel.close() for channel in self.channels))


async def run(server: Server, model: str, window: bytes, seconds: float, times: list[float]) -> None:
    """Measure and print."""
    generator = Generator(server, model, window)
    await generator.measure(2, None)
    capacity = await generator.measure(seconds, None)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    print(capacity.row("as capacity", capacity), flush=True)
    for factor in times:
        phase = await generator.measure(seconds, factor * capacity.goodput)
        print(phase.row(f"{factor:g} times", capacity), flush=True)
    await generator.close()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--model", default="aasist_l")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--times", type=float, nargs="+", default=[1.5, 3, 10])
    arguments = parser.parse_args()
    window = (arguments.repository / arguments.model / WARMUP_FILE).read_bytes()
    with Server(arguments.repository) as server:
        asyncio.run(run(server, arguments.model, window, arguments.seconds, arguments.times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
