"""TLS at Triton's own gRPC port, on a real Triton: who gets in, and what is said of files that can't work."""

import datetime
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from cryptography import x509
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

import tiny_repository
from authority import Authority
from dfclient import Credentials, Detector
from dfclient.__main__ import main as dfclient
from dfclient.errors import AccessDenied, ServerUnavailable
from dfclient.retry import NO_RETRIES
from dfdeploy import container, tls
from dfdeploy.__main__ import main
from dfdeploy.embedded import OPENER, Server
from dfdeploy.errors import DeployError
from dfdeploy.tls import Tls
from dfexport.signals import wave

NAME = "triton.example"  # not the address at which the tests reach it


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "another")


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Tls:
    return Tls(*authority.issue(NAME), authority.file, *authority.issue("checker"))


@pytest.fixture(scope="module")
def server(tiny_models: Path, mutual: Tls) -> Iterator[Server]:
    """One that wants to know its clients. That it is up says that it has checked itself over TLS."""
    with Server(tiny_models, tls=mutual) as found:
        yield found


def test_a_client_with_a_certificate_gets_right_scores(server: Server, authority: Authority) -> None:
    cert, key = authority.issue("analyst")
    credentials = Credentials(tls=True, ca=authority.file, cert=cert, key=key, server_name=NAME)
    waveform = wave(1, tiny_repository.WINDOW_SAMPLES)
    with Detector(server.grpc_url, "tiny", credentials=credentials) as detector:
        (window,) = detector.score(waveform, 16_000).windows
        with detector.stream() as live:
            live.send(waveform)
            live.end()
            (streamed,) = live
    expected = tiny_repository.logits_of(waveform)
    np.testing.assert_allclose([window.logits, streamed.logits], [expected, expected], atol=1e-5)


def test_nobody_else_gets_in(server: Server, authority: Authority, stranger: Authority) -> None:
    ours = dict(zip(("cert", "key"), authority.issue("analyst"), strict=True))
    theirs = dict(zip(("cert", "key"), stranger.issue("analyst"), strict=True))

    def refused(error: type[Exception], words: str, **credentials: object) -> None:
        with pytest.raises(error, match=words):
            Detector(server.grpc_url, "tiny", retry=NO_RETRIES, credentials=Credentials(**credentials))

    refused(ServerUnavailable, "wants TLS, --tls")
    refused(AccessDenied, "not trusted.*--ca FILE", tls=True, ca=stranger.file, server_name=NAME, **ours)
    refused(AccessDenied, "not trusted", tls=True, ca=authority.file, server_name="another.example", **ours)
    # This release's gRPC closes the door without a word, so a client can only guess.
    refused(ServerUnavailable, "or a client's --cert", tls=True, ca=authority.file, server_name=NAME)
    refused(ServerUnavailable, "or a client's --cert", tls=True, ca=authority.file, server_name=NAME, **theirs)


def test_a_certificate_opens_no_restricted_call(server: Server, mutual: Tls) -> None:
    stub = GRPCInferenceServiceStub(mutual.credentials().channel(server.grpc_url, []))
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=20).ready
    with pytest.raises(grpc.RpcError, match="restricted"):
        stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(), timeout=20)


def test_http_beside_it_answers_health_alone(server: Server) -> None:
    def status(path: str) -> int:
        try:
            with OPENER.open(f"{server.http_url}{path}", timeout=20) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    paths = ("/v2", "/v2/models/tiny", "/v2/models/tiny/config", "/v2/models/stats", "/v2/repository/index")
    assert status("/v2/health/ready") == status("/v2/health/live") == 200
    assert {path: status(path) for path in paths} == dict.fromkeys(paths, 403)


def test_the_commands_speak_it(
    server: Server,
    mutual: Tls,
    tiny_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check = ["check", f"--repository={tiny_models}", f"--url={server.grpc_url}"]
    assert main(check) == 1
    assert main([*check, *mutual.client_options]) == 0
    assert "tiny_trained_live answers right" in capsys.readouterr().out
    assert dfclient(["health", f"--url={server.grpc_url}", *mutual.client_options]) == 0
    # As the health check of an image of ours is told.
    for name in tls.OPTIONS:
        monkeypatch.setenv(f"DFSERVE_{name.upper()}", str(getattr(mutual, name)))
    assert main(check) == 0


def test_what_serve_proposes_works(tiny_models: Path, authority: Authority) -> None:
    """Without certificates of clients; the line to try is run as it stands."""
    cert, key = authority.issue("localhost")
    ports = [f"--{name}-port=0" for name in container.CONTAINER_PORTS]
    options = [f"--repository={tiny_models}", f"--tls-cert={cert}", f"--tls-key={key}", *ports]
    command = [sys.executable, "-m", "dfdeploy", "serve", *options]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert serving.stdout is not None
    said = ""
    try:
        while "Try: " not in said:
            line = serving.stdout.readline()
            assert line, said
            said += line
        assert re.search(r"gRPC +127\.0\.0\.1:\d+ over TLS", said)
        _, *proposed = shlex.split(said.partition("Try: ")[2].partition("Stop:")[0])
        assert dfclient(["models", *proposed[proposed.index("--url") :]]) == 0
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=60)


def test_files_that_can_t_work_are_named_before_anything_starts(authority: Authority, stranger: Authority) -> None:
    pair, client = authority.issue("triton.files"), authority.issue("client.files")
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    expired = authority.issue("expired.files", not_before=past, not_after=past + datetime.timedelta(days=1))

    def refused(words: str, *files: Path) -> None:
        with pytest.raises(DeployError, match=words):
            Tls(*files).name()

    assert Tls(*pair).name() == Tls(*pair, authority.file, *client).name() == "triton.files"
    assert Tls(*authority.issue("*.example.org")).name() == "triton.example.org"
    assert Tls(*authority.issue("10.1.2.3")).name() == "10.1.2.3"
    refused("cannot read it: No such file", pair[0].with_name("none"), pair[1])
    refused("found a pair that does not belong together", pair[0], client[1])
    refused("expected a certificate and its unencrypted private key, found something else", pair[1], pair[1])
    refused("expired.files.pem: this certificate would be refused: certificate has expired", *expired)
    refused("client.files.pem: this certificate would be refused", *pair, stranger.file, *client)
    refused("expected certificates", *pair, pair[1], *client)
    refused("go together", *pair, authority.file)


def end_of(cert: Path) -> float:
    """When a certificate ends, as another library reads it."""
    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc.timestamp()


def test_http_inference_does_not_go_beside_it(
    tiny_models: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    cert, key = authority.issue("localhost")
    serve = ["serve", "--server=docker", "--dry-run", "--profile=cpu", f"--repository={tiny_models}"]
    assert main([*serve, f"--tls-cert={cert}", f"--tls-key={key}", "--http-inference"]) == 1
    assert "--http-inference would answer without TLS" in capsys.readouterr().err
    with pytest.raises(DeployError, match="--http-inference would answer without TLS"):
        Server(tiny_models, tls=Tls(cert, key), http_inference=True)
    assert main([*serve, f"--tls-cert={cert}"]) == 1
    assert "--tls-cert FILE --tls-key FILE" in capsys.readouterr().err


def test_a_container_gets_the_files_and_says_where_they_are(mutual: Tls) -> None:
    how = {"profile": "cpu", "host": "127.0.0.1", "host_ports": container.CONTAINER_PORTS}
    nvidia = container.command(Path("/data"), **how, tls=mutual)
    assert nvidia[-5:] == [
        "--grpc-use-ssl=true",
        "--grpc-server-cert=/tls/tls_cert.pem",
        "--grpc-server-key=/tls/tls_key.pem",
        "--grpc-use-ssl-mutual=true",
        "--grpc-root-cert=/tls/tls_client_ca.pem",
    ]
    ours = container.command(Path("/data"), **how, tls=mutual, image="dfserve:cpu")
    for command, names in ((nvidia, ("tls_cert", "tls_key", "tls_client_ca")), (ours, tls.OPTIONS)):
        assert [option for option in command if "target=/tls" in option] == [
            f"--mount=type=bind,source={getattr(mutual, name)},target=/tls/{name}.pem,readonly" for name in names
        ]
        assert "--publish=127.0.0.1:8001:8001" in command
        assert not [option for option in command if option.endswith(":8000")]
    # No program of ours starts NVIDIA's image, so it is told what ours find out themselves.
    (end,) = [option for option in nvidia if option.startswith("--env")]
    assert end == f"--env=DFSERVE_TLS_EXPIRY_S={end_of(mutual.tls_cert):.0f}"
    assert [option for option in ours if option.startswith("--env")] == [
        f"--env=DFSERVE_{name.upper()}=/tls/{name}.pem" for name in tls.OPTIONS
    ]


def test_our_gpu_image_takes_them_from_the_environment(tmp_path: Path, mutual: Tls) -> None:
    """A program of Triton's name that prints its arguments stands in for the image's."""
    (triton := tmp_path / "tritonserver").write_text('#!/bin/sh\nprintf "%s\\n" "$DFSERVE_TLS_EXPIRY_S" "$@"\n')
    triton.chmod(0o755)

    def start(given: Tls) -> subprocess.CompletedProcess[str]:
        files = {f"DFSERVE_{name.upper()}": str(path) for name in tls.OPTIONS if (path := getattr(given, name))}
        command = [sys.executable, "-m", "dfdeploy.in_container"]
        return subprocess.run(command, env=os.environ | files | first, capture_output=True, text=True, check=False)

    first = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    started = start(mutual)
    assert float(started.stdout.splitlines()[0]) == end_of(mutual.tls_cert)
    assert started.stdout.splitlines()[-5:] == mutual.triton_options
    refused = start(Tls(mutual.tls_cert, mutual.check_key))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"dfdeploy: error: {mutual.tls_cert}, {mutual.check_key}: expected a certificate")
