"""``dfpage``: serve the page until Ctrl-C."""

import argparse
import asyncio
import logging
import re
import socket
import sys
from typing import TYPE_CHECKING

from dfclient.calls import DEFAULT_URL
from dfcontract.errors import DfserveError
from dfcontract.startup import complain, completed, described
from dfpage.errors import PageInputError
from dfpage.settings import DEFAULT_MAX_MB, DEFAULT_MAX_MINUTES, DEFAULT_PORT, MEGABYTE, Settings

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (named to be refused without --allow-host)
GRACE_S = 3  # for requests in flight, once Ctrl-C has come
MAX_CONNECTIONS = 100
MAX_MESSAGE_BYTES = 1 << 21  # of a WebSocket


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 1 when the page can't be served, 2 for wrong usage."""
    options = completed(build_parser()).parse_args(argv)
    try:
        _serve(options)
    except DfserveError as error:
        complain("dfpage", error)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("df"):
            raise
        complain("dfpage", f"the page needs {error.name}, which is not installed; run: pip install 'dfserve[page]'")
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options; the reference in the documentation is written from it, too."""
    parser = argparse.ArgumentParser(
        "dfpage", description="A page where a person looks at recordings: scores along time, and what they mean."
    )
    parser.add_argument(
        "--url", default=DEFAULT_URL, metavar="HOST:PORT", help="Triton's gRPC address (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, metavar="N", help="of the page; 0: a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK[0],
        help="address to listen on; any but loopback lets others reach the page, unencrypted (default: %(default)s)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME[:PORT]",
        help="another name under which browsers reach the page, through a proxy say; may be repeated",
    )
    parser.add_argument(
        "--max-mb", type=float, default=DEFAULT_MAX_MB, metavar="MB", help="largest file (default: %(default)g)"
    )
    parser.add_argument(
        "--max-minutes",
        type=float,
        default=DEFAULT_MAX_MINUTES,
        metavar="MINUTES",
        help="longest recording; a minute takes up to 12 MB of memory while it is worked on (default: %(default)g)",
    )
    return described(parser)


def _serve(options: argparse.Namespace) -> None:
    if not (0 < options.max_mb < float("inf") and 0 < options.max_minutes < float("inf")):
        raise PageInputError("expected --max-mb and --max-minutes above 0 and finite")
    for named in options.allow_host:
        if not named or re.search(r"[\s/@]", named):
            raise PageInputError(f"--allow-host: expected NAME or NAME:PORT such as page.example.org, found {named!r}")
    if options.host in EVERYWHERE and not options.allow_host:
        raise PageInputError(
            f"--host {options.host or repr('')} listens on every address: say by --allow-host NAME under which of "
            "them browsers will ask, so that requests under any other name can be refused"
        )
    listener = _listening(options.host, options.port)
    port = int(listener.getsockname()[1])
    hosts = hosts_of(options.host, port, options.allow_host)
    settings = Settings(
        options.url,
        hosts,
        port,
        max_bytes=round(options.max_mb * MEGABYTE),
        max_s=60 * options.max_minutes,
    )
    server = server_of(settings)
    name = _bracketed(options.allow_host[0] if options.host in EVERYWHERE else options.host)
    print(f"dfpage: detectors of the server at {settings.server_url}; Ctrl-C ends it", flush=True)
    if options.host not in LOOPBACK:
        print("dfpage: others can reach this page, and nothing is encrypted on the way to it", file=sys.stderr)
    address = name if _has_port(name) else f"{name}:{port}"
    print(f"dfpage: open http://{address}/?token={settings.token}", flush=True)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


def hosts_of(host: str, port: int, more: list[str]) -> frozenset[str]:
    """What a browser may say in its Host header.

    Args:
        host: listened on; loopback has all its names.
        port: listened on.
        more: other names; one without a port is taken with ours, and with that of http or https, which browsers omit.
    """
    own = LOOPBACK if host in (*LOOPBACK, *EVERYWHERE) else (host,)
    names = {f"{_bracketed(name)}:{port}" for name in (*own, *more) if not _has_port(name)}
    return frozenset(name.lower() for name in names | {_bracketed(name) for name in more})


def _has_port(name: str) -> bool:
    return name.count(":") == 1 or "]:" in name


def server_of(settings: Settings) -> "uvicorn.Server":
    """The HTTP server, not yet running. It logs no addresses: the first one carries the token."""
    import uvicorn

    from dfpage.app import create_app

    logging.getLogger("dfclient").setLevel(logging.ERROR)  # what it says of a server that is away, the page says
    config = uvicorn.Config(
        create_app(settings),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        ws_max_size=MAX_MESSAGE_BYTES,
        timeout_graceful_shutdown=GRACE_S,
    )
    # A request that Ctrl-C cuts off is no fault of the page's: the line that says how many there were is enough.
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    return uvicorn.Server(config)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise PageInputError(f"expected a port of 0 (any free one) to 65535, found {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PageInputError(f"cannot listen on {host}:{port}: {reason}; choose another with --port") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
