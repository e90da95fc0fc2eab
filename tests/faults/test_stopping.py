"""A server that is told to stop waits for nobody who owes it nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import tiny_repository
from dfclient import Detector
from dfcontract.errors import ErrorCode
from dfdeploy import guard
from dfdeploy.embedded import Server
from dfexport.signals import wave

pytestmark = pytest.mark.faults
W = tiny_repository.WINDOW_SAMPLES


def bare_calls(channel: grpc.Channel, n_calls: int) -> list:
    """Live streams by the bare protocol, each answered once; nobody says END, the calls stay open."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    calls = []
    for number in range(n_calls):
        request = service_pb2.ModelInferRequest(model_name="tiny_live", raw_input_contents=[bytes(2 * W)])
        request.inputs.add(name="AUDIO", datatype="UINT8", shape=[2 * W])
        request.parameters["sequence_id"].int64_param = number + 1
        request.parameters["sequence_start"].bool_param = True
        calls.append(stub.ModelStreamInfer(endless(request)))
        assert not next(calls[-1]).error_message
    return calls


def endless(request):
    yield request
    time.sleep(3600)


def stop_in_time(server: Server) -> None:
    began_s = time.monotonic()
    server.stop()
    assert time.monotonic() - began_s < guard.DRAIN_S / 2


def test_open_streams_are_ended_by_a_server_that_stops(tiny_models: Path) -> None:
    server = Server(tiny_models)
    server.start()
    with grpc.insecure_channel(server.grpc_url) as channel, ThreadPoolExecutor(50) as pool:
        ends = [pool.submit(next, call) for call in bare_calls(channel, 50)]
        stop_in_time(server)
    assert all(ErrorCode.SERVER_STOPPING in end.result().error_message for end in ends)


def test_streams_that_were_left_do_not_keep_a_server_that_stops(tiny_models: Path) -> None:
    server = Server(tiny_models)
    server.start()
    with grpc.insecure_channel(server.grpc_url) as channel:
        for call in bare_calls(channel, 50):
            call.cancel()
        stop_in_time(server)


def test_a_stream_of_our_client_outlives_a_restart(tiny_models: Path) -> None:
    audio = np.clip(wave(1, 4 * W), -1, 1)
    server = Server(tiny_models)
    server.start()
    try:
        with Detector(server.grpc_url, "tiny") as detector, detector.stream() as live:
            live.send(audio[: 2 * W])
            scores = [window.score for window in live]
            stop_in_time(server)
            server.start()
            live.send(audio[2 * W :])
            live.end()
            scores += [window.score for window in live]
    finally:
        server.stop()
    expected = [tiny_repository.logits_of(audio[start : start + W])[1] for start in range(0, 4 * W, W)]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
