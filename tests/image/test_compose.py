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
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


def without_names_inside(folder: Path) -> list[Path]:
    """What podman's CNI networks need besides: internal ones have no DNS there (docs/compose.md)."""
    if not ENGINE.endswith("podman"):
        return []
    backend = subprocess.check_output([ENGINE, "info", "--format", "{{.Host.NetworkBackend}}"], text=True)
    if backend.strip() != "cni":
        return []
    (folder / "cni.yaml").write_text("networks:\n  inside: {internal: false}\n")
    return [folder / "cni.yaml"]


@pytest.fixture(scope="module")
def stack(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services but Grafana, with the tiny models."""
    if not ENGINE:
        pytest.skip("neither docker nor podman is here")
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
    files = [COMPOSE / "compose.yaml", *without_names_inside(secrets.parent)]
    base = [*program, *(f"--file={file}" for file in files), "-p", f"dfserve-test-{os.getpid()}"]

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


def test_prometheus_has_scraped_the_server_and_its_supervisor(stack: Stack) -> None:
    def value(query: str) -> float:
        found = json.loads(stack.get("prometheus", f"/api/v1/query?query={query}"))["data"]["result"]
        return sum(float(series["value"][1]) for series in found)  # of one series, or none yet

    for job in ("triton", "supervisor"):
        assert wait_until(lambda job=job: value(f"sum(up%7Bjob=%22{job}%22%7D)")) == 1
    assert wait_until(lambda: value("sum(nv_inference_count%7Bmodel=%22tiny%22%7D)"))
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


def test_triton_itself_is_reached_by_nobody_outside(stack: Stack) -> None:
    """The proxy and loopback services are all that is published."""
    names = stack.run("ps")
    assert "->8443" in names
    for port in (8000, 8001, 8002, 8003):
        assert f"->{port}/" not in names
