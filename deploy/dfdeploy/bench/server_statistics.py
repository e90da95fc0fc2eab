"""Where the server's time went, and how large its batches were: the difference of Triton's own counters.

Format: Triton's "statistics" extension, HTTP. Its counters of durations are over requests, so a mean is a request's.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dfdeploy.embedded import OPENER

PHASES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True)
class Statistics:
    """Counters of one model, since it was loaded or between two readings.

    Attributes:
        requests: that were answered.
        phases_ns: of `PHASES`: nanoseconds, over all requests.
        batches: windows of an execution → how many executions.
    """

    requests: int = 0
    phases_ns: Counter[str] = field(default_factory=Counter)
    batches: Counter[int] = field(default_factory=Counter)

    def since(self, before: "Statistics") -> "Statistics":
        """What has come since an earlier reading."""
        return Statistics(
            self.requests - before.requests, self.phases_ns - before.phases_ns, self.batches - before.batches
        )

    def mean_ms(self, phase: str) -> float:
        """A request's mean time in one of `PHASES`."""
        return self.phases_ns[phase] / max(self.requests, 1) / 1e6


def read(http_url: str, model: str) -> Statistics:
    """The counters of the model's newest version that a server at ``http_url`` has."""
    with OPENER.open(f"{http_url}/v2/models/{model}/stats", timeout=10) as response:
        versions: list[dict[str, Any]] = json.load(response)["model_stats"]
    newest = max(versions, key=lambda version: int(version["version"]))
    counts = newest["inference_stats"]
    return Statistics(
        requests=int(counts["success"]["count"]),
        phases_ns=Counter({phase: int(counts[phase]["ns"]) for phase in PHASES}),
        batches=Counter({int(one["batch_size"]): int(one["compute_infer"]["count"]) for one in newest["batch_stats"]}),
    )
