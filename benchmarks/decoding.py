"""What decoding costs, by format; and against another checkout of this project, file by file in turns.

    python benchmarks/decoding.py FOLDER [--files N] [--rounds N] [--other CHECKOUT]

Encodes the first N recordings of a folder in each format and decodes them to 16 kHz again and again. A file's cost is
the least CPU time that it took in any round, since other work on the machine only ever adds to it. With `--other` the
two checkouts decode the same files in the same rounds, each in a process of its own, and take turns to go first.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dfclient import audio

ROOT = Path(__file__).parents[1]
RATE_HZ = 16000
FORMATS = {  # suffix → libsndfile's format and subtype
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


class Worker:
    """A process that decodes with one checkout's client."""

    def __init__(self, checkout: Path) -> None:
        rooms = os.pathsep.join(str(checkout / room) for room in ("contract", "client"))
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env={**os.environ, "PYTHONPATH": rooms},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, paths: list[str]) -> list[float]:
        """CPU time that each of the files takes."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        self._process.stdin.write(json.dumps(paths) + "\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def work() -> int:
    """Answer each line of paths with a line of seconds."""
    for line in sys.stdin:
        seconds = []
        for path in json.loads(line):
            started_s = time.process_time()
            audio.load(path, RATE_HZ)
            seconds.append(time.process_time() - started_s)
        print(json.dumps(seconds), flush=True)
    return 0


def encoded(sources: list[str], suffix: str, folder: Path) -> tuple[list[str], float]:
    """The recordings in one format, and how many seconds they last."""
    import soundfile

    kind, subtype = FORMATS[suffix]
    paths, duration_s = [], 0.0
    for number, source in enumerate(sources):
        waveform = audio.load(source, RATE_HZ)
        path = folder / f"{number}.{suffix}"
        soundfile.write(path, waveform.samples, RATE_HZ, format=kind, subtype=subtype)
        paths.append(str(path))
        duration_s += waveform.duration_s
    return paths, duration_s


def least(workers: list[Worker], paths: list[str], rounds: int) -> list[float]:
    """CPU seconds of all files together with each worker, of each file the least."""
    best = [[float("inf")] * len(paths) for _ in workers]
    for turn in range(rounds):
        for index in range(len(workers)) if turn % 2 == 0 else reversed(range(len(workers))):
            best[index] = list(map(min, best[index], workers[index].seconds(paths)))
    return [sum(seconds) for seconds in best]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    from dfclient.clips import clips_from  # here, since a worker may run an older client, which has no such module

    parser = argparse.ArgumentParser(prog="benchmarks/decoding.py", description=__doc__)
    parser.add_argument("folder", help="recordings of any format")
    parser.add_argument("--files", type=int, default=40, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--other", type=Path, help="another checkout, to compare with")
    arguments = parser.parse_args(argv)
    sources = [clip.path for clip in clips_from([arguments.folder])][: arguments.files]
    table = Table("format", "files", "CPU ms a file", "seconds of audio a CPU second", title="decoding to 16 kHz")
    if arguments.other:
        table.add_column(f"ratio to {arguments.other}")
    workers = [Worker(checkout.resolve()) for checkout in (ROOT, arguments.other) if checkout]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in FORMATS:
            paths, duration_s = encoded(sources, suffix, Path(folder))
            costs_s = least(workers, paths, arguments.rounds)
            cells = [
                suffix,
                str(len(paths)),
                f"{1000 * costs_s[0] / len(paths):.2f}",
                f"{duration_s / costs_s[0]:,.0f}",
            ]
            table.add_row(*cells, *([f"{costs_s[0] / costs_s[1]:.3f}"] if arguments.other else []))
    for worker in workers:
        worker.close()
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(work() if sys.argv[1:] == ["--worker"] else main())
