"""Measure, judge, print, write: the command itself."""

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dfclient.audio import load
from dfclient.clips import clips_from
from dfcontract.card import ModelCard
from dfcontract.tensors import WARMUP_FILE, Samples
from dfcontract.windows import cut
from dfdeploy.errors import DeployError
from dfdeploy.tune import settings
from dfdeploy.tune.candidates import Candidate, candidates, commands_for_others, reference
from dfdeploy.tune.measure import Measured, Setting, measure, thread_counts

CPU_INFO = Path("/proc/cpuinfo")
# Another runtime in fp32 rounds in other places; fewer bits move logits by a hundred times as much.
SAME_LOGITS = 1e-3
MIN_RECORDINGS, MIN_CORRELATION = 100, 0.999


@dataclass(frozen=True)
class Drift:
    """A candidate's answers against those of the fp32 build.

    Attributes:
        recordings: how many were scored.
        largest, mean: difference of a logit.
        correlation: Pearson's, of the scores; None for fewer than three.
    """

    recordings: int
    largest: float
    mean: float
    correlation: float | None

    @property
    def objection(self) -> str:
        """Why the candidate is not to be served in place of the fp32 build; empty where it may."""
        if self.largest <= SAME_LOGITS:
            return ""
        if self.recordings < MIN_RECORDINGS or self.correlation is None:
            return f"judged on {self.recordings} of {MIN_RECORDINGS} recordings: give more with --audio"
        if not self.correlation >= MIN_CORRELATION:
            return f"its scores correlate by {self.correlation:.4f} with fp32's, wanted {MIN_CORRELATION}"
        return ""


def drift_of(card: ModelCard, fp32: NDArray[np.float64], logits: NDArray[np.float64]) -> Drift:
    """Compare logits (n, 2); a softmax score is taken as its log-odds, which rank alike."""
    difference = np.abs(logits - fp32)
    ours, theirs = (pair[:, 1] - pair[:, 0] if card.score_kind == "softmax" else pair[:, 1] for pair in (fp32, logits))
    can_correlate = len(fp32) > 2 and float(np.std(ours)) > 0 and float(np.std(theirs)) > 0
    correlation = float(np.corrcoef(ours, theirs)[0, 1]) if can_correlate else None
    return Drift(len(fp32), float(difference.max()), float(difference.mean()), correlation)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Measure, print, write; the exit status of ``dfdeploy tune``."""
    found = candidates(arguments.repository, arguments.model)
    if arguments.undo:
        return _undo(found[0], console)
    fp32 = reference(found)
    windows = read_windows(fp32, arguments.audio)
    cores = max(thread_counts())
    with console.status(f"measuring {escape(', '.join(one.name for one in found))}"):
        measured, left_out = measure(
            found,
            windows,
            threads=arguments.threads or thread_counts(),
            batches=sorted({1, *arguments.batch}),
            rounds=arguments.rounds,
            environment_dir=arguments.server_env,
        )
    by_name = {figures.candidate.name: figures for figures in measured}
    for name, reason in left_out.items():
        console.print(f"{escape(name)} can't be measured: {escape(reason)}")
    if fp32.name not in by_name:
        raise DeployError(f"{fp32.name}, the fp32 build, can't be measured, so there is nothing to compare with")
    truth = by_name[fp32.name].logits
    drifts = {name: drift_of(fp32.card, truth, figures.logits) for name, figures in by_name.items()}
    console.print(_table(measured, drifts))
    console.print(f"[dim]{machine()}; {_recordings(len(windows))}, medians of {arguments.rounds} turns[/]")
    for command in commands_for_others(found):
        console.print(f"not measured, since it is not built: {escape(command)}")
    _conclude(measured, drifts, arguments, cores, console)
    return 0


def read_windows(one: Candidate, audio: Sequence[str] | None) -> Samples:
    """The first window of each recording; without any the one beside the model."""
    card = one.card
    if not audio:
        return np.fromfile(one.folder / WARMUP_FILE, "<f4")[None]
    waveforms = (load(clip.path, card.sample_rate_hz).samples for clip in clips_from(audio))
    return np.stack([cut(waveform, 0, card.window_samples, card.pre_emphasis) for waveform in waveforms])


def machine() -> str:
    """The CPU's own name, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {cores} cores"


def _table(measured: Sequence[Measured], drifts: dict[str, Drift]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("build", no_wrap=True)
    for heading in ("threads", "batch", "windows/s", "drift", "correlation"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figures in measured:
        card, drift, best = figures.candidate.card, drifts[figures.candidate.name], figures.best()
        build = f"{card.format} {card.precision}"
        correlation = "" if drift.correlation is None else f"{drift.correlation:.5f}"
        for setting in figures.seconds:
            counts = (str(setting.threads), str(setting.batch), f"{figures.rate(setting):.2f}")
            style = "bold" if setting == best else None
            table.add_row(card.model, build, *counts, f"{drift.largest:.2g}", correlation, style=style)
    return table


def _conclude(
    measured: Sequence[Measured],
    drifts: dict[str, Drift],
    arguments: argparse.Namespace,
    cores: int,
    console: Console,
) -> None:
    """Write each model's own best setting, and say which model is the fastest that may stand for fp32."""
    for figures in measured:
        one, best = figures.candidate, figures.best()
        if not arguments.dry_run:
            settings.write(
                one.folder,
                threads=None if best.threads == cores else best.threads,
                max_batch_size=best.batch,
                note=_note(figures, best),
            )
            where = one.folder / settings.CPU
            console.print(f"{escape(one.name)}: {_words(best)}, written to {escape(str(where))}")
        if objection := drifts[one.name].objection:
            console.print(f"{escape(one.name)} is not proposed: {objection}")
    fit = [figures for figures in measured if not drifts[figures.candidate.name].objection]
    fastest = max(fit, key=lambda figures: figures.rate(figures.best()))
    name = escape(fastest.candidate.name)
    console.print(f"fastest: {name}, {_words(fastest.best())}; score with --model {name}")
    if not arguments.dry_run:
        console.print("a server takes it up at its next start; dfdeploy tune NAME --undo takes it back")


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"


def _words(setting: Setting) -> str:
    threads = "1 thread" if setting.threads == 1 else f"{setting.threads} threads"
    return f"{threads}, {'one clip' if setting.batch == 1 else f'up to {setting.batch} clips'} at a time"


def _note(figures: Measured, best: Setting) -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{today}, {machine()}: {figures.rate(best):.2f} windows/s, {_words(best)}"


def _undo(one: Candidate, console: Console) -> int:
    changed = settings.undo(one.folder)
    console.print(f"{escape(one.name)}: {'as it was built' if changed else 'nothing to undo'}")
    return 0
