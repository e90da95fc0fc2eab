"""Requests that have waited for longer than their clients have time: refused before anything is computed for them.

Triton could refuse them in its queue (`default_queue_policy`: a timeout, a largest size), but with any such limit its
batcher prepares no batch while another one is computed (`PriorityQueue::SupportPrefetching` in
github.com/triton-inference-server/core). It looks for an idle instance when a computation ends, often a moment before
the instance is idle, and then sleeps for half a second unless another request comes: measured with release 24.10, the
second of two requests of `aasist_l` that overlap waited 0.5 s longer nearly every time. So the queue has no limit, and
what has stood in it for too long is refused here, at next to no cost.

A client says by when a computation must have begun (`BEGIN_BY`, on its clock) and how long that was from its call
(Triton's `timeout`). Two clocks may differ, so its word is taken only as far as it can be true: since requests are
answered in the order in which they come, none has waited for longer than the model has been at work without a pause.
"""

import json
import time
from collections.abc import Callable

from dfcontract.tensors import BEGIN_BY

# The next batch of a queue comes within milliseconds of the last answer, so after a longer pause the queue was empty.
PAUSE_S = 0.05
# A request is on its way before it waits: so much more than the model has been at work may a true claim be.
WAY_S = 5.0


class Lateness:
    """Which of one model's requests have come too late.

    Args:
        clock_s: a clock that is never set.
        unix_s: the time of day, in seconds since 1970.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, unix_s: Callable[[], float] = time.time) -> None:
        self._clock_s, self._unix_s = clock_s, unix_s
        self._since_s = self._until_s = clock_s()

    def begin(self) -> None:
        """A batch has come."""
        if self._clock_s() - self._until_s > PAUSE_S:
            self._since_s = self._clock_s()

    def end(self) -> None:
        """It is answered."""
        self._until_s = self._clock_s()

    def waited_s(self, parameters: str, timeout_us: int) -> float | None:
        """How long a request has waited, where that is longer than its client allows; else None.

        Args:
            parameters: of the request, as JSON.
            timeout_us: how long it may wait; 0 where its client does not say.
        """
        begin_by_us = json.loads(parameters or "{}").get(BEGIN_BY)
        if not timeout_us or not isinstance(begin_by_us, int):
            return None
        allowed_s, at_work_s = timeout_us / 1e6, self._clock_s() - self._since_s
        waited_s = self._unix_s() - begin_by_us / 1e6 + allowed_s
        return waited_s if allowed_s < waited_s < at_work_s + WAY_S and allowed_s < at_work_s else None
