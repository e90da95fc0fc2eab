"""Speed and answers of candidates, measured in turns, so that what else the machine does hits all of them."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfcontract.tensors import Samples
from dfdeploy import environment
from dfdeploy.errors import DeployError
from dfdeploy.tune import worker
from dfdeploy.tune.candidates import FP32, Candidate

# A larger batch has to gain more than what two measurements of the same differ by.
LEAST_GAIN = 1.03


class CantMeasure(DeployError):
    """A candidate can't be run here; the text says why."""


@dataclass(frozen=True)
class Setting:
    """How a model is run."""

    threads: int
    batch: int


@dataclass
class Measured:
    """One candidate's figures.

    Attributes:
        candidate: which.
        seconds: setting → what its batches took.
        logits: of each window, (n, 2).
    """

    candidate: Candidate
    seconds: dict[Setting, list[float]] = field(default_factory=dict)
    logits: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))

    def rate(self, setting: Setting) -> float:
        """Windows a second, by the median batch."""
        return setting.batch / float(np.median(self.seconds[setting]))

    def best(self) -> Setting:
        """The fastest; of one number of threads the smallest batch that no larger one beats by more than the noise."""
        chosen = []
        for threads in sorted({setting.threads for setting in self.seconds}, reverse=True):
            batches = sorted((one for one in self.seconds if one.threads == threads), key=lambda one: one.batch)
            best = batches[0]
            for setting in batches[1:]:
                best = setting if self.rate(setting) > LEAST_GAIN * self.rate(best) else best
            chosen.append(best)
        return max(chosen, key=self.rate)  # the first of equals: all cores


def measure(
    found: Sequence[Candidate],
    windows: Samples,
    *,
    threads: Sequence[int],
    batches: Sequence[int],
    rounds: int,
    environment_dir: Path | None,
) -> tuple[list[Measured], dict[str, str]]:
    """Answers of each candidate, then its speed in each setting, in turns.

    Args:
        found: what to measure.
        windows: (n, window_samples).
        threads, batches: to try; a candidate's own limit cuts off larger batches.
        rounds: how often each setting's batch is run.
        environment_dir: the server's environment; default see `environment.default_folder`.

    Returns:
        The figures, and the models that can't be run here, each with the reason.
    """
    left_out: dict[str, str] = {}
    measured: list[Measured] = []
    server = environment.find(environment_dir)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dfserve-tune-")))
        server.write_backends(folder)
        np.save(folder / "windows.npy", windows)
        workers: dict[tuple[str, int], _Worker] = {}
        for one in found:
            try:
                for count in threads:
                    workers[one.name, count] = stack.enter_context(_open(one, count, server, folder))
            except CantMeasure as error:
                left_out[one.name] = str(error)
            else:
                settings: dict[Setting, list[float]] = {
                    Setting(n, size): [] for n in threads for size in batches if size <= one.max_batch_size
                }
                measured.append(Measured(one, settings))
        for figures in measured:
            figures.logits = np.array(workers[figures.candidate.name, threads[0]].ask("logits"), float)
        for turn in range(rounds + 1):
            _take_turns(measured, workers, keep=turn > 0)  # memory is taken in the first
    return measured, left_out


def _take_turns(measured: Sequence[Measured], workers: "Mapping[tuple[str, int], _Worker]", *, keep: bool) -> None:
    for figures in measured:
        for setting, seconds in figures.seconds.items():
            took_s = workers[figures.candidate.name, setting.threads].ask(setting.batch)
            if keep:
                seconds.append(float(took_s))


class _Worker:
    """A candidate with a number of threads, in a process of the server's Python."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name, self.process = name, process

    def ask(self, what: "str | int | None") -> Any:
        """The answer to a line; None asks for nothing, and waits until it is ready.

        Raises:
            CantMeasure: it can't, or has died.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise CantMeasure("its process has no pipes")
        if what is not None:
            with suppress(BrokenPipeError):  # then there is no answer, either
                stdin.write(json.dumps(what) + "\n")
                stdin.flush()
        line = stdout.readline()
        answer = json.loads(line) if line else {"error": "its process has died; its words are above"}
        if isinstance(answer, dict) and "error" in answer:
            raise CantMeasure(answer["error"])
        return answer


@contextmanager
def _open(one: Candidate, threads: int, server: environment.ServerEnvironment, folder: Path) -> Iterator[_Worker]:
    command = [server.folder / "bin" / "python", worker.__file__, folder / one.backend, one.backend]
    build = one.card.precision or FP32, one.max_batch_size
    options = [one.version_folder, threads, *build, folder / "windows.npy"]
    process = subprocess.Popen(
        list(map(str, [*command, *options])),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=server.variables(),
    )
    try:
        opened = _Worker(one.name, process)
        opened.ask(None)
        yield opened
    finally:
        process.kill()
        process.wait()


def thread_counts() -> list[int]:
    """All cores that this process may use, and half of them."""
    cores = len(os.sched_getaffinity(0))
    return sorted({cores, max(cores // 2, 1)}, reverse=True)
