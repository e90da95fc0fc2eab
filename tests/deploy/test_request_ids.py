"""A request has one name, from the client's error to the proxy's log and the backend's."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dfclient.calls import StreamRequest
from dfclient.errors import RequestRefused
from dfclient.transport import Transport
from dfcontract.live import HOP_SAMPLES
from dfdeploy.embedded import Server

W = 16_000


def failures(server: Server) -> list[dict[str, Any]]:
    """The lines of our backends in the server's log."""
    lines = server.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"dfserve"')]


def test_a_window_that_is_refused_is_in_the_log_under_the_name_that_the_client_says(tiny_server: Server) -> None:
    transport = Transport(tiny_server.grpc_url)
    try:
        with pytest.raises(
            RequestRefused, match=r"found 16000 NaN or infinite.* \[request [0-9a-f]{12}-1\]$"
        ) as caught:
            transport.infer("tiny", "1", np.full(W, np.nan, np.float32))
        with pytest.raises(RequestRefused, match=r"-2\]$"):
            transport.infer("tiny", "1", np.full(W, np.inf, np.float32))
    finally:
        transport.close()
    name = str(caught.value).rpartition("[request ")[2].rstrip("]")
    (line,) = [line for line in failures(tiny_server) if line["request_id"] == name]
    assert line["model"] == "tiny"
    assert abs(datetime.fromisoformat(line["time"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert line["error"].startswith("WAVEFORM: expected finite samples")


def test_a_live_stream_that_fails_is_in_the_log_under_its_name(tiny_server: Server) -> None:
    transport = Transport(tiny_server.grpc_url)
    sequence: dict[str, str | int | bool] = {"sequence_id": 77, "sequence_start": True, "sequence_end": True}
    try:
        (error,) = transport.stream("tiny_live", iter([StreamRequest({**sequence, HOP_SAMPLES: -5}, bytes(100))]))
    finally:
        transport.close()
    assert isinstance(error, RequestRefused)
    name = str(error).rpartition("[request ")[2].rstrip("]")
    (line,) = [line for line in failures(tiny_server) if line["request_id"] == name]
    assert line["model"] == "tiny_live"
    assert "hop_samples" in line["error"]


def test_a_client_that_errs_without_end_does_not_fill_the_log(tiny_server: Server) -> None:
    before = len(failures(tiny_server))
    transport = Transport(tiny_server.grpc_url)
    try:
        for _ in range(100):
            with pytest.raises(RequestRefused):
                transport.infer("tiny", "1", np.full(W, np.nan, np.float32))
    finally:
        transport.close()
    assert len(failures(tiny_server)) - before < 100
