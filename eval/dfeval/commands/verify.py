"""``dfeval verify``: do the same figures come out of the same files once more?"""

import argparse
from pathlib import Path

from dfeval.commands import options

N_SHOWN = 10


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("verify", help="recompute a metrics.json from its inputs")
    command.add_argument(
        "figures", type=Path, metavar="METRICS", help="metrics.json, or dfeval metrics --json's output"
    )
    command.add_argument(
        "--inputs", type=Path, metavar="DIR", help="where scores and protocol are (default: as stated)"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Recompute and compare; 1 where anything differs."""
    from dfeval.provenance import verify

    is_same = True
    for detector, differences, notes in verify(arguments.figures, arguments.inputs):
        for note in notes:
            print(f"note: {note}")
        count = f"{len(differences):,} difference{'s' * (len(differences) > 1)}"
        print(f"{detector}: {count if differences else 'the same figures'}")
        for difference in differences[:N_SHOWN]:
            print(f"  {difference}")
        if len(differences) > N_SHOWN:
            print(f"  and {len(differences) - N_SHOWN:,} more")
        is_same = is_same and not differences
    return 0 if is_same else 1
