"""TLS, certificates of clients, keys: against real gRPC servers with certificates made for the test."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from authority import Authority
from dfclient import Credentials, Detector, Server
from dfclient.__main__ import main
from dfclient.errors import AccessDenied, InputError, ServerUnavailable
from dfclient.retry import NO_RETRIES

WINDOW = np.full(16000, 0.25, np.float32)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def secure_server(authority, faulty_server):
    """secure_server(name="localhost", wants_client=False) → a real gRPC server that speaks TLS."""

    def start(name="localhost", wants_client=False):
        cert, key = authority.issue(name)
        pairs = [(key.read_bytes(), cert.read_bytes())]
        return faulty_server(credentials=grpc.ssl_server_credentials(pairs, authority.file.read_bytes(), wants_client))

    return start


def score(server, credentials):
    with Detector(f"localhost:{server.port}", "toy", retry=NO_RETRIES, credentials=credentials) as detector:
        return detector.score(WINDOW, 16000).score


def test_a_server_that_is_vouched_for(secure_server, authority):
    assert score(secure_server(), Credentials(tls=True, ca=authority.file)) == 0.25


def test_one_that_is_not_is_refused_at_once(secure_server, tmp_path):
    """Not tried again for a minute: a certificate does not mend itself."""
    other = Authority(tmp_path / "other")
    with pytest.raises(AccessDenied, match=r"certificate is not trusted.*--ca FILE"):
        Detector(f"localhost:{secure_server().port}", "toy", credentials=Credentials(tls=True, ca=other.file))


def test_a_certificate_of_another_name(secure_server, authority):
    server = secure_server("triton.example")
    with pytest.raises(AccessDenied, match="not trusted"):
        score(server, Credentials(tls=True, ca=authority.file))
    named = Credentials(tls=True, ca=authority.file, server_name="triton.example")
    assert score(server, named) == 0.25


def test_a_server_that_wants_to_know_its_clients(secure_server, authority):
    server = secure_server(wants_client=True)
    cert, key = authority.issue("analyst")
    assert score(server, Credentials(tls=True, ca=authority.file, cert=cert, key=key)) == 0.25
    with pytest.raises((AccessDenied, ServerUnavailable)):
        score(server, Credentials(tls=True, ca=authority.file))


def test_without_tls_a_secured_server_is_no_server(secure_server):
    with pytest.raises(ServerUnavailable):
        score(secure_server(), Credentials())


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_key_that_is_missing_is_said(faulty_server, status):
    server = faulty_server(lambda number, name, request: (status, "no key"))
    with pytest.raises(AccessDenied, match=r"access denied \(no key\).*DFSERVE_API_KEY"):
        Server(server.url).models()


def test_keys_travel_as_headers_with_every_call(secure_server, authority):
    server = secure_server()
    credentials = Credentials(tls=True, ca=authority.file, api_key="s3cret", protocol_keys={"dfserve-Key": "another"})
    assert score(server, credentials) == 0.25
    assert len(server.triton.headers) == 3  # metadata, configuration, inference
    assert all(headers["x-api-key"] == "s3cret" for headers in server.triton.headers)
    assert all(headers["triton-grpc-protocol-dfserve-key"] == "another" for headers in server.triton.headers)
    assert "s3cret" not in repr(credentials)
    assert "another" not in repr(credentials)


def test_a_key_never_crosses_a_network_in_the_clear():
    for address in ("192.0.2.1:8001", "triton.example:8001", "a.example:8001,b.example:8001"):
        with pytest.raises(InputError, match="readable to all on its way: use TLS"):
            Server(address, credentials=Credentials(api_key="s3cret"))
    for address in ("127.0.0.1:8001", "[::1]:8001", "localhost:8001"):
        Server(address, credentials=Credentials(api_key="s3cret")).close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ca": Path("ca.pem")}, "goes with TLS"),
        ({"tls": True, "cert": Path("a.pem")}, "go together"),
        ({"api_key": "a\nb"}, "printable ASCII"),
        ({"api_key": "schlüssel"}, "printable ASCII"),
        ({"protocol_keys": {"a": "b "}}, "a: expected a key"),
    ],
)
def test_what_does_not_go_together_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        Credentials(**options)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot read it"):
        Server("localhost:8001", credentials=Credentials(tls=True, ca=tmp_path / "missing.pem"))
    (tmp_path / "der.crt").write_bytes(b"\x30\x82")
    with pytest.raises(InputError, match="expected PEM"):
        Server("localhost:8001", credentials=Credentials(tls=True, ca=tmp_path / "der.crt"))


def test_the_commands_speak_it_all(secure_server, authority, recording, monkeypatch, capsys):
    cert, key = authority.issue("analyst")
    server = secure_server(wants_client=True)
    secured = ["--ca", str(authority.file), "--cert", str(cert), "--key", str(key), "--url", f"localhost:{server.port}"]
    assert main(["score", str(recording("a.wav")), "--model", "toy", *secured]) == 0
    assert main(["health", *secured]) == 0
    assert main(["models", *secured]) == 0
    assert main(["health", "--cert", str(cert), "--url", f"localhost:{server.port}"]) == 2
    monkeypatch.setenv("DFSERVE_API_KEY", "s3cret")
    assert main(["health", "--url", "192.0.2.1:8001"]) == 2
    assert "use TLS (--tls)" in capsys.readouterr().err


def test_no_option_takes_a_key(capsys):
    """A command line can be read by every user of a machine."""
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    helped = capsys.readouterr().out
    assert "DFSERVE_API_KEY" in helped
    assert "--api-key" not in helped


def test_a_server_without_tls_is_said_to_have_none(faulty_server, authority):
    with pytest.raises(ServerUnavailable, match="it speaks no TLS"):
        score(faulty_server(), Credentials(tls=True, ca=authority.file))
