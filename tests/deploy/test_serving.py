"""The embedded server answers right, to each request alone."""

import concurrent.futures
import shutil
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

import tiny_repository
from dfcontract.tensors import WARMUP_FILE
from dfdeploy import doors, selfcheck
from dfdeploy.__main__ import main
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError, ModelsUnusable, RepositoryUnusable
from dfexport.signals import wave
from held import backends_held

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


def test_a_request_that_comes_while_another_is_computed_is_next(
    tiny_server: Server, client: triton.InferenceServerClient
) -> None:
    """With a limit on its queue, Triton often leaves it for half a second, or until somebody else asks something."""
    window, waits_s = wave(1, N), []
    eight = np.repeat(window[None], 8, axis=0)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            with backends_held(tiny_server):
                first = pool.submit(client.infer, "tiny", request(eight))
                time.sleep(0.05)
                second = pool.submit(client.infer, "tiny", request(window[None]))
                time.sleep(0.05)
            first.result()
            answered_s = time.perf_counter()
            second.result()
            waits_s.append(time.perf_counter() - answered_s)
    assert sum(0.4 < wait_s < 0.7 for wait_s in waits_s) <= 2  # with a limit on the queue some eight


def test_what_has_waited_too_long_is_refused_and_nothing_else(
    tiny_server: Server, client: triton.InferenceServerClient
) -> None:
    window = request(wave(1, N)[None])

    def ask(allowed_us: int) -> triton.InferResult:
        begin_by = {"begin_by_unix_us": time.time_ns() // 1000 + allowed_us}
        return client.infer("tiny", window, timeout=allowed_us, parameters=begin_by)

    n_refused = 0
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        while not n_refused:  # pytest's limit ends it
            patient = [pool.submit(ask, 60_000_000) for _ in range(8)]
            hasty = [pool.submit(ask, 500) for _ in range(16)]
            silent = [pool.submit(client.infer, "tiny", window) for _ in range(8)]
            answers = [future.result() for future in (*patient, *silent)]
            for future in hasty:
                if (error := future.exception()) is None:
                    answers.append(future.result())
                else:
                    assert error.status() == "StatusCode.UNAVAILABLE"
                    assert "DF_TOO_LATE: expected to begin within 0.0005 s of the call, found " in error.message()
                    n_refused += 1
            for answer in answers:
                np.testing.assert_allclose(
                    answer.as_numpy("LOGITS")[0], tiny_repository.logits_of(wave(1, N)), atol=1e-5
                )
    with urllib.request.urlopen(tiny_server.metrics_url) as response:
        text = response.read().decode()
    assert f'dfserve_requests_too_late_total{{model="tiny"}} {n_refused}' in text


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_client_whose_clock_is_wrong_is_answered(client: triton.InferenceServerClient, hours: int) -> None:
    begin_by = {"begin_by_unix_us": time.time_ns() // 1000 + hours * 3_600_000_000}
    answer = client.infer("tiny", request(wave(1, N)[None]), timeout=1_000_000, parameters=begin_by)
    np.testing.assert_allclose(answer.as_numpy("LOGITS")[0], tiny_repository.logits_of(wave(1, N)), atol=1e-5)


def test_everything_listens_on_loopback_alone(tiny_server: Server) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(tiny_server.pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}  # IPv4 in IPv6's clothes


def test_metrics_count_what_was_served(tiny_server: Server, client: triton.InferenceServerClient) -> None:
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
    with Server(models) as server:
        assert server.models == ["tiny_trained", "tiny_trained_live"]
        assert server.left_out["tiny"].startswith("answers wrong: logits")
        assert server.left_out["tiny_live"]
    shutil.rmtree(models / "tiny_trained")
    shutil.rmtree(models / "tiny_trained_live")
    with pytest.raises(ModelsUnusable, match=r"tiny answers wrong: logits.*log: \S+\.log"), Server(models):
        pytest.fail("a server that answers wrong was called ready")


def test_a_model_without_a_self_check_is_not_trusted(tiny_server: Server, tmp_path: Path) -> None:
    wrong = selfcheck.wrong_models(tiny_server.grpc_url, tmp_path, ["tiny"])
    assert wrong["tiny"].startswith("can't be checked: it has no self_check_logits")


@pytest.mark.parametrize("model", ["tiny", "tiny_live"])
def test_a_self_check_of_another_length_is_no_self_check(tiny_server: Server, tmp_path: Path, model: str) -> None:
    warmup = tmp_path / "tiny" / WARMUP_FILE
    warmup.parent.mkdir(parents=True)
    wave(1, 3 * N).astype("<f4").tofile(warmup)
    wrong = selfcheck.wrong_models(tiny_server.grpc_url, tmp_path, [model])
    assert wrong[model].startswith(f"can't be checked: expected {N} samples in {warmup}, found {3 * N}; ")


def test_a_model_that_answers_with_another_identity_is_found(tmp_path: Path) -> None:
    models = tiny_repository.write(tmp_path / "models")
    break_card(models, f'"{tiny_repository.IDENTITIES["tiny"]}"', '"77"')
    with Server(models) as server:
        assert server.left_out["tiny"].startswith("answers with another graph than its card's: ")


def break_card(models: Path, old: str, new: str) -> None:
    for config in (models / "tiny").rglob("*.pbtxt"):
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))


def break_graph(models: Path) -> None:
    (models / "tiny/1/model.onnx").write_bytes(b"not a graph")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (break_graph, "does not load: "),
        (
            lambda models: break_card(models, 'backend: "onnxruntime"', 'backend: "tensorflow"'),
            "has live, onnxruntime, ",
        ),
        (
            lambda models: break_card(models, '"random"', '"banana"'),
            "expected pretrained or custom or random as weights",
        ),
        (lambda models: (models / "tiny/config.pbtxt").write_text("{"), "can't be read as a model configuration"),
    ],
    ids=["graph", "backend", "card", "configuration"],
)
def test_a_broken_model_is_left_out_and_the_good_ones_beside_it_are_served(tmp_path: Path, spoil, reason: str) -> None:
    models = tiny_repository.write(tmp_path / "models")
    spoil(models)
    with Server(models) as server, triton.InferenceServerClient(server.grpc_url) as client:
        assert server.models == ["tiny_trained", "tiny_trained_live"]
        assert sorted(server.left_out) == ["tiny", "tiny_live"]
        assert reason in server.left_out["tiny"]
        assert {model.name for model in client.get_model_repository_index().models} == {*server.models}


def test_a_broken_model_alone_is_an_error(tmp_path: Path) -> None:
    models = tiny_repository.write(tmp_path / "models")
    break_graph(models)
    shutil.rmtree(models / "tiny_trained")
    shutil.rmtree(models / "tiny_trained_live")
    with pytest.raises(ModelsUnusable, match=r"tiny does not load: .*log: \S+\.log"), Server(models):
        pytest.fail("a broken model was called ready")


def http_status(server: Server, path: str, content: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(f"{server.http_url}{path}", content) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_embedded_servers_doors(tiny_server: Server, client: triton.InferenceServerClient) -> None:
    """What clients need is open; what changes the server needs the run's key, HTTP inference a wish."""
    opened = ["/v2/health/ready", "/v2", "/v2/models/tiny", "/v2/models/tiny/config", "/v2/models/stats"]
    assert [http_status(tiny_server, path) for path in opened] == [200] * 5
    closed = ["/v2/logging", "/v2/trace/setting", "/v2/systemsharedmemory/status"]
    assert [http_status(tiny_server, path) for path in closed] == [403] * 3
    assert http_status(tiny_server, "/v2/models/tiny/infer", b"{}") == 403
    assert client.get_inference_statistics("tiny").model_stats
    for call in (client.get_log_settings, client.get_trace_settings, client.get_system_shared_memory_status):
        with pytest.raises(InferenceServerException, match="restricted"):
            call()
    with pytest.raises(InferenceServerException, match="not allowed"):
        client.unload_model("tiny")


def test_the_containers_doors_as_this_release_takes_them(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFSERVE_PROTOCOL_KEY", "operators")
    flags = doors.container_options(http_inference=False)
    monkeypatch.setattr(doors, "options", lambda key, **_how: flags)
    with Server(tiny_models) as server, triton.InferenceServerClient(server.grpc_url) as client:
        assert client.is_model_ready("tiny")
        assert client.get_model_config("tiny")
        calls = [
            client.get_inference_statistics,
            client.get_log_settings,
            client.get_trace_settings,
            client.get_system_shared_memory_status,
        ]
        for call in calls:
            with pytest.raises(InferenceServerException, match="restricted"):
                call()
            call(headers={"triton-grpc-protocol-dfserve-key": "operators"})
        with pytest.raises(InferenceServerException, match="not allowed"):
            client.load_model("tiny")
        assert http_status(server, "/v2/models/stats") == http_status(server, "/v2/models/tiny/infer", b"{}") == 403


def test_http_inference_is_there_for_whoever_asks(tiny_models: Path) -> None:
    with Server(tiny_models, http_inference=True) as server:
        assert http_status(server, "/v2/models/tiny/infer", b"{}") != 403  # answered, and found wanting


def test_no_other_user_can_read_a_requests_audio_or_the_key(tiny_server: Server) -> None:
    run_dir = tiny_server.log.with_suffix("")
    regions = list(Path("/dev/shm").glob(f"{run_dir.name}*"))
    assert regions
    assert {stat.S_IMODE(path.stat().st_mode) for path in [*regions, run_dir / "key", tiny_server.log]} == {0o600}
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700


def test_check_proves_a_servers_answers(
    tiny_server: Server, tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["check", f"--url={tiny_server.grpc_url}"]
    assert main([*check, f"--repository={tiny_models}"]) == 0
    names = ["tiny", "tiny_live", "tiny_trained", "tiny_trained_live"]
    assert capsys.readouterr().out.splitlines() == [f"{name} answers right" for name in names]
    other = shutil.copytree(tiny_models, tmp_path / "other")
    waveform = other / "tiny" / WARMUP_FILE
    waveform.write_bytes(wave(2, N).tobytes())
    assert main([*check, f"--repository={other}"]) == 1
    assert "tiny answers wrong: logits" in capsys.readouterr().out
    assert main([*check, f"--repository={tmp_path / 'none'}"]) == 1


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


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_the_profile_of_gpus_without_one_says_what_to_do(tiny_models: Path) -> None:
    with pytest.raises(DeployError, match="Triton sees no GPU here: leave --profile gpu out"):
        Server(tiny_models, profile="gpu").start()
