"""What goes wrong with a request, as a line of JSON in the server's log, under the name that its client gave it.

    {"dfserve": "failed", "time": "2026-11-26T11:40:55.120+00:00", "model": "aasist",
     "request_id": "5f3c9a01b2d4-17", "error": "WAVEFORM: expected finite …"}

It goes to standard error, which is the server's log; Triton's own logger would put it into quotes.
"""

import json
import sys
import threading
import time
from datetime import UTC, datetime

LINES_A_SECOND = 10  # a client that errs without end fills no disk


class FailureLog:
    """The failures of one model's requests.

    Args:
        model: whose they are.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self._second, self._n_lines, self._n_left_out = 0, 0, 0
        self._lock = threading.Lock()

    def write(self, request_id: str, error: Exception) -> None:
        """A line; what is beyond the limit is counted in the next one (``left_out``)."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line: dict[str, str | int] = {"dfserve": "failed", "time": now, "model": self.model}
        line |= {"request_id": request_id, "error": str(error)}
        with self._lock:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._n_lines = second, 0
            if self._n_lines == LINES_A_SECOND:
                self._n_left_out += 1
                return
            self._n_lines += 1
            if self._n_left_out:
                line["left_out"], self._n_left_out = self._n_left_out, 0
        print(json.dumps(line), file=sys.stderr, flush=True)
