"""Options of `dfclient score`, `stream`, `perfdata`, `models` and `health`; which of them runs, and the exit code."""

import argparse
from pathlib import Path
from typing import Any

from dfclient.errors import DfserveError, InputError
from dfcontract.startup import complain, completed, described
from dfcontract.text import printable

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when all went well, 1 when something failed, 2 for wrong usage."""
    options = completed(build_parser()).parse_args(argv)
    try:
        return int(options.run(options))
    except DfserveError as error:
        complain("dfclient", printable(str(error)))
        return EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILED


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options; the reference in the documentation is written from it, too."""
    from dfclient.calls import DEFAULT_TIMEOUT_S, DEFAULT_URL
    from dfclient.cli import inspect
    from dfclient.retry import RetryPolicy

    parser = argparse.ArgumentParser(
        "dfclient", description="Score recordings with a deepfake detector on a Triton server."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    server = argparse.ArgumentParser(add_help=False)
    server.add_argument(
        "--url",
        default=DEFAULT_URL,
        metavar="HOST:PORT",
        help="gRPC address; several with commas between, or dns:///HOST:PORT, share the work (default: %(default)s)",
    )
    add_locks(server)
    server.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="deadline of a request (default: %(default)g)",
    )
    waiting = argparse.ArgumentParser(add_help=False)
    waiting.add_argument(
        "--wait",
        type=float,
        default=RetryPolicy().wait_s,
        metavar="SECONDS",
        help="for how long a server that is away, starting or stopping is tried again (default: %(default)g)",
    )

    _add_score(commands, [server, waiting])
    _add_stream(commands, [server, waiting])
    _add_perfdata(commands, [server, waiting])
    models = commands.add_parser("models", parents=[server], help="what the server serves, from the model cards")
    models.add_argument("--full", action="store_true", help="all of each card: published error rates, licence ...")
    models.set_defaults(run=inspect.models)
    health = commands.add_parser(
        "health", parents=[server], help="whether server and models are ready; exit code 1 if not"
    )
    health.set_defaults(run=inspect.health)
    return described(parser)


def add_locks(server: argparse.ArgumentParser) -> None:
    """How the connection is secured; `dfdeploy check` has the same options."""
    from dfclient.credentials import API_KEY_VARIABLE

    locks = server.add_argument_group(
        "secured servers", f"a key that the server or a proxy asks for is taken from {API_KEY_VARIABLE}"
    )
    locks.add_argument("--tls", action="store_true", help="speak TLS; implied by the options below")
    locks.add_argument("--ca", type=Path, metavar="FILE", help="who vouches for the server's certificate (PEM)")
    locks.add_argument("--cert", type=Path, metavar="FILE", help="this client's own certificate (PEM), with --key")
    locks.add_argument("--key", type=Path, metavar="FILE", help="its private key (PEM)")
    locks.add_argument(
        "--server-name", default="", metavar="NAME", help="whose certificate it is, if not the address's"
    )


def _add_score(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    from dfclient.cli import score as command
    from dfclient.detector import DEFAULT_CONCURRENCY
    from dfcontract.score_file import FORMATS

    score = commands.add_parser(
        "score",
        parents=parents,
        help="score files, folders, @list.txt or a manifest .csv with a column path",
        epilog="Example: dfclient score recordings/ --model aasist --out scores.csv",
    )
    score.add_argument("--model", default="", metavar="NAME", help="which of the server's models (see dfclient models)")
    score.add_argument(
        "--fusion", type=Path, metavar="FILE", help="instead of --model: all of a fusion's models (dfeval fuse fit)"
    )
    _add_recordings(score)
    score.add_argument("--pool", metavar="HOW", help="sliding: mean (default), min or a percentile such as p10")
    _add_choices(score)
    score.add_argument(
        "--concurrency",
        type=int,
        default=DEFAULT_CONCURRENCY,
        metavar="N",
        help="requests in flight (default: %(default)s)",
    )
    score.add_argument("--out", type=Path, metavar="FILE", help="score file; without it, lines to read on the terminal")
    score.add_argument("--format", choices=FORMATS, default="csv", help="of --out (default: %(default)s)")
    existing = score.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with --out: score only what it lacks")
    existing.add_argument("--overwrite", action="store_true", help="start --out anew")
    score.set_defaults(run=command.run)


def _add_recordings(command: argparse.ArgumentParser) -> None:
    """What is read, and how it is cut."""
    from dfcontract.windows import MODES, PROTOCOL

    command.add_argument("paths", nargs="+", metavar="PATH", help="audio file, folder, @list.txt, or manifest .csv")
    command.add_argument("--mode", choices=MODES, default=PROTOCOL, help="one window, or all (default: %(default)s)")
    command.add_argument(
        "--hop", type=float, metavar="SECONDS", help="sliding: from window to window (default: one window)"
    )


def _add_choices(command: argparse.ArgumentParser) -> None:
    """Which part of a recording is scored."""
    command.add_argument(
        "--channels",
        default="mix",
        metavar="mix|each|N",
        help="all channels as one (default), each by itself (a row each, #1, #2 ...), or the one of that number",
    )
    command.add_argument("--track", metavar="N|LANG", help="which of several audio tracks (default: the file's own)")


def _add_perfdata(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    from dfclient.cli import perfdata as command

    perfdata = commands.add_parser(
        "perfdata", parents=parents, help="recordings as NVIDIA's perf_analyzer sends them (--input-data)"
    )
    perfdata.add_argument(
        "--model", required=True, metavar="NAME", help="which of the server's models (see dfclient models)"
    )
    _add_recordings(perfdata)
    _add_choices(perfdata)
    perfdata.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON to write")
    perfdata.set_defaults(run=command.run)


def _add_stream(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    from dfclient.cli import stream as command
    from dfcontract.live import ENCODINGS

    stream = commands.add_parser(
        "stream",
        parents=parents,
        help="score audio while it plays: a file, or a pipe (-)",
        epilog="Example: arecord -t raw -f S16_LE -r 16000 | dfclient stream - --model aasist --hop 1",
    )
    stream.add_argument("source", metavar="FILE", help="audio file; - for audio from standard input")
    stream.add_argument("--model", required=True, metavar="NAME", help="which of the server's models")
    stream.add_argument("--hop", type=float, metavar="SECONDS", help="from window to window (default: one window)")
    stream.add_argument("--pool", metavar="HOW", help="of the last line: mean (default), min or such as p10")
    stream.add_argument(
        "--pace", choices=("fast", "realtime"), default="fast", help="realtime: as if it played (default: %(default)s)"
    )
    _add_choices(stream)
    raw = stream.add_argument_group("standard input (-): raw samples, little-endian, unless a container is recognised")
    raw.add_argument("--rate", type=int, metavar="HZ", help="default: 16000")
    raw.add_argument("--pipe-channels", type=int, metavar="N", help="interleaved; default: 1")
    raw.add_argument("--encoding", choices=tuple(ENCODINGS), help="default: int16")
    raw.add_argument("--utt-id", metavar="ID", help="what its row is called (default: stdin)")
    stream.add_argument("--out", type=Path, metavar="FILE", help="write the row that dfclient score writes")
    existing = stream.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="add the row to an existing --out, unless it is there")
    existing.add_argument("--overwrite", action="store_true", help="start --out anew")
    stream.set_defaults(run=command.run)
