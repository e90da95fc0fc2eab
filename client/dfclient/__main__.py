"""The command line: `dfclient score`, `dfclient stream`, `dfclient models`, `dfclient health`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from dfclient.errors import DfclientError, InputError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 when all went well, 1 when something failed, 2 for wrong usage, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except InputError as error:
        print(f"dfclient: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except DfclientError as error:
        print(f"dfclient: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # the reader of our output, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("dfclient: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    from dfclient.client import DEFAULT_TIMEOUT_S, DEFAULT_URL

    parser = argparse.ArgumentParser(
        "dfclient", description="Score recordings with a deepfake detector on a Triton server."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("--url", default=DEFAULT_URL, metavar="HOST:PORT", help="gRPC address (default: %(default)s)")
    server.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="deadline of a request (default: %(default)g)",
    )

    _add_score(commands, server)
    _add_stream(commands, server)
    models = commands.add_parser("models", parents=[server], help="what the server serves, from the model cards")
    models.set_defaults(run=_models)
    health = commands.add_parser(
        "health", parents=[server], help="whether server and models are ready; exit code 1 if not"
    )
    health.set_defaults(run=_health)
    return parser


def _add_score(commands: Any, server: argparse.ArgumentParser) -> None:
    from dfclient.client import DEFAULT_CONCURRENCY
    from dfclient.scores import FORMATS
    from dfclient.windows import MODES

    score = commands.add_parser(
        "score", parents=[server], help="score files, folders, @list.txt or a manifest .csv with a column path"
    )
    score.add_argument("paths", nargs="+", metavar="PATH", help="audio file, folder, @list.txt, or manifest .csv")
    score.add_argument(
        "--model", required=True, metavar="NAME", help="which of the server's models (see dfclient models)"
    )
    score.add_argument("--mode", choices=MODES, default="protocol", help="one window, or all (default: %(default)s)")
    score.add_argument(
        "--hop", type=float, metavar="SECONDS", help="sliding: from window to window (default: one window)"
    )
    score.add_argument("--pool", metavar="HOW", help="sliding: mean (default), min or a percentile such as p10")
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
    score.set_defaults(run=_score)


def _add_stream(commands: Any, server: argparse.ArgumentParser) -> None:
    stream = commands.add_parser("stream", parents=[server], help="score audio while it plays: a file, or a pipe (-)")
    stream.add_argument("source", metavar="FILE", help="audio file; - for raw samples from standard input")
    stream.add_argument("--model", required=True, metavar="NAME", help="which of the server's models")
    stream.add_argument("--hop", type=float, metavar="SECONDS", help="from window to window (default: one window)")
    stream.add_argument("--pool", metavar="HOW", help="of the last line: mean (default), min or such as p10")
    stream.add_argument(
        "--pace", choices=("fast", "realtime"), default="fast", help="realtime: as if it played (default: %(default)s)"
    )
    raw = stream.add_argument_group("raw samples (-), little-endian")
    raw.add_argument("--rate", type=int, metavar="HZ", help="default: 16000")
    raw.add_argument("--channels", type=int, metavar="N", help="interleaved; default: 1")
    raw.add_argument("--encoding", choices=("int16", "fp32", "mulaw", "alaw"), help="default: int16")
    raw.add_argument("--utt-id", metavar="ID", help="what its row is called (default: stdin)")
    stream.add_argument("--out", type=Path, metavar="FILE", help="write the row that dfclient score writes")
    existing = stream.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="add the row to an existing --out")
    existing.add_argument("--overwrite", action="store_true", help="start --out anew")
    stream.set_defaults(run=_stream)


def _stream(options: argparse.Namespace) -> int:
    from dfclient.streaming import run

    if options.out is None and (options.resume or options.overwrite):
        raise InputError("--resume and --overwrite say how to write --out FILE, which was not given")
    return run(options)


def _score(options: argparse.Namespace) -> int:
    from dfclient.scoring import run

    if options.out is None and (options.resume or options.overwrite or options.format != "csv"):
        raise InputError("--resume, --overwrite and --format say how to write --out FILE, which was not given")
    return run(options)


def _models(options: argparse.Namespace) -> int:
    from dfclient import report
    from dfclient.card import LIVE_SUFFIX, ModelCard, without_live_siblings
    from dfclient.errors import ContractError
    from dfclient.transport import Transport

    transport = Transport(options.url, timeout_s=options.timeout)
    rows, others = [], []
    try:
        ready = {state.name for state in transport.model_states() if state.state == "READY"}
        for name in without_live_siblings(ready):
            info = transport.model_info(name)
            try:
                card = ModelCard.from_parameters(name, info.version, info.parameters)
                rows.append(report.model_row(card, takes_streams=name + LIVE_SUFFIX in ready))
            except ContractError:
                others.append(name)
    finally:
        transport.close()
    if rows:
        print(report.table(report.MODEL_HEADER, rows))
        print("a higher score sounds more bona fide; a threshold holds for the data that it was set on")
    if others:
        print(f"without a detector's card: {', '.join(others)}")
    if not rows:
        print(f"dfclient: error: no detector is ready at {options.url}", file=sys.stderr)
    return 0 if rows else EXIT_FAILED


def _health(options: argparse.Namespace) -> int:
    from dfclient import report
    from dfclient.transport import Transport

    transport = Transport(options.url, timeout_s=options.timeout)
    try:
        live, ready = transport.is_live(), transport.is_ready()
        states = transport.model_states()
        models = {state.name: transport.is_model_ready(state.name) for state in states}
        reasons = {state.name: state.reason for state in states if state.reason}
    finally:
        transport.close()
    rows = [(f"server {options.url}", _word(live, "live") + ", " + _word(ready, "ready"), "")]
    rows += [
        (f"model {name}", _word(is_ready, "ready"), reasons.get(name, "")) for name, is_ready in sorted(models.items())
    ]
    print(report.table(("WHAT", "STATE", "REASON"), rows))
    return 0 if live and ready and models and all(models.values()) else EXIT_FAILED


def _word(holds: bool, word: str) -> str:
    return word if holds else f"NOT {word}"


if __name__ == "__main__":
    sys.exit(main())
