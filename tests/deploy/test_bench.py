"""The benchmark runs and adds up; what it finds is a matter of the machine, so no figure is judged here."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from dfdeploy import folders
from dfdeploy.__main__ import main
from dfdeploy.bench import overhead
from dfdeploy.bench.bench import ClientRate
from dfdeploy.bench.overhead import Overhead
from dfdeploy.bench.perf_analyzer import PerfAnalyzer
from dfdeploy.errors import EnvironmentIncomplete


def test_overhead_is_relative_to_the_session_without_a_server() -> None:
    assert Overhead(direct_ms=100, served_ms=104, served_maximum_ms=200).percent == pytest.approx(4)
    assert ClientRate(clips=300, server_per_s=10, client_per_s=9.5).percent == pytest.approx(95)


def test_both_ways_are_timed_on_a_copy_without_queue_delay(tiny_models: Path, tmp_path: Path) -> None:
    models = shutil.copytree(tiny_models, tmp_path / "models")
    config = models / "tiny" / "configs" / "cpu.pbtxt"
    # Half a second for companions that never come: a median that has it in was measured with the delay.
    delayed = "dynamic_batching {\n  max_queue_delay_microseconds: 500000"
    config.write_text(config.read_text().replace("dynamic_batching {", delayed))
    cost = overhead.measure(models, "tiny", profile="cpu", calls=5, environment_dir=None)
    assert 0 < cost.direct_ms < 400
    assert 0 < cost.served_ms < 400
    assert delayed in config.read_text()


def test_without_perf_analyzer_it_says_how_to_get_it(
    tiny_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", f"--repository={tiny_models}", f"--perf-analyzer={tmp_path}"]) == 1
    assert f"no perf_analyzer in {tmp_path}; run: dfdeploy setup --perf-analyzer" in capsys.readouterr().err


def test_a_library_that_perf_analyzer_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(sys.executable, tmp_path / "perf_analyzer")
    (tmp_path / "bin").mkdir()
    (tmp_path / "perf_analyzer").rename(tmp_path / "bin" / "perf_analyzer")
    monkeypatch.setattr("dfdeploy.bench.perf_analyzer.missing_libraries", lambda program, variables: ["libb64.so.0d"])
    with pytest.raises(EnvironmentIncomplete, match="apt install libb64-0d"):
        PerfAnalyzer(tmp_path)


def test_an_unknown_model_is_named(tiny_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert folders.perf_analyzer().is_dir(), "run dfdeploy setup --perf-analyzer once"
    assert main(["bench", f"--repository={tiny_models}", "--model=giant"]) == 1
    assert "no giant in" in capsys.readouterr().err


def test_the_whole_benchmark_on_a_tiny_model(tiny_models: Path, tmp_path: Path) -> None:
    assert folders.perf_analyzer().is_dir(), "run dfdeploy setup --perf-analyzer once"
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(3):
        shutil.copy(Path(__file__).parents[2] / "examples" / "human.flac", clips / f"{number}.flac")
    (clips / "README").write_text("no recording, so not among the clips that were scored")
    out = tmp_path / "bench.json"
    options = ["--model=tiny", "--calls=5", "--concurrency=2", f"--clips={clips}", f"--out={out}"]
    main(["bench", f"--repository={tiny_models}", *options])  # a client that is slower than a tiny model is no error
    figures = json.loads(out.read_text())["models"]["tiny"]
    assert [load["concurrency"] for load in figures["throughput"]] == [2]
    assert figures["throughput"][0]["throughput_per_s"] > 0
    assert figures["client"]["clips"] == 3
    assert figures["client"]["client_per_s"] == pytest.approx(
        figures["client"]["percent"] / 100 * figures["client"]["server_per_s"]
    )
