"""``dfeval table`` and ``dfeval matrix``: one figure of many detectors and data sets, or of many conditions."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfeval.commands import options
from dfeval.errors import EvalError

if TYPE_CHECKING:
    from dfeval.evaluation import Settings
    from dfeval.grids import Grid

SUFFIXES = (".md", ".tex", ".json")


def add(commands: "options.Commands") -> None:
    """State both commands' options."""
    table = commands.add_parser("table", help="detectors by data sets, as Markdown or LaTeX")
    table.add_argument("sets", type=Path, metavar="SETS", help="TOML that lists data sets and score files")
    table.add_argument(
        "--transfer-from", metavar="SET", help="besides, the error rates at each detector's threshold of this set"
    )
    table.set_defaults(run=run_table)
    matrix = commands.add_parser("matrix", help="one detector's figure by two columns of the protocol: attack by codec")
    options.add_scores(matrix, options.PARTS)
    matrix.add_argument("--rows", required=True, metavar="COLUMN", help="of the protocol: a row for each value")
    matrix.add_argument("--columns", required=True, metavar="COLUMN", help="likewise a column")
    options.add_protocol(matrix)
    options.add_columns(matrix)
    options.add_naming(matrix, several=False)
    matrix.set_defaults(run=run_matrix)
    for command, default in ((table, ["eer", "min_dcf"]), (matrix, ["eer"])):
        command.add_argument(
            "--metric", action="append", metavar="NAME", help=f"may be repeated (default: {', '.join(default)})"
        )
        command.set_defaults(default_metrics=default)
        command.add_argument(
            "--out", type=Path, metavar="FILE", help=f"ends in {', '.join(SUFFIXES)}; without, Markdown is printed"
        )
        options.add_costs(command)
        options.add_bootstrap(command)
        options.add_asv_rates(command)


def run_table(arguments: argparse.Namespace) -> int:
    """Detectors by data sets."""
    from dfeval.data_sets import load_data_sets
    from dfeval.grids import TRANSFERRED, of_data_sets, of_transfers

    names, table = load_data_sets(arguments.sets)
    for detector, by_set in table.items():
        for name, trials in by_set.items():
            for note in trials.notes():
                print(f"dfeval: note: {detector} on {name}: {note}", file=sys.stderr)
    settings = _settings(arguments)
    grids = [of_data_sets(names, table, metric, settings) for metric in arguments.metric or arguments.default_metrics]
    if arguments.transfer_from:
        grids += [of_transfers(names, table, arguments.transfer_from, metric, settings) for metric in TRANSFERRED]
    return _write(grids, arguments.out)


def run_matrix(arguments: argparse.Namespace) -> int:
    """One detector by two columns."""
    from dfeval.grids import of_conditions

    trials, settings = options.trials_of_one(arguments), _settings(arguments)
    for note in trials.notes():
        print(f"dfeval: note: {note}", file=sys.stderr)
    grids = [
        of_conditions(trials, arguments.rows, arguments.columns, metric, settings)
        for metric in arguments.metric or arguments.default_metrics
    ]
    return _write(grids, arguments.out)


def _settings(arguments: argparse.Namespace) -> "Settings":
    from dfeval.evaluation import Settings
    from dfeval.metrics.tdcf import AsvRates

    return Settings(
        costs=options.costs_of(arguments),
        asv=AsvRates(*arguments.asv_rates) if arguments.asv_rates else None,
        n_replicates=arguments.bootstrap,
        seed=arguments.seed,
    )


def _write(grids: "Sequence[Grid]", out: Path | None) -> int:
    from dfeval.grid_text import WRITERS, markdown

    if out is None:
        print(markdown(grids), end="")
        return 0
    if out.suffix not in WRITERS:
        raise EvalError(f"{out}: expected a file name that ends in {', '.join(WRITERS)}")
    out.write_text(WRITERS[out.suffix](grids), encoding="utf-8")
    print(f"wrote {out}")
    return 0
