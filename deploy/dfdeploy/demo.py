"""``make demo``: export, serve, score one human and two synthetic recordings, draw what came out.

It goes the user's way (dfexport, an embedded server, dfclient) in one process, on free ports, and stops.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from dfclient import Detector, DfclientError, Score
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError
from dfexport.errors import CheckpointMissing, ExportError
from dfexport.registry import DETECTORS, find

EXAMPLES = {
    "human.flac": "a LibriVox reader",
    "synthetic.flac": "flite, statistical voice",
    "synthetic_diphone.flac": "flite, pieces of recorded speech",
}
ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path("demo.png")

console = Console(highlight=False)


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; 1 when a part of it failed."""
    parser = argparse.ArgumentParser(prog="python -m dfdeploy.demo", description="From checkpoint to score, once.")
    parser.add_argument("--model", choices=list(DETECTORS), default="aasist")
    parser.add_argument("--weights-dir", type=Path, default=Path("weights"))
    parser.add_argument("--weights", choices=("published", "random"), default="published")
    arguments = parser.parse_args(argv)
    try:
        repository = _export(arguments.model, arguments.weights_dir, random=arguments.weights == "random")
        scores = _serve_and_score(repository, arguments.model)
    except (ExportError, DeployError, DfclientError) as error:
        console.print(f"[bold red]demo: error:[/] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    _show(scores)
    draw(scores, PICTURE)
    console.print(f"Picture: {PICTURE}    Next: make export && make serve, then dfclient score in another shell")
    return 0


def _export(name: str, weights_dir: Path, *, random: bool) -> Path:
    from dfexport.build import build, load_weights

    spec = find(name)
    with console.status(f"exporting {name}"):
        try:
            weights = load_weights(spec, weights_dir=weights_dir, checkpoint=None, random=random)
        except CheckpointMissing as error:
            console.print(f"[yellow]{error}[/]\n[bold yellow]Going on with random weights.[/]")
            weights = load_weights(spec, weights_dir=weights_dir, checkpoint=None, random=True)
        # Not in the user's repository: a demonstration replaces nothing that was built on purpose.
        result = build(spec, weights, ROOT / "build" / "demo_repository", name)
    console.print(
        f"[green]exported[/] {name}: {weights.kind} weights, logits equal eager's to "
        f"{result.parity.eager_difference:.0e}"
    )
    return result.folder.parent


def _serve_and_score(repository: Path, name: str) -> list[Score]:
    with console.status("starting Triton"):
        server = Server(repository)
        server.start()
    with server, Detector(server.grpc_url, name) as detector:
        console.print(f"[green]serving[/] on {server.grpc_url}, ready and self-checked")
        return [detector.score(ROOT / "examples" / file) for file in EXAMPLES]


def _show(scores: list[Score]) -> None:
    card = scores[0].card
    table = Table(
        "recording", "what it is", "score", title=f"{card.model}: higher is more bona fide", title_justify="left"
    )
    for score, (file, what) in zip(scores, EXAMPLES.items(), strict=True):
        table.add_row(file, what, f"{score.score:+.2f}")
    console.print(table)
    if card.is_random:
        console.print(
            Panel(
                "RANDOM WEIGHTS: no checkpoint was found, so the network was filled by a rule.\n"
                "The pipeline is real, these scores mean NOTHING.",
                style="bold white on red",
            )
        )
    else:
        threshold = (
            "No threshold is stated for this detector."
            if card.threshold is None
            else f"The authors' scores separate best at {card.threshold:g} ({card.threshold_source})."
        )
        console.print(
            f"{threshold} On recordings of other origin we saw every third verdict wrong, and speech pasted from real "
            "recordings comes close to a human: a score sorts, it proves nothing."
        )


def draw(scores: list[Score], path: Path) -> None:
    """Waveforms and their scores on one axis, with the threshold, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import numpy as np
    import soundfile
    from matplotlib import pyplot as plt

    card = scores[0].card
    figure, axes = plt.subplots(
        len(scores), 2, figsize=(11, 5.5), width_ratios=(3, 2), sharex="col", layout="constrained", squeeze=False
    )
    reach = max(abs(score.score) for score in scores) * 1.45
    for (wave_axis, score_axis), score in zip(axes, scores, strict=True):
        samples, rate_hz = soundfile.read(score.path)
        color = "#0072b2" if "human" in score.utt_id else "#d55e00"
        wave_axis.plot(np.arange(len(samples)) / rate_hz, samples, color=color, linewidth=0.4)
        wave_axis.axvspan(0, score.windows[0].end_s, color="0.92", zorder=0)
        wave_axis.set_title(f"{score.utt_id}: {EXAMPLES[Path(score.path).name]}", loc="left", fontsize=11)
        wave_axis.set_yticks([])
        score_axis.barh([0], [score.score], color=color, height=0.5)
        score_axis.axvline(0, color="0.4", linewidth=0.8)
        if card.threshold is not None:
            score_axis.axvline(card.threshold, color="black", linestyle="--", linewidth=1.2)
        end = score.score + 0.03 * reach * (1 if score.score >= 0 else -1)
        score_axis.text(end, 0, f"{score.score:+.2f}", va="center", ha="left" if score.score >= 0 else "right")
        score_axis.set(xlim=(-reach, reach), ylim=(-0.6, 0.6), yticks=[])
    axes[-1, 0].set_xlabel("seconds (grey: the window that was scored)")
    threshold = "" if card.threshold is None else f"\ndashed: {card.threshold:g}, {card.threshold_source}"
    axes[-1, 1].set_xlabel(f"score, higher is more bona fide{threshold}")
    warning = "RANDOM WEIGHTS, the scores mean nothing: " if card.is_random else ""
    figure.suptitle(f"{warning}{card.model}, {card.weights} weights", color="red" if card.is_random else "black")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
