"""``dfeval degrade``: a labelled folder as a telephone, codecs, noise, rooms and lost packets would leave it."""

import argparse
import sys
from pathlib import Path

from dfeval.commands import options
from dfeval.errors import EvalError
from dfeval.formats import FORMATS


def add(commands: "options.Commands") -> None:
    """State the command's options."""
    command = commands.add_parser(
        "degrade",
        help="degraded versions of a labelled folder: codecs, noise, rooms …",
        epilog="Example: dfeval degrade recordings/ --protocol protocol.csv --out degraded --only mp3:64 trim",
    )
    command.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="recordings, with its subfolders")
    command.add_argument("--out", type=Path, metavar="DIR", help="a new folder, beside FOLDER")
    command.add_argument(
        "--only",
        nargs="+",
        metavar="KIND[:N,…]",
        help="these, as in mp3:64,16 trim (default: all that can be had here; --list shows them)",
    )
    command.add_argument("--without", nargs="+", default=[], metavar="KIND", help="all but these")
    command.add_argument(
        "--rir",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="room responses: a condition rir, one drawn each",
    )
    command.add_argument("--seed", type=options.count, default=0, help="of all that is drawn by chance (%(default)s)")
    command.add_argument("--list", action="store_true", help="show the kinds, and which can be had here")
    command.set_defaults(run=run)
    options.add_protocol(command, required=False)
    command.add_argument("--id-column", metavar="NAME", help="the protocol's column of ids")


def run(arguments: argparse.Namespace) -> int:
    """Make the copies, or show what could be made."""
    from dfeval.degrade import conditions_of, degrade

    if arguments.list:
        return _list()
    files = arguments.protocol or []
    if arguments.folder is None and len(files) > FORMATS[arguments.protocol_format].n_files:
        arguments.folder = files.pop()  # which argparse took for one of the protocol's files
    needed = {"folder": "FOLDER", "protocol": "--protocol FILE", "out": "--out DIR"}
    if lacking := [words for name, words in needed.items() if not getattr(arguments, name)]:
        raise EvalError(f"expected FOLDER --protocol FILE --out DIR, {' and '.join(lacking)} missing")
    conditions, notes = conditions_of(arguments.only, arguments.without)
    protocol = options.protocol_of(arguments)
    with _Progress() as progress:
        made = degrade(
            arguments.folder,
            protocol,
            arguments.out,
            conditions,
            seed=arguments.seed,
            rirs=arguments.rir,
            advance=progress.advance,
        )
    for note in (*notes, *protocol.notes, *made.notes):
        print(f"dfeval: note: {note}", file=sys.stderr)
    out = arguments.out
    names = [condition.name for condition in conditions] + ["rir"] * bool(arguments.rir)
    print(f"{made.n_recordings:,} recordings in {len(names)} conditions: {', '.join(names)}")
    print(f"wrote {made.n_written:,} recordings, {out / 'protocol.csv'} and {out / 'degrade.json'}")
    if made.n_errors:
        print(f"dfeval: {made.n_errors:,} could not be made: {out / 'errors.csv'}", file=sys.stderr)
    print(f"score them:  dfclient score {out / 'protocol.csv'} --model NAME --out scores.csv")
    print(
        f"judge them:  dfeval report scores.csv --protocol {out / 'protocol.csv'} --by condition --transfer clean "
        "--out report"
    )
    return 1 if made.n_errors else 0


def _list() -> int:
    from rich.table import Table

    from dfeval.console import console
    from dfeval.degrade import KINDS
    from dfeval.degrade.codecs import missing
    from dfeval.degrade.kinds import CLEAN

    table = Table(box=None, pad_edge=False)
    for name in ("kind", "by default", "what it is"):
        table.add_column(name)
    for name, kind in KINDS.items():
        values = ", ".join(f"{value:g}" for value in kind.values)
        reason = missing(kind.codec) if kind.codec else ""
        if name != CLEAN:
            table.add_row(
                name, f"{values} {kind.unit}".strip(), kind.meaning + (f" (not here: {reason})" * bool(reason))
            )
    console().print(table)
    return 0


class _Progress:
    """A bar on a terminal; nothing where standard error is none."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("recordings", total=None)

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def advance(self, total: int) -> None:
        """One more of so many."""
        self._bar.update(self._task, advance=1, total=total)
