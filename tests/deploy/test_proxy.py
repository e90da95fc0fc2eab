"""A real nginx with the project's configuration, before a real Triton: who gets through, and with what."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from authority import Authority
from dfclient import Credentials, Detector, RetryPolicy, Server
from dfclient.errors import AccessDenied, RequestRefused, ServerBusy, ServerError
from dfclient.retry import NO_RETRIES
from dfdeploy import embedded
from dfdeploy.machine import missing_line, which
from dfdeploy.tls import Tls

CONFIG = Path(__file__).parents[2] / "deploy/proxy/nginx.conf"
WINDOW = np.zeros(16000, np.float32)


@dataclass
class Proxy:
    """A running nginx.

    Attributes:
        port: TLS.
        folder: its prefix.
        authority: who vouches for it.
    """

    port: int
    folder: Path
    authority: trustme.CA

    @property
    def url(self) -> str:
        return f"localhost:{self.port}"

    def credentials(self, api_key: str, **more: Path) -> Credentials:
        """A client's, with that key."""
        return Credentials(tls=True, ca=self.folder / "ca.pem", api_key=api_key, **more)

    def calls(self) -> list[dict[str, str]]:
        """The lines of its log."""
        return [json.loads(line) for line in (self.folder / "logs/calls.log").read_text().splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def proxy(tmp_path: Path, tiny_server: embedded.Server) -> Iterator[Callable[..., Proxy]]:
    """proxy(clients="", change=None, triton=tiny_server.grpc_url) → an nginx before a server."""
    nginx = which("nginx")
    if nginx is None:
        pytest.skip(str(missing_line("nginx-light")))
    started: list[subprocess.Popen[bytes]] = []

    def start(clients: str = "", change: tuple[str, str] | None = None, triton: str = tiny_server.grpc_url) -> Proxy:
        authority, port = trustme.CA(), free_port()
        folder = tmp_path / f"proxy-{port}"
        for name in ("tls", "run", "logs"):
            (folder / name).mkdir(parents=True)
        issued = authority.issue_cert("localhost")
        (folder / "tls/server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(folder / "tls/server.key")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        config = CONFIG.read_text()
        if change is not None:
            assert change[0] in config
            config = config.replace(*change)
        files = {
            "nginx.conf": config,
            "keys.conf": '"analysts-key" analyst;\n"phones-key" phone;\n',
            "upstream.conf": f"server {triton};\n",
            "listen.conf": f"listen 127.0.0.1:{port} ssl http2;\n",
            "clients.conf": clients,
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        command = [nginx, "-p", folder, "-c", "nginx.conf", "-e", "logs/error.log", "-g", "daemon off;"]
        started.append(subprocess.Popen(command))
        _wait_for(port, started[-1])
        return Proxy(port, folder, authority)

    yield start
    for process in started:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nginx ended with {process.returncode}")


def test_a_client_with_a_key_is_served_and_one_without_is_not(
    proxy: Callable[..., Proxy], tiny_server: embedded.Server
) -> None:
    front = proxy()
    rng = np.random.default_rng(1)
    waveform = rng.normal(0, 0.1, 40000).astype(np.float32)
    with Detector(tiny_server.grpc_url, "tiny") as direct:
        expected = direct.score(waveform, 16000, mode="sliding")
        with Detector(front.url, "tiny", credentials=front.credentials("analysts-key")) as detector:
            assert detector.score(waveform, 16000, mode="sliding").windows == expected.windows
            with detector.stream(hop_s=1.0) as live:
                live.send(waveform)
                live.end()
                through = [(window.score, window.logits) for window in live]
        with direct.stream(hop_s=1.0) as live:
            live.send(waveform)
            live.end()
            assert through == [(window.score, window.logits) for window in live]
    for key in ("", "nobodys-key", "analysts-key2"):
        with pytest.raises(AccessDenied, match="DFSERVE_API_KEY"):
            Detector(front.url, "tiny", credentials=front.credentials(key))
    with Server(front.url, credentials=front.credentials("phones-key")) as server:
        assert {card.model for card in server.models()} == {"tiny", "tiny_trained"}
        assert server.health().is_good
    calls = front.calls()
    names = [
        call["request_id"] for call in calls if call["call"].endswith("ModelInfer") and call["client"] == "analyst"
    ]
    assert len({name.partition("-")[0] for name in names}) == 1  # the client's own names
    assert sorted(int(name.partition("-")[2]) for name in names) == [*range(1, len(names) + 1)]
    assert {call["client"] for call in calls} == {"analyst", "phone", ""}
    assert {call["status"] for call in calls if call["client"] == ""} == {401}
    assert "analysts-key" not in (front.folder / "logs/calls.log").read_text()


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=64)),
        ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
        ("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
        ("TraceSetting", pb.TraceSettingRequest()),
        ("LogSettings", pb.LogSettingsRequest()),
        ("ModelStatistics", pb.ModelStatisticsRequest()),
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="tiny")),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="tiny")),
    ],
)
def test_what_is_no_clients_call_is_refused(proxy: Callable[..., Proxy], method: str, request_: object) -> None:
    front = proxy()
    with front.credentials("analysts-key").channel(front.url, []) as channel, pytest.raises(grpc.RpcError) as caught:
        getattr(GRPCInferenceServiceStub(channel), method)(
            request_, timeout=20, metadata=front.credentials("analysts-key").metadata
        )
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]


def test_a_request_that_names_shared_memory_is_refused(proxy: Callable[..., Proxy]) -> None:
    front = proxy()
    request = pb.ModelInferRequest(model_name="tiny")
    tensor = request.inputs.add(name="WAVEFORM", datatype="FP32", shape=[1, 16000])
    tensor.parameters["shared_memory_region"].string_param = "dfserve"
    tensor.parameters["shared_memory_byte_size"].int64_param = 64000
    credentials = front.credentials("analysts-key")
    with credentials.channel(front.url, []) as channel, pytest.raises(grpc.RpcError, match="shared memory region"):
        GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20, metadata=credentials.metadata)


def test_a_body_beyond_the_limit_is_refused(proxy: Callable[..., Proxy]) -> None:
    front = proxy(change=("client_max_body_size 16m;", "client_max_body_size 10k;"))
    with (
        Detector(front.url, "tiny", retry=NO_RETRIES, credentials=front.credentials("analysts-key")) as detector,
        pytest.raises(RequestRefused, match="413"),
    ):
        detector.score(WINDOW, 16000)


def test_a_client_that_asks_too_much_is_held_back_alone(proxy: Callable[..., Proxy]) -> None:
    """Its requests are tried again later, so that it is slowed down and loses nothing."""
    front = proxy(change=("zone=requests burst=512 nodelay", "zone=requests burst=2 nodelay"))
    with (
        Detector(front.url, "tiny", retry=NO_RETRIES, credentials=front.credentials("phones-key")) as detector,
        pytest.raises(ServerBusy, match="429"),
    ):
        detector.infer(np.zeros((400, 16000), np.float32), concurrency=64)
    patient = RetryPolicy(busy_s=60, first_pause_s=0.01, max_pause_s=0.2)
    with Detector(front.url, "tiny", retry=patient, credentials=front.credentials("analysts-key")) as detector:
        logits, _ = detector.infer(np.zeros((400, 16000), np.float32), concurrency=64)
    assert len(logits) == 400


def test_mutual_tls(proxy: Callable[..., Proxy], tmp_path: Path) -> None:
    front = proxy(clients="ssl_client_certificate ca.pem;\nssl_verify_client on;\n")
    issued = front.authority.issue_cert("analyst")
    cert, key = tmp_path / "analyst.pem", tmp_path / "analyst.key"
    cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    with Detector(front.url, "tiny", credentials=front.credentials("analysts-key", cert=cert, key=key)) as detector:
        assert detector.score(WINDOW, 16000).windows
    with pytest.raises(AccessDenied, match="client's certificate"):
        Detector(front.url, "tiny", retry=NO_RETRIES, credentials=front.credentials("analysts-key"))


def test_it_speaks_tls_to_a_triton_that_wants_it(
    proxy: Callable[..., Proxy], tiny_models: Path, tmp_path: Path
) -> None:
    """As the configuration's head says, and with no certificate of its own it is not let in."""
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("proxy.example")
    tls = Tls(*authority.issue("triton.example"), authority.file, cert, key)
    trust = f"grpc_ssl_verify on;\ngrpc_ssl_trusted_certificate {authority.file};\ngrpc_ssl_name triton.example;\n"
    own = f"grpc_ssl_certificate {cert};\ngrpc_ssl_certificate_key {key};\n"
    with embedded.Server(tiny_models, tls=tls) as server:
        how = {"change": ("grpc://triton", "grpcs://triton"), "triton": server.grpc_url}
        front, stranger = proxy(trust + own, **how), proxy(trust, **how)
        with Detector(front.url, "tiny", credentials=front.credentials("analysts-key")) as detector:
            assert detector.score(WINDOW, 16000).windows
        with pytest.raises(ServerError):
            Detector(stranger.url, "tiny", retry=NO_RETRIES, credentials=stranger.credentials("analysts-key"))
