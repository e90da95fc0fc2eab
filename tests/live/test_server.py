"""The live backend on a real Triton, by the bare wire protocol."""

import itertools
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc

import tiny_repository
from dfclient import Detector
from dfcontract import windows
from dfcontract.errors import ErrorCode, split_code
from dfdeploy.embedded import Server

W = tiny_repository.WINDOW_SAMPLES
RATE_HZ = 16_000
FEW_STREAMS, FEW_PLACES = 3, 12  # what conftest.py leaves to tiny_trained


def expected_of(waveform: np.ndarray, hop: int) -> list[tuple[float, float, float]]:
    """(start_s, end_s, score) of each window, computed in float64 without any server."""
    starts = windows.window_starts("sliding", len(waveform), W, hop)
    scores = [tiny_repository.logits_of(windows.cut(waveform, start, W))[1] for start in starts]
    ends = [min(start + W, len(waveform)) for start in starts]
    return [(start / RATE_HZ, end / RATE_HZ, score) for start, end, score in zip(starts, ends, scores, strict=True)]


def check(answers: list[dict], waveform: np.ndarray, hop: int, *, atol: float = 1e-5) -> None:
    """Each window once, right, and in order as they came."""
    expected = expected_of(waveform, hop)
    assert [int(answer["WINDOW"][0]) for answer in answers] == list(range(len(expected)))
    found = [(answer["START_S"][0], answer["END_S"][0], answer["SCORE"][0]) for answer in answers]
    np.testing.assert_allclose(found, expected, atol=atol, rtol=0)
    for number, answer in enumerate(answers, 1):
        assert answer["LOGITS"][1] == answer["SCORE"][0]
        np.testing.assert_allclose(answer["POOLED"][0], np.mean([score for *_, score in found[:number]]), atol=1e-6)


def code_of(caught: pytest.ExceptionInfo[RuntimeError]) -> ErrorCode | None:
    return split_code(str(caught.value))[0]


def as_bytes(waveform: np.ndarray, encoding: str = "fp32") -> bytes:
    return (waveform.astype("<f4") if encoding == "fp32" else np.round(waveform * 32768).astype("<i2")).tobytes()


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    return [content[start:stop] for start, stop in itertools.pairwise(edges)]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n_samples=st.integers(1, 5 * W),
    hop=st.integers(W // 20, W),
    encoding=st.sampled_from(["int16", "fp32"]),
    cuts=st.lists(st.integers(0, 5 * W * 4), max_size=40),
)
def test_chunks_of_any_length(whole, speech, n_samples: int, hop: int, encoding: str, cuts: list[int]) -> None:
    """Cut at any byte, within a sample too."""
    waveform = speech[20_000 : 20_000 + n_samples]
    answers = whole("any", pieces(as_bytes(waveform, encoding), cuts), encoding=encoding, hop_samples=hop)
    check(answers, waveform[:n_samples], hop)


def test_one_sample_a_chunk(whole, speech) -> None:
    content = as_bytes(speech[:20_000], "int16")
    answers = whole("single", [content[i : i + 2] for i in range(0, len(content), 2)], hop_samples=2_000)
    check(answers, speech[:20_000], 2_000)


def test_everything_in_one_request_under_a_numeric_id(bare, speech) -> None:
    stream = bare(7, encoding="fp32")
    stream.send(as_bytes(speech), end=True)
    stream.hang_up()
    check(list(stream.answers()), speech, W)


def test_a_window_is_answered_when_its_last_sample_is_there(bare, speech) -> None:
    stream = bare("prompt", encoding="fp32")
    answers = stream.answers()
    stream.send(as_bytes(speech[: W - 1]))
    stream.send(as_bytes(speech[W - 1 : W]))
    assert int(next(answers)["WINDOW"][0]) == 0  # no later chunk, no END
    stream.send(as_bytes(speech[W : W + 10]), end=True)
    assert next(answers)["END_S"][0] == (W + 10) / RATE_HZ
    stream.hang_up()


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_a_telephone_line_scores_as_the_client_scores_its_recording(
    whole, live_server: Server, speech, tmp_path, encoding: str, subtype: str
) -> None:
    """Within 1e-3: the server's resampler and soxr differ at a recording's very edges, and by 2e-5 elsewhere."""
    import soundfile
    import soxr

    path = tmp_path / "line.raw"
    line = soxr.resample(speech, RATE_HZ, 8000, quality="HQ")
    soundfile.write(path, line, 8000, format="RAW", subtype=subtype)
    soundfile.write(tmp_path / "line.wav", line, 8000, subtype=subtype)
    answers = whole(encoding, pieces(path.read_bytes(), [1, 160, 320, 9999]), encoding=encoding, hop_samples=4000)
    with Detector(live_server.grpc_url, "tiny") as detector:
        offline = detector.score(tmp_path / "line.wav", mode="sliding", hop_s=0.25)
    assert [answer["START_S"][0] for answer in answers] == [window.start_s for window in offline.windows]
    np.testing.assert_allclose(
        [answer["SCORE"][0] for answer in answers], [window.score for window in offline.windows], atol=1e-3
    )


def test_pooling_is_a_parameter(whole, speech) -> None:
    answers = whole("pool", [as_bytes(speech)], encoding="fp32", hop_samples=4000, pool="p10")
    scores = [float(answer["SCORE"][0]) for answer in answers]
    assert answers[-1]["POOLED"][0] == pytest.approx(np.percentile(scores, 10))


@pytest.mark.parametrize(
    ("parameters", "chunk", "words"),
    [
        ({"encoding": "opus"}, b"", "encoding: expected int16, fp32, mulaw, alaw, found 'opus'"),
        ({"hop_samples": W + 1}, b"", f"hop_samples: expected 1 to {W} .the window., found {W + 1}"),
        ({"hop_samples": "1 s"}, b"", "hop_samples: expected a whole number"),
        ({"pool": "median"}, b"", "expected pool mean, min or a percentile"),
        ({"encoding": "fp32"}, np.array([np.inf], "<f4").tobytes(), "expected finite samples"),
        ({}, b"\1", "ends within a sample: 1 of 2 bytes"),
    ],
)
def test_a_bad_stream_is_its_own_error(bare, whole, speech, parameters: dict, chunk: bytes, words: str) -> None:
    good = bare("neighbour", encoding="fp32")
    good.send(as_bytes(speech[:W]))
    with pytest.raises(RuntimeError, match=words) as caught:
        whole("bad", [chunk], **parameters)
    assert code_of(caught) == ErrorCode.BAD_STREAM
    good.send(as_bytes(speech[W:]), end=True)
    good.hang_up()
    check(list(good.answers()), speech, W)


def test_another_clients_malformed_requests_end_no_stream(whole, live_server: Server, speech) -> None:
    """Triton takes a batch of 0 rows, or of 2^32, that holds one row's bytes, and then fails everyone in its batch."""
    stopped, refused = threading.Event(), []

    def spoil() -> None:
        with grpc.insecure_channel(live_server.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for rows in itertools.cycle([0, 1 << 32]):
                request = service_pb2.ModelInferRequest(model_name="tiny", raw_input_contents=[bytes(4 * W)])
                request.inputs.add(name="WAVEFORM", datatype="FP32", shape=[rows, W])
                with pytest.raises(grpc.RpcError, match="max allowed is"):
                    stub.ModelInfer(request)
                refused.append(rows)
                if stopped.wait(0.02):
                    return

    with ThreadPoolExecutor(1) as pool:
        spoiler = pool.submit(spoil)
        try:
            for number in range(5):
                check(whole(f"spoilt {number}", [as_bytes(speech)], encoding="fp32", hop_samples=1000), speech, 1000)
        finally:
            stopped.set()
        spoiler.result()
    assert refused


def test_a_failed_stream_has_ended(bare) -> None:
    stream = bare("fails", encoding="fp32")
    stream.send(np.array([np.nan], "<f4").tobytes())
    with pytest.raises(RuntimeError, match="finite"):
        next(stream.answers())
    stream.send(b"")
    with pytest.raises(RuntimeError, match=r"no such stream: .* begin a new one with the START flag") as caught:
        next(stream.answers())
    assert code_of(caught) == ErrorCode.NO_SUCH_STREAM
    stream.hang_up()


def test_a_stream_needs_a_start(bare) -> None:
    stream = bare("headless")
    stream.send(b"", start=False)
    with pytest.raises(RuntimeError, match="must specify the START flag"):
        next(stream.answers())
    stream.hang_up()


def test_an_id_that_is_used_again_starts_clean(bare, whole, speech) -> None:
    stream = bare("again", encoding="fp32", hop_samples=100)
    stream.send(as_bytes(speech[: W - 1]))
    check(whole("again", [as_bytes(speech[5000:30_000])], encoding="fp32", hop_samples=3000), speech[5000:30_000], 3000)
    stream.hang_up()
    assert list(stream.answers()) == []


def test_an_end_without_audio_answers_nothing(whole) -> None:
    assert whole("empty", []) == []


def test_an_idle_stream_expires_and_says_so(bare_brief) -> None:
    stream = bare_brief("idle")
    stream.send(b"")
    time.sleep(3.2)  # 2 s, and the sweep
    stream.send(b"")
    with pytest.raises(RuntimeError, match="sent nothing for 2 s") as caught:
        next(stream.answers())
    assert code_of(caught) == ErrorCode.NO_SUCH_STREAM
    stream.hang_up()


def test_answers_come_in_order_however_fast(bare, speech) -> None:
    """Of several hundred streams whose every request completes a window. Triton 24.10 writes the answers of different

    requests from two threads, so order by luck would pass here now and then; that all are answers to the first request,
    which Triton does keep in order, is no luck.
    """
    hop, n_windows = W // 16, 20
    waveform = speech[: W + (n_windows - 1) * hop]
    chunks = pieces(as_bytes(waveform), [4 * (W + n * hop) for n in range(n_windows - 1)])

    def run(number: int) -> list[tuple[int, str]]:
        stream = bare(f"swap {number}", encoding="fp32", hop_samples=hop)
        for chunk in chunks:
            stream.send(chunk)
        stream.send(b"", end=True)
        stream.hang_up()
        return [(int(answer["WINDOW"][0]), request_id) for answer, request_id in stream.answers_and_requests()]

    with ThreadPoolExecutor(12) as pool:
        everything = list(pool.map(run, range(200)))
    expected = [(window, "0") for window in range(n_windows)]
    assert [found for found in everything if found != expected] == []


def test_a_call_that_is_half_closed_without_an_end_ends_with_its_stream(bare_brief, speech) -> None:
    """As an idle one does: what is owed is answered, the last window, aligned to the end, is not."""
    stream = bare_brief("half closed", encoding="fp32", timeout_s=60)
    stream.send(as_bytes(speech[: W + 500]))
    stream.hang_up()
    assert [int(answer["WINDOW"][0]) for answer in stream.answers()] == [0]
    assert stream.call.code() == grpc.StatusCode.OK


def test_streams_whose_calls_are_gone_make_room_at_once(bare, speech) -> None:
    """Long before they are idle for their 30 s: as many as the model takes, three, hang up one after the other."""
    deadline_s = time.monotonic() + 15
    for number in range(9):
        while True:
            stream = bare(f"gone {number} {time.monotonic()}", "tiny_trained", encoding="fp32")
            stream.send(as_bytes(speech[:W]))
            try:
                assert int(next(stream.answers())["WINDOW"][0]) == 0
                break
            except RuntimeError as error:
                if ErrorCode.TOO_MANY_STREAMS not in str(error):
                    raise
                stream.hang_up()
                assert time.monotonic() < deadline_s
                time.sleep(0.2)
        stream.call.cancel()
    time.sleep(2.5)  # the sweep: the last ones' room is for the next test


def opened_with_patience(bare, name: str, speech: np.ndarray):
    """A stream of tiny_trained that has had its first answer: tried again while there is no room."""
    deadline_s = time.monotonic() + 15
    while True:
        stream = bare(f"{name} {time.monotonic()}", "tiny_trained", timeout_s=20, encoding="fp32")
        stream.send(as_bytes(speech[:W]))
        try:
            assert int(next(stream.answers())["WINDOW"][0]) == 0
        except RuntimeError as error:
            assert ErrorCode.TOO_MANY_STREAMS in str(error)
            assert time.monotonic() < deadline_s
            stream.hang_up()
            time.sleep(0.2)
        else:
            return stream


def test_streams_that_are_left_without_an_end_fill_no_place_of_tritons(bare, speech) -> None:
    """Four times as many as Triton has places for, long before it calls them idle, after 60 s.

    Without a place a stream waits in silence, for longer than these calls' deadline.
    """
    for number in range(4 * FEW_PLACES):
        opened_with_patience(bare, f"left {number}", speech).call.cancel()
    stream = opened_with_patience(bare, "after those that were left", speech)
    stream.send(b"", end=True)
    stream.hang_up()
    assert list(stream.answers()) == []


def test_streams_that_were_refused_fill_no_place_of_tritons(bare, speech) -> None:
    """Their calls stay open, and nobody says END."""
    taken = [opened_with_patience(bare, f"holds {number}", speech) for number in range(FEW_STREAMS)]
    refused = []
    for number in range(2 * (FEW_PLACES - FEW_STREAMS - 1)):
        stream = bare(f"too many {number}", "tiny_trained", timeout_s=20)
        stream.send(b"")
        with pytest.raises(RuntimeError, match=ErrorCode.TOO_MANY_STREAMS):
            next(stream.answers())
        refused.append(stream)
        if len(refused) == FEW_PLACES - FEW_STREAMS - 1:
            time.sleep(7)  # the backend's LINGER_S, and the sweep
    for stream in taken:
        stream.send(b"", end=True)
    for stream in taken + refused:
        stream.hang_up()
    for stream in taken:
        assert list(stream.answers()) == []


def test_more_streams_than_the_model_takes_are_refused_at_once(bare, speech) -> None:
    streams = [bare(f"taken {number}", "tiny_trained", encoding="fp32") for number in range(3)]
    for stream in streams:
        stream.send(as_bytes(speech[:W]))
        assert int(next(stream.answers())["WINDOW"][0]) == 0
    refused = bare("refused", "tiny_trained")
    refused.send(b"")
    with pytest.raises(RuntimeError, match="3 streams are open, as many as this model takes: try later") as caught:
        next(refused.answers())
    assert code_of(caught) == ErrorCode.TOO_MANY_STREAMS
    gone, *streams = streams
    gone.send(b"", end=True)
    gone.hang_up()
    assert list(gone.answers()) == []  # its END has arrived
    later = bare("later", "tiny_trained", encoding="fp32")
    later.send(as_bytes(speech[:W]))
    assert int(next(later.answers())["WINDOW"][0]) == 0
    for stream in [*streams, later]:
        stream.send(b"", end=True)
    refused.send(b"", end=True)
    for stream in [*streams, refused, later]:
        stream.hang_up()
    for stream in [*streams, later]:  # a call that is let go too early is cancelled, its END with it
        assert list(stream.answers()) == []


def inferences(server: Server, model: str = "tiny") -> tuple[int, int]:
    """Windows and batches that the detector has answered."""
    with urllib.request.urlopen(server.metrics_url) as response:
        lines = response.read().decode().splitlines()
    values = [
        next(line for line in lines if line.startswith(f'{name}{{model="{model}"'))
        for name in ("nv_inference_count", "nv_inference_exec_count")
    ]
    return int(values[0].rsplit(" ", 1)[1]), int(values[1].rsplit(" ", 1)[1])


def test_sixty_streams_at_once_meet_in_the_detectors_batches(whole, live_server: Server, speech) -> None:
    count, batches = inferences(live_server)
    chunks = pieces(as_bytes(speech), list(range(0, 4 * len(speech), 25_600)))
    with ThreadPoolExecutor(60) as pool:
        everything = list(
            pool.map(lambda n: whole(f"of sixty {n}", chunks, encoding="fp32", hop_samples=4000), range(60))
        )
    for answers in everything:
        check(answers, speech, 4000)
    more, more_batches = inferences(live_server)
    assert more - count == 60 * len(expected_of(speech, 4000))
    assert more_batches - batches < 0.8 * (more - count)


def test_a_client_that_hangs_up_costs_no_more_windows(bare, live_server: Server, speech) -> None:
    stream = bare("hangs up", encoding="fp32", hop_samples=100)
    stream.send(as_bytes(np.tile(speech, 20)))  # 106 s: 16,800 windows, many seconds' work
    next(stream.answers())
    stream.call.cancel()
    counts = [inferences(live_server)[0]]
    while len(counts) < 2 or counts[-1] != counts[-2]:  # until the hang-up has arrived
        assert len(counts) < 8
        time.sleep(1)
        counts.append(inferences(live_server)[0])


def memory_of(server: Server) -> int:
    """Bytes that the server and its backends hold, shared memory counted once, mapped files not at all."""
    triton, total = psutil.Process(server.pid), 0
    for process in [triton, *triton.children(recursive=True)]:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total * 1024


def test_a_thousand_abandoned_streams_leave_nothing_behind(bare, whole, live_server: Server, speech) -> None:
    def abandon(number: int) -> None:
        stream = bare(f"abandoned {number} {time.monotonic()}", encoding="fp32")
        stream.send(as_bytes(speech[: W + 5000]))
        next(stream.answers())
        stream.hang_up()

    def after_a_round() -> int:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(abandon, range(1000)))
        time.sleep(3.2)
        return memory_of(live_server)

    # What is left behind is left in each round; arenas, shared memory and gRPC's buffers grow in some of them only.
    sizes = [after_a_round()]
    for _ in range(5):
        sizes.append(after_a_round())
        if sizes[-1] < 1.05 * sizes[-2]:
            break
    else:
        raise AssertionError(f"each round of streams leaves memory behind: {sizes}")
    check(whole("after", [as_bytes(speech)], encoding="fp32"), speech, W)
