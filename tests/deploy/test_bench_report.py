"""What a benchmark makes of its turns, and the page that shows it; the figures here are made up."""

import csv
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfdeploy.bench import report, server_statistics
from dfdeploy.bench.figures import DIRECT, EAGER, PYTORCH, SERVED, Ceiling, Report, Row, Sample, ratio
from dfdeploy.bench.perf_analyzer import load_of
from dfdeploy.bench.rounds import LEAST_REQUESTS, TURN_S, Plan, Turn, in_turns
from dfdeploy.bench.server_statistics import PHASES, Statistics
from dfdeploy.bench.workers import NotMeasured
from dfdeploy.errors import DeployError
from dfdeploy.machine import missing_line

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHASES_MS = dict(zip(PHASES, (20.0, 0.5, 100.0, 0.25), strict=True))


def row_of(way: str, batch: int, concurrency: int, *rates: float, model: str = "aasist") -> Row:
    samples = [Sample(rate, 1000 / rate, 1100 / rate, 2000 / rate, PHASES_MS, {1: 3, 8: 1}) for rate in rates]
    return Row(model, way, batch, concurrency, samples=tuple(samples))


@pytest.fixture(scope="module")
def made_up() -> Report:
    rows = [
        row_of(EAGER, 1, 1, 2.0, 1.0, 2.0),
        row_of(EAGER, 8, 1, 2.0, 2.0, 2.0),
        row_of(DIRECT, 1, 1, 10.0, 5.0, 10.0),
        row_of(DIRECT, 8, 1, 10.0, 10.0, 10.0),
        row_of(SERVED, 1, 1, 8.0, 4.0, 8.0),
        row_of(SERVED, 1, 2, 9.0, 9.0, 9.0),
        row_of(SERVED, 8, 1, 9.0, 9.0, 9.0),
        row_of(SERVED, 8, 2, 9.8, 9.8, 9.8),
        row_of(f"{PYTORCH}fp32", 1, 1, 4.0, 4.0, 4.0),
        Row("<b>sls", EAGER, 1, reason="PyTorch is not installed: pip install 'dfserve[bench]'"),
        row_of(SERVED, 1, 1, 1.0, model="<b>sls"),
    ]
    ceilings = [Ceiling("aasist", "fp32", (200.0, 100.0, 200.0)), Ceiling("<b>sls", "fp32", (), "no PyTorch")]
    drift = {"aasist": {"bf16": {"largest": 0.011, "mean": 0.004}}}
    rates = [("fp32", "ONNX Runtime", 200.0), ("bf16", "PyTorch", 50.0)]
    facts = {"processor": "a made-up one, 2 of 2 cores", "time": "never"}
    return Report(facts, rows, {"aasist": 10.0}, ceilings, rates, drift, {"cold_start_s": 4.0})


def test_a_ratio_is_of_each_round_since_a_busy_one_slows_both(made_up: Report) -> None:
    served, eager = made_up.row("aasist", SERVED, 1), made_up.row("aasist", EAGER, 1)
    assert ratio(served, eager) == 4
    # The medians of unequal rounds would say something else.
    assert ratio(row_of(SERVED, 1, 1, 8, 2, 2), row_of(EAGER, 1, 1, 2, 0.5, 1)) == 4
    assert ratio(served, made_up.row("<b>sls", EAGER, 1)) is None


def test_the_share_of_the_ceiling_is_of_the_rows_precision(made_up: Report) -> None:
    assert made_up.share_of_ceiling(row_of(SERVED, 1, 1, 8.0, 4.0, 8.0)) == pytest.approx(0.4)
    assert made_up.share_of_ceiling(Row("aasist", SERVED, 1, precision="int8", samples=(Sample(8.0),))) is None
    assert made_up.share_of_ceiling(row_of(SERVED, 1, 1, 1.0, model="<b>sls")) is None


def test_serving_costs_what_is_lost_while_both_are_busy(made_up: Report) -> None:
    assert report.serving_cost(made_up, "aasist") == pytest.approx(0.02)
    assert report.serving_cost(made_up, "<b>sls") is None


def test_ways_take_turns_and_one_that_fails_stops_alone() -> None:
    taken: list[str] = []

    def take(name: str) -> Sample:
        taken.append(name)
        if name == "b":
            raise NotMeasured("no b here")
        return Sample(float(len(taken)))

    turns = [Turn(Row("m", name, 1), lambda name=name: take(name)) for name in "abc"]
    a, b, c = in_turns(turns, 3)
    assert "".join(taken) == "abcacac"
    assert [sample.windows_per_s for sample in a.samples] == [1, 4, 6]
    assert (b.samples, b.reason, c.reason) == ((), "no b here", "")


def test_a_model_that_takes_no_batch_is_still_kept_busy() -> None:
    plan = Plan(concurrency=(1, 4), batches=(1, 2, 8))
    assert plan.loads == [(1, 1), (1, 4), (2, 1), (8, 1), (8, 2)]
    assert plan.up_to(1).loads == [(1, 1), (1, 4), (1, 2)]
    assert Plan(batches=(8,)).up_to(4).batches == (1,)


def test_a_turn_is_as_long_for_a_large_model_as_for_a_small_one() -> None:
    small, large = Plan().taking(0.05), Plan().taking(1.0)
    assert small.requests(1, 1) == TURN_S / 0.05
    assert small.requests(8, 2) == TURN_S / 0.05 // 8
    assert small.requests(1, 300) == 600  # each connection sends more than once
    assert large.requests(1, 1) == large.requests(8, 2) == LEAST_REQUESTS
    assert large.windows == max(Plan().batches) < small.windows


def test_a_load_is_what_its_requests_took_and_not_whole_seconds() -> None:
    second = 1_000_000_000
    spans = [(0, 1.0), (0.2, 1.4), (1.0, 2.5)]
    requests = [{"timestamp": round(a * second), "response_timestamps": [round(b * second)]} for a, b in spans]
    experiment = {
        "experiment": {"mode": "concurrency", "value": 2},
        "requests": requests,
        "window_boundaries": [0, 3 * second],
    }
    load = load_of({"experiments": [experiment]}, batch=4)
    assert (load.concurrency, load.batch) == (2, 4)
    assert load.windows_per_s == pytest.approx(3 * 4 / 2.5)
    assert load.p50_ms == pytest.approx(1_200)
    unanswered = {"timestamp": 0, "response_timestamps": []}
    with pytest.raises(DeployError, match="1 of 4 requests were not answered"):
        load_of({"experiments": [experiment | {"requests": [*requests, unanswered]}]}, batch=4)


def test_statistics_are_what_came_since(monkeypatch: pytest.MonkeyPatch) -> None:
    def counters(requests: int, batches: dict[int, int]) -> dict[str, object]:
        counts = {phase: {"count": requests, "ns": requests * 2_000_000} for phase in PHASES}
        return {
            "version": "2",
            "inference_stats": {"success": {"count": requests, "ns": 1}} | counts,
            "batch_stats": [{"batch_size": size, "compute_infer": {"count": n}} for size, n in batches.items()],
        }

    class Opener:
        answers = iter([counters(10, {1: 10}), counters(16, {1: 10, 4: 2})])

        def open(self, url: str, timeout: float) -> object:
            assert url == "http://h:1/v2/models/m/stats"
            path = Path("/dev/null")
            old = {"version": "1", "inference_stats": {}, "batch_stats": []}
            content = json.dumps({"model_stats": [old, next(self.answers)]}).encode()
            del path
            from io import BytesIO

            return BytesIO(content)

    monkeypatch.setattr(server_statistics, "OPENER", Opener())
    before, after = server_statistics.read("http://h:1", "m"), server_statistics.read("http://h:1", "m")
    since = after.since(before)
    assert (since.requests, dict(since.batches)) == (6, {4: 2})
    assert since.mean_ms("queue") == pytest.approx(2.0)
    assert Statistics().mean_ms("queue") == 0


def test_three_files_say_the_same(made_up: Report, tmp_path: Path) -> None:
    written = report.write(made_up, tmp_path / "bench.json")
    assert [path.name for path in written] == ["bench.json", "bench.csv", "bench.html"]
    described = json.loads(written[0].read_text())
    assert described["summary"]["aasist"]["speedup_batch_1"] == 4
    assert described["summary"]["aasist"]["speedup_largest_batch"] == 4.5
    assert described["cold_start_s"] == 4.0
    rows = list(csv.DictReader(written[1].open(newline="")))
    assert len(rows) == len(made_up.rows)
    assert (rows[4]["windows_per_s"], rows[4]["queue_ms"]) == ("8.0", "20.0")
    assert rows[4]["executions_by_batch"] == "1:9 8:3"
    assert rows[4]["speedup_over_eager"] == "4.0"
    assert rows[9]["windows_per_s"] == ""
    assert rows[9]["not_measured_because"].startswith("PyTorch is not installed")


def test_in_process_the_authors_network_is_the_eager_one(tmp_path: Path) -> None:
    rows = [row_of(f"{PYTORCH}authors", 8, 1, 2.0, 1.0), row_of(f"{PYTORCH}bf16", 8, 1, 8.0, 5.0)]
    report.write(Report({}, rows), tmp_path / "bench.json")
    with (tmp_path / "bench.csv").open() as file:
        assert [float(row["speedup_over_eager"]) for row in csv.DictReader(file)] == [1.0, 4.5]


def test_thousands_are_no_powers_of_ten() -> None:
    figures = (None, 0.01234, 12.34, 999.4, 1528.5, 764_811.0)
    assert [report.text(figure) for figure in figures] == ["not measured", "0.0123", "12.3", "999", "1,528", "764,811"]
    assert report.text(0.123, ".0%") == "12%"


def test_the_page_is_one_file_that_fills_nothing_in(made_up: Report) -> None:
    page = report.page(made_up)
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "<b>sls" not in page
    assert "&lt;b&gt;sls, eager PyTorch, as the authors&#39; code computes it: PyTorch is not installed" in page
    assert page.count("<svg") == 2 + 5 + 4  # compared; aasist's, with one of PyTorch alone; sls's
    assert "<td>not measured</td>" in page
    assert page == report.page(made_up)


@pytest.mark.skipif(CHROMIUM is None, reason=str(missing_line("chromium")))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_of_the_page(made_up: Report, tmp_path: Path, scheme: str) -> None:
    path = report.write(made_up, tmp_path / "bench.json")[2]
    # In a thread of its own: Playwright may run in this one already, for the tests of the page.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(look_at, path, scheme).result()


def look_at(path: Path, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (390, 1280):
            page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            ink, ground = page.evaluate(
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            )
            text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
            assert text == ink != ground
        chromium.close()
