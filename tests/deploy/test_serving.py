"""The embedded server answers right, to each request alone."""

import concurrent.futures
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

import tiny_repository
from dfdeploy import selfcheck
from dfdeploy.embedded import Server
from dfdeploy.errors import RepositoryUnusable, WrongAnswers
from dfexport.signals import wave

N = tiny_repository.WINDOW_SAMPLES


@pytest.fixture(scope="module")
def client(tiny_server: Server) -> triton.InferenceServerClient:
    with triton.InferenceServerClient(tiny_server.grpc_url) as client:
        yield client


def request(array: np.ndarray, dtype: str = "FP32") -> list[triton.InferInput]:
    tensor = triton.InferInput("WAVEFORM", list(array.shape), dtype)
    tensor.set_data_from_numpy(array)
    return [tensor]


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
def test_a_batch_of_any_size_is_answered_in_order(client: triton.InferenceServerClient, batch: int) -> None:
    windows = np.stack([wave(seed, N) for seed in range(batch)])
    answer = client.infer("tiny", request(windows))
    expected = np.stack([tiny_repository.logits_of(window) for window in windows])
    np.testing.assert_allclose(answer.as_numpy("LOGITS"), expected, atol=1e-5)
    np.testing.assert_array_equal(answer.as_numpy("SCORE"), answer.as_numpy("LOGITS")[:, 1:])


def test_a_bad_waveform_is_its_own_error_alone(client: triton.InferenceServerClient) -> None:
    windows = [wave(seed, N) for seed in range(12)]
    for index, value in ((3, np.nan), (7, np.inf), (10, -np.inf)):
        windows[index] = windows[index].copy()
        windows[index][100] = value
    with concurrent.futures.ThreadPoolExecutor(12) as pool:  # all at once, so that they share batches
        futures = [pool.submit(client.infer, "tiny", request(window[None])) for window in windows]
    for index, (window, future) in enumerate(zip(windows, futures, strict=True)):
        if index in (3, 7, 10):
            with pytest.raises(
                InferenceServerException, match=r"DF_BAD_WAVEFORM: .*expected finite samples, found 1 NaN or infinite"
            ) as caught:
                future.result()
            assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        else:
            logits = future.result().as_numpy("LOGITS")[0]
            np.testing.assert_allclose(logits, tiny_repository.logits_of(window), atol=1e-5)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.zeros((1, N), np.float64), "FP64"),
        (np.zeros((1, N), np.int16), "INT16"),
        (np.zeros((1, N - 1), np.float32), "FP32"),
        (np.zeros((N,), np.float32), "FP32"),
        (np.zeros((1, 1, N), np.float32), "FP32"),
        (np.zeros((9, N), np.float32), "FP32"),
    ],
    ids=["float64", "int16", "short", "no batch axis", "three axes", "batch above the limit"],
)
def test_a_wrong_tensor_is_an_invalid_argument(
    client: triton.InferenceServerClient, array: np.ndarray, dtype: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("tiny", request(array, dtype))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_full_queue_rejects_at_once(tmp_path: Path) -> None:
    """What does not fit hears so; what waited is answered."""
    models = tiny_repository.write(tmp_path / "models")
    for config in (models / "tiny").rglob("*.pbtxt"):
        # Requests wait a second for a full batch, which a queue of four never makes.
        text = config.read_text().replace("max_queue_size: 128", "max_queue_size: 4")
        config.write_text(
            text.replace("dynamic_batching {", "dynamic_batching {\n  max_queue_delay_microseconds: 1000000")
        )
    window = wave(1, N)
    with Server(models) as server, triton.InferenceServerClient(server.grpc_url) as client:
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            futures = [pool.submit(client.infer, "tiny", request(window[None])) for _ in range(12)]
        errors = [error for future in futures if (error := future.exception())]
        answers = [future.result() for future in futures if not future.exception()]
    assert answers
    assert len(errors) >= 4  # a second batch of four may have found room
    for error in errors:
        assert error.status() == "StatusCode.UNAVAILABLE"
        assert "Exceeds maximum queue size" in error.message()
    for answer in answers:
        np.testing.assert_allclose(answer.as_numpy("LOGITS")[0], tiny_repository.logits_of(window), atol=1e-5)


def test_everything_listens_on_loopback_alone(tiny_server: Server) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(tiny_server.pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}  # IPv4 in IPv6's clothes


def test_metrics_count_what_was_served(tiny_server: Server, client: triton.InferenceServerClient) -> None:
    import urllib.request

    client.infer("tiny", request(wave(1, N)[None]))
    with urllib.request.urlopen(tiny_server.metrics_url) as response:
        text = response.read().decode()
    assert 'nv_inference_request_success{model="tiny"' in text


def test_a_model_that_answers_wrong_is_never_ready(tmp_path: Path) -> None:
    models = tiny_repository.write(tmp_path / "models")
    for config in (models / "tiny").rglob("*.pbtxt"):
        text = config.read_text()
        spoof, bonafide = np.float32(tiny_repository.logits_of(wave(1, N)))
        assert f"{spoof:.9g} {bonafide:.9g}" in text
        config.write_text(text.replace(f"{spoof:.9g} {bonafide:.9g}", f"{spoof:.9g} {bonafide + 0.001:.9g}"))
    with pytest.raises(WrongAnswers, match="tiny answers wrong: logits"), Server(models):
        pytest.fail("a server that answers wrong was called ready")


def test_a_model_without_a_self_check_is_not_trusted(tiny_server: Server, tmp_path: Path) -> None:
    with pytest.raises(WrongAnswers, match="tiny can't be checked"):
        selfcheck.check_models(tiny_server.grpc_url, tmp_path, ["tiny"])


def test_a_model_that_does_not_load_is_named(tmp_path: Path) -> None:
    models = tiny_repository.write(tmp_path / "models")
    (models / "tiny_trained/1/model.onnx").write_bytes(b"not a graph")
    with (
        pytest.raises(RepositoryUnusable, match=r"failed to load 'tiny_trained'.*Its log: \S+\.log"),
        Server(models),
    ):
        pytest.fail("a broken model was called ready")


def test_a_model_for_an_unknown_backend_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    models = tiny_repository.write(tmp_path / "models")
    config = models / "tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace('backend: "onnxruntime"', 'backend: "openvino"'))
    with pytest.raises(
        RepositoryUnusable, match=r"tiny is for the backend 'openvino'.* has live, onnxruntime, pytorch, python;"
    ):
        Server(models)


def test_thousands_of_requests_leave_no_trace(tmp_path: Path) -> None:
    """Neither in a backend's memory, nor in the log: each tensor crosses as a capsule that somebody must let go."""
    models = tiny_repository.write(tmp_path / "models")
    windows = [request(wave(seed, N)[None]) for seed in range(8)]
    with Server(models) as server, triton.InferenceServerClient(server.grpc_url) as client:

        def send(count: int) -> int:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: client.infer("tiny", windows[number % 8]), range(count)))
            return sum(psutil.Process(pid).memory_full_info().uss for pid in server.backend_pids)

        lines = len(server.log.read_text().splitlines())
        before = send(2000)
        # What crosses with a request takes 64 KB one way and, with what carries it, 0.6 KB the other.
        assert send(6000) - before < 2 << 20
        assert len(server.log.read_text().splitlines()) == lines


def test_an_empty_repository_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RepositoryUnusable, match="make export"):
        Server(tmp_path)
