"""deploy/compose, up for real: server, proxy, page, Prometheus, notebooks; `make test-image`.

Grafana's image comes from a registry, so its part is checked by schema here, and every query of its dashboard is
evaluated in tests/deploy/test_monitoring.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import tiny_repository
from dfclient import Credentials, Detector, Server
from dfclient.errors import AccessDenied, ServerError
from dfclient.retry import NO_RETRIES, RetryPolicy
from dfdeploy import ports
from dfexport.signals import wave

pytestmark = pytest.mark.image
COMPOSE = Path(__file__).parents[2] / "deploy/compose"
ENGINE = os.environ.get("ENGINE") or next(filter(shutil.which, ("docker", "podman")), "")
KINDS = ("cpu", "proxy", "prometheus", "lab")
IMAGES = os.environ.get("DFSERVE_IMAGES", "dfserve")
SERVICES = ("page", "lab", "prometheus")
PROJECT = f"dfserve-test-{os.getpid()}"
# In a container: what each address answers, or that it does not.
READ = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for address in sys.argv[1:]:
    try:
        print("read", opener.open(address, timeout=4).read(20).decode())
    except OSError:
        print("nothing")
"""


@dataclass
class Stack:
    """What is up, and where."""

    run: Callable[..., str]
    ports: dict[str, int]
    secrets: Path

    @property
    def url(self) -> str:
        return f"localhost:{self.ports['proxy']}"

    @property
    def credentials(self) -> Credentials:
        key = (self.secrets / "key").read_text().strip()
        return Credentials(tls=True, ca=self.secrets / "tls/server.pem", api_key=key)

    def get(self, service: str, path: str) -> str:
        address = f"http://localhost:{self.ports[service]}{path}"
        # By no proxy of this machine's; the page takes its token for a cookie.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
        with opener.open(address, timeout=20) as response:
            return str(response.read().decode())


def wait_until(what: Callable[[], object], *, seconds: float = 90) -> object:
    """What it answers, once it answers with something."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            if found := what():
                return found
        except (OSError, ServerError) as error:
            if time.monotonic() > deadline_s:
                raise AssertionError(str(error)) from error
        assert time.monotonic() < deadline_s
        time.sleep(0.5)


def skip_without_names_inside() -> None:
    """Podman's older networks have no names in internal ones, and publish ports at the wrong one."""
    if not ENGINE.endswith("podman"):
        return
    backend = subprocess.check_output([ENGINE, "info", "--format", "{{.Host.NetworkBackend}}"], text=True)
    if backend.strip() != "netavark":
        pytest.skip(f"podman's network backend is {backend.strip()}; compose needs netavark (docs/compose.md)")


@pytest.fixture(scope="module")
def stack(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services but Grafana, with the tiny models."""
    if not ENGINE:
        pytest.skip("neither docker nor podman is here")
    skip_without_names_inside()
    listed = subprocess.check_output([ENGINE, "images", "--format", "{{.Repository}}:{{.Tag}}"], text=True)
    here = {name.removeprefix("localhost/") for name in listed.split()}
    if lacking := [kind for kind in KINDS if f"{IMAGES.removeprefix('localhost/')}:{kind}" not in here]:
        pytest.skip("missing images: " + "; ".join(f"run make image IMAGE={kind}" for kind in lacking))
    for folder in (tiny_models, *tiny_models.parents[:3]):
        folder.chmod(0o755)
    secrets = tmp_path_factory.mktemp("compose") / "secrets"
    chosen = ports.resolve(dict.fromkeys(("proxy", *SERVICES), 0))
    environment = os.environ | {
        "DFSERVE_REPOSITORY": str(tiny_models),
        "DFSERVE_SECRETS": str(secrets),
        "DFSERVE_PORT": str(chosen["proxy"]),
        **{f"DFSERVE_{service.upper()}_PORT": str(chosen[service]) for service in SERVICES},
    }
    subprocess.run([COMPOSE / "prepare.sh"], env=environment, check=True, capture_output=True)
    with_podman = [str(Path(sys.executable).with_name("podman-compose"))]
    program = with_podman if ENGINE.endswith("podman") else [ENGINE, "compose"]
    base = [*program, f"--file={COMPOSE / 'compose.yaml'}", "-p", PROJECT]

    def run(*arguments: str) -> str:
        finished = subprocess.run([*base, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    try:
        run("up", "--detach")
        found = Stack(run, chosen, secrets)
        wait_until(lambda: is_ready(found))
        yield found
    finally:
        subprocess.run([*base, "down", "--volumes"], env=environment, check=False, capture_output=True)


def is_ready(stack: Stack) -> bool:
    with Server(stack.url, timeout_s=5, retry=NO_RETRIES, credentials=stack.credentials) as server:
        return server.health().is_good


def test_a_score_comes_through_tls_with_the_key_and_is_right(stack: Stack) -> None:
    waveform = wave(1, 40_000)
    with Detector(stack.url, "tiny", credentials=stack.credentials) as detector:
        score = detector.score(waveform, 16_000)
        with detector.stream(hop_s=1.0) as live:
            live.send(waveform)
            live.end()
            assert len(list(live)) == 3
    expected = tiny_repository.logits_of(waveform[: tiny_repository.WINDOW_SAMPLES])
    assert score.windows[0].logits == pytest.approx(expected, abs=1e-5)


def test_without_the_key_or_without_tls_nobody_gets_in(stack: Stack) -> None:
    with pytest.raises(AccessDenied, match="DFSERVE_API_KEY"):
        Detector(stack.url, "tiny", credentials=Credentials(tls=True, ca=stack.credentials.ca))
    with pytest.raises(ServerError):
        Detector(stack.url, "tiny", retry=RetryPolicy(wait_s=0))


def test_prometheus_has_scraped_the_server_its_supervisor_and_the_proxy_s_certificate(stack: Stack) -> None:
    def value(query: str) -> float:
        found = json.loads(stack.get("prometheus", f"/api/v1/query?query={query}"))["data"]["result"]
        return sum(float(series["value"][1]) for series in found)  # of one series, or none yet

    for job in ("triton", "supervisor"):
        assert wait_until(lambda job=job: value(f"sum(up%7Bjob=%22{job}%22%7D)")) == 1
    assert wait_until(lambda: value("sum(nv_inference_count%7Bmodel=%22tiny%22%7D)"))
    # prepare.sh's certificate is one for a year; that of the proxy's port is found by the blackbox exporter.
    assert wait_until(lambda: value("sum(probe_success)")) == 1
    assert 364 < value("sum(probe_ssl_earliest_cert_expiry-time())") / 86_400 <= 365
    rules = json.loads(stack.get("prometheus", "/api/v1/rules"))["data"]["groups"]
    assert [group["name"] for group in rules] == ["dfserve"]
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def test_the_page_answers_whoever_has_its_address(stack: Stack) -> None:
    def address() -> re.Match[str] | None:
        return re.search(r"/\?token=[\w-]+", stack.run("logs", "page"))

    found = wait_until(address)
    assert isinstance(found, re.Match)
    assert "<title>" in stack.get("page", found[0])
    with pytest.raises(OSError, match=r"40[13]"):
        stack.get("page", "/")


def test_jupyter_lab_answers_and_has_the_notebooks(stack: Stack) -> None:
    def token() -> re.Match[str] | None:
        return re.search(r"\?token=(\w+)", stack.run("logs", "lab"))

    found = wait_until(token)
    assert isinstance(found, re.Match)
    listed = json.loads(stack.get("lab", f"/api/contents?token={found[1]}"))["content"]
    assert {"evaluation.ipynb", "inference.ipynb"} <= {entry["name"] for entry in listed}
    with pytest.raises(OSError, match="403"):
        stack.get("lab", "/api/contents")


def test_triton_itself_is_published_nowhere(stack: Stack) -> None:
    """The proxy and loopback services are all that is published."""
    names = stack.run("ps")
    assert "->8443" in names
    for port in (8000, 8001, 8002, 8003):
        assert f"->{port}/" not in names


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a web server outside of all containers, whose one page says "outside"."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"outside")

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_triton_reaches_nobody_outside_and_nobody_outside_reaches_it(stack: Stack, web: int) -> None:
    """The page, which is on both networks, reaches either: so it is the network that stands between them."""

    def inside(service: str, *command: str) -> list[str]:
        return stack.run("exec", "-T", service, "python3", "-c", *command).split("\n")

    route = "print(*(line.split()[2] for line in open('/proc/net/route') if line.split()[1] == '00000000'))"
    gateway = next(line for line in inside("page", route) if re.fullmatch("[0-9A-F]{8}", line))
    outside = f"http://{'.'.join(str(byte) for byte in reversed(bytes.fromhex(gateway)))}:{web}/"
    assert not [line for line in inside("triton", route) if re.fullmatch("[0-9A-F]{8}", line)]
    own_address = "import socket; print('at', socket.gethostbyname(socket.gethostname()))"
    triton = next(line.split()[1] for line in inside("triton", own_address) if line.startswith("at "))
    asked = (outside, f"http://{triton}:8002/metrics")

    def answers(lines: list[str]) -> list[str]:
        return [line for line in lines if line.startswith(("read", "nothing"))]

    assert answers(inside("page", READ, *asked)) == ["read outside", "read # HELP nv_inference_"]
    assert answers(inside("triton", READ, *asked)) == ["nothing", "read # HELP nv_inference_"]
    stranger = [ENGINE, "run", "--rm", f"--network={PROJECT}_outside", "--entrypoint=python3", f"{IMAGES}:cpu"]
    said = subprocess.check_output([*stranger, "-c", READ, *asked], text=True, stderr=subprocess.DEVNULL)
    assert answers(said.split("\n")) == ["read outside", "nothing"]
