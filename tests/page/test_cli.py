"""`dfpage`: what it prints, what it refuses, and that it leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dfpage.cli import hosts_of, main

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.mark.parametrize(
    ("host", "more", "expected"),
    [
        ("127.0.0.1", [], {"127.0.0.1:8010", "localhost:8010", "[::1]:8010"}),
        ("192.0.2.7", [], {"192.0.2.7:8010"}),
        ("::1", [], {"127.0.0.1:8010", "localhost:8010", "[::1]:8010"}),
        ("2001:db8::7", [], {"[2001:db8::7]:8010"}),
        ("192.0.2.7", ["Page.Example"], {"192.0.2.7:8010", "page.example:8010", "page.example"}),
        ("192.0.2.7", ["p.example:8443", "[::2]:1"], {"192.0.2.7:8010", "p.example:8443", "[::2]:1"}),
    ],
)
def test_the_names_that_browsers_may_ask_for(host, more, expected):
    assert hosts_of(host, 8010, more) == expected


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--url", "nonsense"], "HOST:PORT"),
        (["--host", "0.0.0.0"], "--allow-host"),
        (["--host", "no.such.host.invalid"], "cannot listen on"),
        (["--port", "70000"], "0 (any free one) to 65535"),
        (["--max-mb", "0"], "above 0"),
        (["--max-minutes", "nan"], "above 0"),
        (["--allow-host", "https://page.example"], "expected NAME or NAME:PORT"),
    ],
)
def test_what_cannot_be_is_one_line(options, error, capsys):
    assert main(["--port", "0", *options]) == 1
    said = capsys.readouterr().err
    assert error in said
    assert len(said.splitlines()) == 1


def test_a_port_that_is_taken_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_it_prints_its_address_asks_for_the_token_and_goes_without_a_trace(tmp_path):
    stale = tmp_path / "dfpage-999999999-left"
    stale.mkdir()
    (stale / "recording.wav").write_bytes(b"somebody's voice")
    command = [sys.executable, "-m", "dfpage", "--url", "127.0.0.1:9", "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            address, token = re.search(r"open (http://127\.0\.0\.1:\d+/)\?token=(\S+)", lines[1]).groups()
            assert len(token) > 30
            assert [path.stat().st_mode & 0o777 for path in tmp_path.glob("dfpage-*")] == [0o700]  # its own alone
            deadline_s = time.monotonic() + 60
            while time.monotonic() < deadline_s:
                try:
                    DIRECT.open(address, timeout=5)
                except urllib.error.HTTPError as refused:
                    assert refused.code == 403
                    break
                except urllib.error.URLError:
                    time.sleep(0.1)
            request = urllib.request.Request(f"{address}api/status", headers={"Authorization": f"Bearer {token}"})
            assert b'"is_live":false' in DIRECT.open(request, timeout=10).read()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "dfpage: interrupted\n"
    assert list(tmp_path.iterdir()) == []
    assert not list(Path(tempfile.gettempdir()).glob(f"dfpage-{process.pid}-*"))


def test_a_request_that_is_cut_off_by_its_end_is_a_line_and_no_traceback():
    command = [sys.executable, "-m", "dfpage", "--url", "127.0.0.1:9", "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as page:
        try:
            said = "".join(page.stdout.readline() for _ in range(2))
            port, token = re.search(r"open http://127\.0\.0\.1:(\d+)/\?token=(\S+)", said).groups()
            deadline_s = time.monotonic() + 60
            while (upload := socket.socket()).connect_ex(("127.0.0.1", int(port))) and time.monotonic() < deadline_s:
                upload.close()
                time.sleep(0.1)
            head = f"POST /api/score?name=a.wav&model=tiny HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            upload.sendall(f"{head}Authorization: Bearer {token}\r\nContent-Length: 9999\r\n\r\nRIFF".encode())
            time.sleep(1)  # it waits for the rest
        finally:
            page.send_signal(signal.SIGINT)
        said = page.communicate(timeout=60)[1]
        upload.close()
    assert "Cancel 1 running task" in said
    assert "Traceback" not in said
