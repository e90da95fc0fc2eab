"""Load of live streams on the embedded server; prints the tables of docs/live.md.

Real-time streams of noise in chunks of 0.1 s, begun at random moments within a hop of one window. Latency: from the
moment a window's last sample is handed to the client to the moment its score can be read. Memory: what Triton and
its backends hold alone and in shared memory, without the files they map.

    python benchmarks/live_streams.py [--repository DIR] [--model NAME] [--streams N…] [--seconds S]
"""

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from dfclient import Detector
from dfdeploy.embedded import Server

CHUNK_S = 0.1
ROUNDS = 12  # single inferences; full load takes four times as many windows


@dataclass
class Latencies:
    """Seconds from a window's last sample to its score, of all streams."""

    values: list[float] = field(default_factory=list)

    def row(self, name: str, hop_s: float, memory: int) -> str:
        """A line of the table."""
        p50, p99, worst = np.percentile(self.values, [50, 99, 100]) * 1e3
        late = sum(value > hop_s for value in self.values)
        return f"| {name} | {len(self.values)} | {p50:.0f} | {p99:.0f} | {worst:.0f} | {late} | {memory / 2**20:.0f} |"


def memory_of(server: Server) -> int:
    """Bytes that the server and its backends hold, shared memory counted once, mapped files not at all."""
    triton, total = psutil.Process(server.pid), 0
    for process in [triton, *triton.children(recursive=True)]:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total * 1024


async def play(detector: Detector, seconds: float, delay_s: float, latencies: Latencies) -> None:
    """One stream at the pace of its audio."""
    rate_hz, window_s = detector.card.sample_rate_hz, detector.card.window_s
    chunk = np.random.default_rng(1).normal(0, 0.05, round(CHUNK_S * rate_hz)).astype(np.float32)
    await asyncio.sleep(delay_s)
    async with detector.stream_async() as live:
        handed_s: list[float] = []  # when each chunk was handed to the client

        async def speak() -> None:
            started_s = time.monotonic()
            for number in range(round(seconds / CHUNK_S)):
                await asyncio.sleep(max(0.0, started_s + number * CHUNK_S - time.monotonic()))
                handed_s.append(time.monotonic())
                await live.send(chunk)
            await asyncio.sleep(window_s)  # for answers that are late
            await live.close()

        speaking = asyncio.create_task(speak())
        async for window in live.follow():
            completing = int(np.ceil(round(window.end_s * rate_hz) / len(chunk))) - 1
            latencies.values.append(time.monotonic() - handed_s[completing])
        await speaking


async def load(detector: Detector, streams: int, seconds: float) -> Latencies:
    """Many streams at once, begun at random moments within one window."""
    latencies = Latencies()
    delays_s = np.random.default_rng(streams).uniform(0, detector.card.window_s, streams)
    await asyncio.gather(*(play(detector, seconds, float(delay_s), latencies) for delay_s in delays_s))
    return latencies


def inference_ms(detector: Detector, concurrency: int, windows: int) -> float:
    """Milliseconds that a window takes on average, with ``concurrency`` of the ``windows`` in flight."""
    waveforms = np.random.default_rng(2).normal(0, 0.05, (windows, detector.card.window_samples)).astype(np.float32)
    started_s = time.monotonic()
    detector.infer(waveforms, concurrency=concurrency)
    return (time.monotonic() - started_s) / windows * 1e3


def overhead_ms(detector: Detector, rounds: int) -> float:
    """How much longer the answer to a streamed window's last chunk takes than that to a window sent whole: the median.

    The two take turns, so that a busy machine slows both.
    """
    window = np.random.default_rng(3).normal(0, 0.05, detector.card.window_samples).astype(np.float32)
    last = len(window) - round(CHUNK_S * detector.card.sample_rate_hz)
    differences = []
    with detector.stream() as live:
        for _ in range(rounds):
            live.send(window[:last])
            time.sleep(0.02)
            started_s = time.monotonic()
            live.send(window[last:])
            next(iter(live))
            differences.append(time.monotonic() - started_s - inference_ms(detector, 1, 1) / 1e3)
    return float(np.median(differences)) * 1e3


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--model", default="aasist_l")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 25])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each stream")
    arguments = parser.parse_args(argv)
    with Server(arguments.repository) as server, Detector(server.grpc_url, arguments.model) as detector:
        single_ms = np.median([inference_ms(detector, 1, 1) for _ in range(ROUNDS)])
        busy_ms = inference_ms(detector, 8, 4 * ROUNDS)
        hop_s = detector.card.window_s
        print(f"{arguments.model}: one window alone {single_ms:.0f} ms, {1e3 / busy_ms:.1f} windows/s at full load, so")
        print(f"80 % of the machine is {0.8 * 1e3 / busy_ms * hop_s:.0f} streams with a hop of {hop_s:.2f} s")
        print(f"a streamed window takes {overhead_ms(detector, 3 * ROUNDS):.1f} ms more than one sent whole")
        print(f"memory before: {memory_of(server) / 2**20:.0f} MB\n")
        print("| real-time streams | windows | p50 ms | p99 ms | worst ms | later than a hop | server MB |")
        print("|---|---|---|---|---|---|---|")
        for streams in arguments.streams:
            latencies = asyncio.run(load(detector, streams, arguments.seconds))
            print(latencies.row(str(streams), hop_s, memory_of(server)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
