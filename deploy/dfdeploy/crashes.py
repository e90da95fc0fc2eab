"""How often the server had to be started again: metrics of the supervisor's own, as Triton's die with it."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from dfdeploy import ports

PATH = "/metrics"


class _Quiet(ThreadingHTTPServer):
    """Who hangs up before the answer, as port scans and probes do, is no news on the standard error of `serve`."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Python prints a traceback: of our own faults alone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class CrashCounter:
    """Answers Prometheus on a port while the ``with`` lasts.

    Args:
        port: 0 takes a free one.
        host: address to listen on; in a container all of its own, for a Prometheus beside it.

    Raises:
        DeployError: the port is taken, or none.
    """

    def __init__(self, port: int = 0, *, host: str = ports.LOOPBACK) -> None:
        port = ports.resolve({"supervisor": port})["supervisor"]
        self._n_crashes, self._last_s, self._last_cause = 0, 0.0, ""
        self._server = _Quiet((host, port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What Prometheus scrapes."""
        return f"http://{ports.LOOPBACK}:{self._server.server_port}{PATH}"

    def count(self, cause: str) -> None:
        """One more failure of a server, and its cause."""
        self._n_crashes, self._last_s, self._last_cause = self._n_crashes + 1, time.time(), cause

    def text(self) -> str:
        """The metrics in Prometheus's format."""
        lines = [
            "# HELP dfserve_server_crashes_total Failures of the server that were followed by a restart.",
            "# TYPE dfserve_server_crashes_total counter",
            f"dfserve_server_crashes_total {self._n_crashes}",
            "# HELP dfserve_server_last_crash_timestamp_seconds When the server last failed; 0 where it never did.",
            "# TYPE dfserve_server_last_crash_timestamp_seconds gauge",
            f"dfserve_server_last_crash_timestamp_seconds {self._last_s:.3f}",
        ]
        if self._last_cause:
            lines.append(f"# last cause: {' '.join(self._last_cause.split())}")
        return "\n".join(lines) + "\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        counter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != PATH:
                    self.send_error(404)
                    return
                content = counter.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                """A scrape is no news."""

        return Handler
