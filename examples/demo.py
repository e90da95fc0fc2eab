"""``make demo``: export a detector, serve it, score one human and two synthetic recordings, and draw what came out.

It goes a user's way (dfexport, an embedded server, dfclient) in one process, on free ports, and leaves no server. Where
the checkpoint can't be had it says so first, and shows what needs none: that what is served answers as the original
code does, and that server and client agree.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from dfclient import Detector, Score
from dfcontract.card import ModelCard
from dfcontract.errors import DfserveError
from dfcontract.tensors import Samples
from dfdeploy.embedded import Server
from dfexport.errors import CheckpointMissing
from dfexport.registry import DETECTORS, find

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RECORDINGS = {
    "human.flac": "a LibriVox reader",
    "synthetic.flac": "flite, a statistical voice",
    "synthetic_diphone.flac": "flite, pieces of recorded speech",
}
FOLDER = Path(__file__).resolve().parent
# Not the user's own repository: a demonstration replaces nothing that was built on purpose.
REPOSITORY = Path("build/demo_repository")
PICTURE = Path("demo.png")
HUMAN, SYNTHETIC, MEANINGLESS = "#0072b2", "#d55e00", "0.6"
# Logits (spoof, bona fide) of a detector. "published": what its authors' code answers to human.flac with their weights.
# "seeded": to dfexport.signals.wave(1, 2, 3) with weights by rule, recorded when this code answered as theirs on 301
# recordings with the published weights.
GOLDEN = FOLDER / "golden.json"

console = Console(highlight=False)


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; 1 when a part of it failed."""
    parser = argparse.ArgumentParser(prog="examples/demo.py", description="From checkpoint to score, once.")
    parser.add_argument(
        "--model", choices=list(DETECTORS), default="aasist", metavar="NAME", help="a detector (default: %(default)s)"
    )
    parser.add_argument(
        "--weights-dir",
        type=Path,
        default=Path("weights"),
        metavar="DIR",
        help="where its checkpoint is, or is downloaded to (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        choices=("published", "random"),
        default="published",
        help="random: by rule, without a checkpoint; the scores mean nothing (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    try:
        export(arguments.model, arguments.weights_dir, random=arguments.weights == "random")
        scores, proof = serve_and_score(arguments.model)
    except DfserveError as error:
        console.print(f"[bold red]demo: error:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        return 130
    show_proof(proof)
    show(scores)
    draw(scores, proof, PICTURE)
    console.print(f"\nThe same as a picture: {PICTURE}")
    say_how_to_go_on(scores[0].card)
    return 0


def export(name: str, weights_dir: Path, *, random: bool) -> None:
    """Write the detector into the demonstration's repository, with random weights where no others can be had."""
    started_s = time.monotonic()
    with console.status(f"exporting {name}: first, PyTorch has to load …"):
        from dfexport.build import build, load_weights

        spec = find(name)
        try:
            weights = load_weights(spec, weights_dir=weights_dir, checkpoint=None, random=random)
        except CheckpointMissing as error:
            say_what_is_missing(error)
            weights = load_weights(spec, weights_dir=weights_dir, checkpoint=None, random=True)
        result = build(spec, weights, REPOSITORY, name)
    console.print(
        f"[green]exported[/]  {name}, {weights.kind} weights, in {time.monotonic() - started_s:.0f} s; "
        f"the graph answers like PyTorch to {result.parity.eager_difference:.0e}"
    )


def say_what_is_missing(error: CheckpointMissing) -> None:
    """First of all: what could not be had, hence what this demonstration can't show, and what it still can."""
    missing = (
        f"[bold]No checkpoint, so no scores that mean anything.[/]\n{escape(str(error))}\n\n"
        "[bold]What is shown without it:[/] with weights filled by a rule, what is served answers as the original code "
        "does, and client and server agree."
    )
    console.print(Panel(missing, border_style="yellow"))


def say_how_to_go_on(card: ModelCard) -> None:
    """The commands for recordings of one's own; where there was no checkpoint, those that need none."""
    variable = " WEIGHTS=random" if card.is_random else ""
    if variable:
        console.print("To go on without the checkpoint, with scores that mean nothing, in a repository of its own:")
    console.print(
        f"Your own recordings:   make export{variable} && make serve{variable}, and in another shell\n"
        f"                       .venv/bin/dfclient score FILE… --model {card.model}"
    )


@dataclass(frozen=True)
class Proof:
    """How far what was served is from two references.

    Attributes:
        original: largest difference of a logit to the original code's; None where its answers are not at hand.
        original_of: what it answered to.
        direct: the recordings' scores by ONNX Runtime in this process, without server and client.
        agreement: largest difference of dfclient's scores to those.
    """

    original: float | None
    original_of: str
    direct: list[float]
    agreement: float


def serve_and_score(name: str) -> tuple[list[Score], Proof]:
    """Scores of the three recordings from a server that lives as long as this takes, and what proves them."""
    with console.status("starting Triton …"):
        server = Server(REPOSITORY)
        server.start()
    with server, Detector(server.grpc_url, name) as detector:
        console.print(f"[green]served[/]    by Triton at {server.grpc_url}, which answers as the exporter says it must")
        scores = [detector.score(FOLDER / file) for file in RECORDINGS]
        console.print(f"[green]scored[/]    {len(scores)} recordings of one sentence\n")
        return scores, prove(detector, scores)


def prove(detector: Detector, scores: list[Score]) -> Proof:
    """Compare what the server answers with the original code, and with the same graph run without a server."""
    from dfexport.formats.onnx import open_onnx
    from dfexport.signals import wave

    card = detector.card
    recordings = [window_of(FOLDER / file, detector) for file in RECORDINGS]
    run = open_onnx(REPOSITORY / card.model / "1" / "model.onnx")
    direct = [float(run(window[None]).score[0, 0]) for window in recordings]
    agreement = max(abs(score.score - value) for score, value in zip(scores, direct, strict=True))

    kind = "seeded" if card.is_random else "published"
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[kind].get(card.model)
    if golden is None:
        return Proof(None, "", direct, agreement)
    waves = [wave(seed, card.window_samples) for seed in (1, 2, 3)] if card.is_random else recordings[:1]
    logits, _ = detector.infer(np.stack(waves))
    of = "three made-up signals, weights by rule" if card.is_random else "human.flac, the published weights"
    return Proof(float(np.abs(logits - np.array(golden)).max()), of, direct, agreement)


def window_of(path: Path, detector: Detector) -> Samples:
    """What a paper's protocol scores: the first samples, the clip repeated until it fills a window, or all of it."""
    import soundfile

    waveform, _ = soundfile.read(path, dtype="float32")
    return detector.windowing().cut(waveform, 0, detector.card.pre_emphasis)


def show_proof(proof: Proof) -> None:
    """A table of the differences."""
    table = Table("what is served, compared with", "on", title="is it right?", title_justify="left")
    table.add_column("largest difference", justify="right")
    if proof.original is None:
        table.add_row("the original code", "its answers are in tests/golden alone", "")
    else:
        table.add_row("the original code: logits", proof.original_of, in_digits(proof.original))
    table.add_row("the graph without a server: scores", "the three recordings", in_digits(proof.agreement))
    console.print(table)


def in_digits(difference: float) -> str:
    """A difference to one digit."""
    return f"{difference:.0e}" if difference else "none"


def show(scores: list[Score]) -> None:
    """A table of the scores, and what they are worth."""
    card = scores[0].card
    table = Table("recording", "what it is", title=f"{card.model}: higher is more bona fide", title_justify="left")
    table.add_column("score", justify="right")
    if card.threshold is not None:
        table.add_column(f"threshold {card.threshold:g}")
    for score, (file, what) in zip(scores, RECORDINGS.items(), strict=True):
        table.add_row(
            file, what, f"{score.score:+.2f}", *side_of_threshold(score.score, card.threshold, card.is_random)
        )
    console.print(table)
    if card.is_random:
        warning = (
            "RANDOM WEIGHTS: no checkpoint was used, so the network was filled by a rule.\n"
            "The pipeline is real, these scores mean NOTHING."
        )
        console.print(Panel(warning, style="bold white on red"))
        return
    if card.threshold is not None:
        console.print(f"The threshold is where its authors' scores separate best: {card.threshold_source}.")
    human, voice, pasted = (score.score for score in scores)
    if abs(pasted - human) < abs(pasted - voice):
        console.print("Mind the third: pasted from real speech, it comes closer to the human than to the other voice.")
    console.print(
        "On recordings of other origin, AASIST got every third verdict wrong. A score sorts what a person should "
        "listen to; it proves nothing."
    )


def side_of_threshold(score: float, threshold: float | None, is_random: bool) -> list[str]:
    """A table cell: above or below, where there is a threshold; empty for random weights, which mean nothing."""
    if threshold is None:
        return []
    if is_random:
        return [""]
    return ["above: bona fide" if score >= threshold else "below: spoof"]


def draw(scores: list[Score], proof: Proof, path: Path) -> None:
    """Waveforms and, on one axis, their scores with the threshold, as a PNG; grey where weights are random."""
    import matplotlib as mpl

    mpl.use("Agg")
    import soundfile
    from matplotlib import pyplot as plt

    card = scores[0].card
    figure, axes = plt.subplots(
        len(scores), 2, figsize=(11, 5.6), width_ratios=(3, 2), sharex="col", layout="constrained", squeeze=False
    )
    threshold = None if card.is_random else card.threshold
    base = threshold or 0.0
    ends = [base, *(score.score for score in scores)]
    room = 0.3 * (max(ends) - min(ends))
    for (wave_axis, score_axis), score, direct in zip(axes, scores, proof.direct, strict=True):
        name = Path(score.path).name
        samples, rate_hz = soundfile.read(score.path)
        colour = HUMAN if name == "human.flac" else SYNTHETIC
        wave_axis.axvspan(0, score.windows[0].end_s, color="0.93", zorder=0)
        wave_axis.plot(np.arange(len(samples)) / rate_hz, samples, color=colour, linewidth=0.4)
        wave_axis.set_title(f"{name}: {RECORDINGS[name]}", loc="left", fontsize=11)
        wave_axis.set(yticks=[], xlim=(0, None))
        draw_score(score_axis, score.score, MEANINGLESS if card.is_random else colour, base)
        if card.is_random:
            score_axis.plot([direct], [0], "x", color="black", markersize=9)
        if threshold is not None:
            score_axis.axvline(threshold, color="black", linestyle="--", linewidth=1.2)
        score_axis.set_xlim(min(ends) - room, max(ends) + room)
        for axis in (wave_axis, score_axis):
            axis.spines[["left", "right", "top"]].set_visible(False)
    axes[-1, 0].set_xlabel("seconds (grey: the window that was scored)")
    dashed = f"\ndashed: threshold {threshold:g}, {card.threshold_source}" if threshold is not None else ""
    meaning = f"score, higher is more bona fide{dashed}"
    if card.is_random:
        meaning = (
            "what an untrained network answers: it says nothing of\nthe recordings (crosses: the graph without server)"
        )
    axes[-1, 1].set_xlabel(meaning)
    warning = "NO CHECKPOINT, nothing is said of these recordings: " if card.is_random else ""
    figure.suptitle(f"{warning}{card.model}, {card.weights} weights", color="red" if card.is_random else "black")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_score(axis: "Axes", score: float, colour: str, base: float) -> None:
    """One score as a bar from the threshold, since zero is no boundary, with its number at the bar's end."""
    axis.barh([0], [score - base], left=[base], color=colour, height=0.5)
    is_right = score >= base
    axis.annotate(
        f"{score:+.2f}",
        (score, 0),
        xytext=(5 if is_right else -5, 0),
        textcoords="offset points",
        va="center",
        ha="left" if is_right else "right",
    )
    axis.set(ylim=(-0.6, 0.6), yticks=[])


if __name__ == "__main__":
    sys.exit(main())
