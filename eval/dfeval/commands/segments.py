"""``dfeval segments``: whether window scores say where a recording is spoof."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from dfeval.commands import options

KINDS = ("rttm", "parts", "partialspoof")


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("segments", help="point and range EER of window scores on partly spoofed recordings")
    command.add_argument("scores", type=Path, metavar="SCORES", help="of dfclient score --mode sliding")
    command.add_argument("--labels", type=Path, required=True, metavar="FILE", help="which parts are spoof")
    command.add_argument(
        "--labels-format", choices=KINDS, help="RTTM, 'name seconds label start-end-label …', or PartialSpoof's .npy"
    )
    command.add_argument(
        "--resolution",
        type=float,
        nargs="+",
        default=[0.02, 0.16],
        metavar="SECONDS",
        help="length of a frame (default: 0.02 and 0.16)",
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge and print."""
    from rich.table import Table

    from dfeval.console import console, rate
    from dfeval.segment_labels import load_segment_labels
    from dfeval.segments import segment_figures
    from dfeval.window_scores import load_all_window_scores

    labels = load_segment_labels(arguments.labels, arguments.labels_format)
    recordings, unread = load_all_window_scores(arguments.scores)
    found, notes = segment_figures(recordings, labels, arguments.resolution)
    for note in [*unread, *notes]:
        print(f"dfeval: note: {note}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
        return 0
    table = Table(box=None, pad_edge=False)
    for name in ("frames of", "bona fide", "spoof", "point EER", "at", "range EER", "at"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            f"{1000 * one.resolution_s:g} ms",
            f"{one.n_bonafide:,} ({one.bonafide_s:,.1f} s)",
            f"{one.n_spoof:,} ({one.spoof_s:,.1f} s)",
            rate(one.point.value),
            f"{one.point.threshold:.4f}",
            rate(one.range.value),
            f"{one.range.threshold:.4f}",
        )
    console().print(table)
    return 0
