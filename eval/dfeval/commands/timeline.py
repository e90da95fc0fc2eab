"""``dfeval timeline``: picture of the score along a recording."""

import argparse
from pathlib import Path

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser(
        "timeline",
        help="picture of the score along a recording (sliding mode)",
        epilog="Example: dfeval timeline scores.csv --utt-id call_17 --out call_17.png",
    )
    command.add_argument("scores", type=Path, metavar="SCORES", help="of dfclient score --mode sliding")
    command.add_argument("--utt-id", metavar="ID", help="which recording (default: the one with most windows)")
    command.add_argument("--threshold", type=options.finite, help="mark windows below this score as spoof")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .png or .svg")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture."""
    from dfeval.plots import draw_timeline
    from dfeval.plots.style import save_as
    from dfeval.window_scores import load_window_scores

    recording = load_window_scores(arguments.scores, arguments.utt_id)
    save_as(draw_timeline(recording, arguments.threshold), arguments.out)
    print(f"wrote {arguments.out}: {recording.utt_id}, {len(recording.scores)} windows of {recording.window_s:.2f} s")
    return 0
