"""Every query of the alerts and the dashboard, evaluated by a real Prometheus on scrapes of a real server."""

import datetime
import json
import re
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from authority import Authority
from dfclient import Detector
from dfdeploy import ports
from dfdeploy.crashes import CrashCounter
from dfdeploy.embedded import OPENER, Server
from dfdeploy.machine import missing_line, which
from dfdeploy.tls import Tls
from dfexport.signals import wave

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"
SCRAPE_S = 1
ON_A_GPU_ONLY = "nv_gpu_"

pytestmark = pytest.mark.skipif(which("prometheus") is None, reason=str(missing_line("prometheus")))


def alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((MONITORING / "grafana/dashboard.json").read_text())["panels"]
    return found


def queries() -> list[str]:
    """Those of alerts without their comparisons, of panels and of the autoscaler, with their variables filled in."""
    of_alerts = [re.sub(r"[<>=]=?\s*[\d.e]+\s*(?=$|or )", "", rule["expr"].strip()) for rule in alerts().values()]
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    of_panels = [query.replace("$model", ".+").replace("$__rate_interval", "10s") for query in of_panels]
    rules = yaml.safe_load((ROOT / "deploy/kubernetes/adapter.yaml").read_text())["rules"]["custom"]
    of_adapter = [rule["metricsQuery"].replace("<<.GroupBy>>", "instance") for rule in rules]
    of_adapter = [query.replace("<<.LabelMatchers>>", 'model=~".+"') for query in of_adapter]
    found = (*of_alerts, *of_panels, *of_adapter)
    # The tiny models have no calibration, and are asked a few hundred times.
    found = (query.replace('reference="calibration"', 'reference=~".+"').replace("> 500", "> 0") for query in found)
    return [re.sub(r"\[(2m|5m|15m|1h|6h)\]", "[10s]", query) for query in found]


class Prometheus:
    """One that scrapes a server every second."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        scrapes = [
            {"job_name": job, "static_configs": [{"targets": [target]}], "scrape_interval": f"{SCRAPE_S}s"}
            for job, target in targets.items()
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": scrapes}))
        port = ports.resolve({"prometheus": 0})["prometheus"]
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{port}",
        }
        command = [str(which("prometheus")), *(f"--{name}={value}" for name, value in options.items())]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, query: str) -> list[dict[str, Any]]:
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with OPENER.open(address, timeout=20) as response:
            result: list[dict[str, Any]] = json.loads(response.read())["data"]["result"]
        return result

    def wait_for(self, query: str) -> list[dict[str, Any]]:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            try:
                if result := self.ask(query):
                    return result
            except OSError:  # not up yet
                pass
            time.sleep(0.5)
        raise AssertionError(f"no data: {query}")


@pytest.fixture(scope="module")
def certified(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that speaks TLS, with a certificate that ends at the first second of 2031."""
    authority = Authority(tmp_path_factory.mktemp("authority") / "ours")
    end = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
    with Server(tiny_models, tls=Tls(*authority.issue("localhost", not_after=end))) as found:
        yield found


@pytest.fixture(scope="module")
def watched(tiny_models: Path) -> Iterator[Server]:
    """A server that only these tests ask: Triton counts a request that our backend refused among its inferences."""
    with Server(tiny_models) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(watched: Server, certified: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen scores, a live stream, requests that were refused, and a server with TLS."""
    with CrashCounter() as crashes:
        targets = {"triton": watched.metrics_url, "supervisor": crashes.url, "secure": certified.metrics_url}
        places = {job: urllib.parse.urlparse(url).netloc for job, url in targets.items()}
        started = Prometheus(tmp_path_factory.mktemp("prometheus"), places)
        try:
            with Detector(watched.grpc_url, "tiny") as detector:
                for _ in range(12):  # a rate needs several scrapes with something between them
                    detector.infer(np.zeros((8, 16000), np.float32))
                    with detector.stream(hop_s=1.0) as live:
                        live.send(wave(1, 32_000))
                        live.end()
                        assert len(list(live)) == 2
                    time.sleep(SCRAPE_S)
            yield started
        finally:
            started.process.terminate()
            started.process.wait()


@pytest.mark.parametrize("query", queries())
def test_it_returns_data(prometheus: Prometheus, query: str) -> None:
    if ON_A_GPU_ONLY in query:
        assert prometheus.ask(query) == []  # it parses; there is a GPU elsewhere
    else:
        values = [float(series["value"][1]) for series in prometheus.wait_for(query)]
        assert any(np.isfinite(values))


def test_what_the_dashboard_shows_is_what_happened(prometheus: Prometheus) -> None:
    """Each detector's windows: 12 × (8 + 2), and what the server's own check sent."""
    (series,) = prometheus.wait_for('nv_inference_count{job="triton", model="tiny"}')
    assert float(series["value"][1]) >= 12 * 10
    assert prometheus.wait_for('up{job="supervisor"}')[0]["value"][1] == "1"


def test_scores_are_counted_where_they_lie_and_live_streams_while_they_are_open(
    prometheus: Prometheus, watched: Server
) -> None:
    counted = prometheus.wait_for('dfserve_scores_total{job="triton", model="tiny"}')
    assert len(counted) == 10
    assert {series["metric"]["reference"] for series in counted} == {"none"}
    # In one query, since a scrape may come between two.
    of = '{job="triton", model="tiny"}'
    assert prometheus.wait_for(f"sum(dfserve_scores_total{of}) == sum(nv_inference_count{of})")
    with Detector(watched.grpc_url, "tiny") as detector, detector.stream(hop_s=1.0) as live:
        live.send(wave(1, 16_000))
        next(iter(live))
        assert prometheus.wait_for('dfserve_live_streams{job="triton", model="tiny"} == 1')
    assert prometheus.wait_for('dfserve_live_streams{job="triton", model="tiny"} == 0')


def test_when_a_certificate_ends_is_told_by_the_server_that_has_it(prometheus: Prometheus) -> None:
    (series,) = prometheus.wait_for("dfserve_tls_certificate_expiry_timestamp_seconds")
    assert series["metric"]["job"] == "secure"
    assert float(series["value"][1]) == datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC).timestamp()


def promtool(*arguments: str) -> None:
    finished = subprocess.run(
        [str(which("promtool")), *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_rules_and_configuration_are_valid_and_each_alert_fires_when_it_should() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "alerts_test.yml")
    tests = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == set(alerts())


def test_each_alert_has_its_section_in_the_runbook() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == list(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
