"""Triton's places for sequences: given back when a stream is over without its client having said END.

Until then, or twice the idle timeout, Triton keeps the place; it does not stop while one is taken, and when all are,
new streams wait in silence. A backend can't give one back, but it can call its own model, and say END in the client's
stead.
"""

from __future__ import annotations  # Triton fills its module only once ours has been imported

import json
import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils

from dfcontract.live import AUDIO
from dfdeploy.backends.common.tensors import tensor_of

FAREWELL = "dfserve_farewell"  # parameter of such a request


class Places:
    """Which places are to be given back, and when.

    Args:
        model: that the sequences belong to.
        version: of it.
    """

    def __init__(self, model: str, version: int) -> None:
        self.model, self.version = model, version
        self._due_s: dict[int | str, float] = {}  # by correlation id, on the monotonic clock
        self._lock = threading.Lock()

    def give_back(self, key: int | str, after_s: float) -> None:
        """Have a place given back by `sweep`, unless it is kept meanwhile."""
        with self._lock:
            self._due_s[key] = time.monotonic() + after_s

    def keep(self, key: int | str) -> None:
        """A new stream has taken it, or its client has said END."""
        with self._lock:
            self._due_s.pop(key, None)

    def sweep(self, *, all_of_them: bool = False) -> None:
        """Give back what is due."""
        now_s = time.monotonic()
        with self._lock:
            due = [key for key, due_s in self._due_s.items() if all_of_them or due_s <= now_s]
            for key in due:
                del self._due_s[key]
        for key in due:
            self._say_end(key)

    def _say_end(self, key: int | str) -> None:
        request = pb_utils.InferenceRequest(
            model_name=self.model,
            model_version=self.version,
            requested_output_names=[],
            inputs=[tensor_of(AUDIO, np.empty(0, np.uint8))],
            correlation_id=key,
            flags=pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END,
            parameters={FAREWELL: True},
        )
        for response in request.exec(decoupled=True):
            if response.has_error():  # Triton has forgotten the sequence by itself
                return


def is_farewell(request: pb_utils.InferenceRequest) -> bool:
    """Whether it is one of `Places`' own."""
    return bool(json.loads(request.parameters() or "{}").get(FAREWELL))
