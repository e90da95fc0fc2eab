"""Does a server's memory grow with the requests that it answers? Mixed batch sizes, several in flight.

    python benchmarks/memory.py MODEL_REPOSITORY [--model NAME…] [--requests N] [--largest CLIPS] [--profile cpu]

Memory is the proportional share (PSS) of Triton and its backends, so that what they share counts once. It is read after
the first tenth of the requests, when every batch size has been met, and at the end. A row a model, and exit status 1
where it has grown by 5 % or more.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import tritonclient.grpc as triton

from dfcontract.tensors import SCORE, WARMUP_FILE, WAVEFORM
from dfdeploy.embedded import Server
from dfdeploy.repository import built_models, read_config

ALLOWED_GROWTH = 0.05
IN_FLIGHT = 4


def memory_mb(server: Server) -> float:
    """Proportional share of all processes of a server, 10⁶ bytes."""
    processes = [psutil.Process(pid) for pid in (server.pid, *server.backend_pids)]
    return sum(process.memory_full_info().pss for process in processes) / 1e6


class Load:
    """Requests to one model.

    Args:
        server: the server.
        model: its name.
        waveform: (samples,), what all requests hold, each clip shifted by another amount.
        largest: batch.
    """

    def __init__(self, server: Server, model: str, waveform: "np.ndarray", largest: int) -> None:
        self.model, self.largest = model, largest
        self.client = triton.InferenceServerClient(server.grpc_url)
        self.clips = np.stack([np.roll(waveform, shift) for shift in range(largest)])
        self.noise = np.random.default_rng(0)

    def send(self, count: int) -> None:
        """That many requests, of 1 to the largest number of clips."""
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            if not all(pool.map(self._infer, self._sizes(count))):
                raise RuntimeError(f"{self.model} answered without scores")

    def _sizes(self, count: int) -> Iterator[int]:
        return iter(self.noise.integers(1, self.largest + 1, count).tolist())

    def _infer(self, clips: int) -> bool:
        """Whether each clip got a score."""
        given = triton.InferInput(WAVEFORM, [clips, self.clips.shape[1]], "FP32")
        given.set_data_from_numpy(self.clips[:clips])
        answer = self.client.infer(self.model, [given]).as_numpy(SCORE)
        return answer is not None and answer.shape == (clips, 1)


def measure(repository: Path, model: str, requests: int, largest: int, profile: str) -> tuple[float, float]:
    """Memory in MB after the first tenth of the requests, and after all of them."""
    waveform = np.fromfile(repository / model / WARMUP_FILE, "<f4")
    with Server(repository, profile=profile) as server:
        load = Load(
            server, model, waveform, min(largest, max(read_config(repository / model, profile).max_batch_size, 1))
        )
        load.send(requests // 10)
        before_mb = memory_mb(server)
        load.send(requests - requests // 10)
        return before_mb, memory_mb(server)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--model", nargs="+", metavar="NAME", help="default: every detector in it")
    parser.add_argument("--requests", type=int, default=10_000, help="to each (default: %(default)s)")
    parser.add_argument("--largest", type=int, default=8, metavar="CLIPS", help="of a request (default: %(default)s)")
    parser.add_argument("--profile", default="cpu")
    arguments = parser.parse_args(argv)
    repository: Path = arguments.repository
    detectors = [name for name in built_models(repository) if (repository / name / WARMUP_FILE).is_file()]
    grew = False
    print("| model | requests | MB after a tenth | MB at the end | growth |", "|---|---|---|---|---|", sep="\n")
    for model in arguments.model or detectors:
        before_mb, after_mb = measure(repository, model, arguments.requests, arguments.largest, arguments.profile)
        growth = after_mb / before_mb - 1
        grew = grew or growth >= ALLOWED_GROWTH
        print(f"| {model} | {arguments.requests:,} | {before_mb:.0f} | {after_mb:.0f} | {growth:+.1%} |", flush=True)
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
