"""Figures of our own beside Triton's, at the same address for Prometheus: scores by their height, live streams, TLS.

    dfserve_scores_total{model="aasist",above="-3.5",reference="calibration"} 117     scores from -3.5 to the next edge
    dfserve_requests_too_late_total{model="aasist"} 0                                 refused: see lateness.py
    dfserve_live_streams{model="aasist"} 3
    dfserve_tls_certificate_expiry_timestamp_seconds 1798761600                       where the gRPC port speaks TLS

The edges are the deciles of the scores that the model's calibration was fitted on, so that each counts a tenth of what
comes while the traffic is like them; without a calibration they are fixed ones. All together are the windows scored.
"""

from __future__ import annotations  # Triton fills its module only once ours has been imported

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from dfcontract.live import TLS_EXPIRY_VARIABLE
from dfcontract.text import number

SCORES, TOO_LATE, STREAMS = "dfserve_scores_total", "dfserve_requests_too_late_total", "dfserve_live_streams"
TLS_EXPIRY = "dfserve_tls_certificate_expiry_timestamp_seconds"
EDGES = (-10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0)  # without a calibration
CALIBRATION, NO_REFERENCE = "calibration", "none"


class ScoreCounts:
    """How many scores there were between one edge and the next.

    Args:
        model: whose scores they are.
        deciles: nine edges, rising; empty where there is no calibration that knows them.
    """

    def __init__(self, model: str, deciles: Sequence[float]) -> None:
        self.edges = np.array(deciles or EDGES)
        reference = CALIBRATION if deciles else NO_REFERENCE
        places = ("-Inf", *map(number, self.edges))
        labels = [{"model": model, "above": place, "reference": reference} for place in places]
        self._family, self._metrics = _made(SCORES, "Scores of windows, by the edge below them.", "COUNTER", labels)

    def count(self, scores: npt.ArrayLike) -> None:
        """Count scores of any shape; a score on an edge is above it."""
        places = np.searchsorted(self.edges, np.asarray(scores).ravel(), side="right")
        for metric, n_scores in zip(self._metrics, np.bincount(places, minlength=len(self.edges) + 1), strict=True):
            if n_scores:
                metric.increment(float(n_scores))


class LateCount:
    """How many requests were refused as too late.

    Args:
        model: whose they are.
    """

    def __init__(self, model: str) -> None:
        about = "Requests that waited for longer than their clients had time."
        self._family, self._metrics = _made(TOO_LATE, about, "COUNTER", [{"model": model}])

    def count(self, n_requests: int) -> None:
        """Count some more."""
        if n_requests:
            for metric in self._metrics:
                metric.increment(float(n_requests))


class StreamGauge:
    """How many live streams a detector has.

    Args:
        model: the detector.
    """

    def __init__(self, model: str) -> None:
        self._shown = 0
        self._family, self._metrics = _made(STREAMS, "Live streams that are open.", "GAUGE", [{"model": model}])

    def show(self, n_streams: int) -> None:
        """Set it, where it has changed."""
        if n_streams != self._shown:
            self._shown = n_streams
            for metric in self._metrics:
                metric.set(float(n_streams))


class CertificateGauge:
    """Until when the certificate is valid that the server has read at its start; nothing where it speaks no TLS."""

    def __init__(self) -> None:
        if expiry_s := os.environ.get(TLS_EXPIRY_VARIABLE):
            about = "When the certificate ends that the server read at its start."
            self._family, self._metrics = _made(TLS_EXPIRY, about, "GAUGE", [{}])
            for metric in self._metrics:
                metric.set(float(expiry_s))


def _made(name: str, description: str, kind: str, labels: list[dict[str, str]]) -> tuple[Any, list[Any]]:
    """A family, to be held as long as its metrics, and those; none where the server keeps no figures."""
    try:
        family = pb_utils.MetricFamily(name=name, description=description, kind=getattr(pb_utils.MetricFamily, kind))
        return family, [family.Metric(labels=each) for each in labels]
    except Exception as error:
        pb_utils.Logger.log_error(f"{name} is not counted: {error!r}")
        return None, []
