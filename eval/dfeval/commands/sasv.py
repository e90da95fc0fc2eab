"""``dfeval sasv``: a-DCF, t-EER and min t-DCF of ASVspoof 5, track 2."""

import argparse
import json
from pathlib import Path

from dfeval.commands import options


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser("sasv", help="a-DCF, t-EER and min t-DCF of ASVspoof 5, track 2")
    command.add_argument("scores", type=Path, metavar="SCORES", help="TSV: spk filename cm-score asv-score sasv-score")
    command.add_argument("--key", type=Path, required=True, metavar="FILE", help="TSV: spk filename cm-label asv-label")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    from dfeval.tandem import evaluate_tandem

    figures = evaluate_tandem(arguments.scores, arguments.key)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(", ".join(f"{figures[f'n_{kind}']:,} {kind}" for kind in ("target", "nontarget", "spoof")) + " trials")
    shown = (
        ("a-DCF", "a_dcf", ".5f", ""),
        ("t-EER", "t_eer", ".2%", ""),
        ("min t-DCF", "min_tdcf", ".5f", "  (2021 form, the ASV rates of the ASVspoof 5 organisers)"),
        ("CM EER", "cm_eer", ".2%", ""),
    )
    for label, name, layout, note in shown:
        value = f"{figures[name]:{layout}}{note}" if name in figures else "-  (its scores are not in the file)"
        print(f"  {label:<9}  {value}")
    return 0
