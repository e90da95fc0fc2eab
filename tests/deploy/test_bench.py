"""The benchmark runs and adds up; what it finds is a matter of the machine, so no figure is judged here."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from dfdeploy import folders
from dfdeploy.__main__ import main
from dfdeploy.bench import cold, overhead
from dfdeploy.bench.client_rate import ClientRate
from dfdeploy.bench.overhead import Overhead
from dfdeploy.bench.perf_analyzer import PerfAnalyzer
from dfdeploy.errors import EnvironmentIncomplete, ServerFailed
from dfexport import repository
from dfexport.card import model_card
from dfexport.checkpoints import RANDOM_DIGEST
from dfexport.registry import find
from dfexport.signals import wave


def test_overhead_is_relative_to_the_session_without_a_server() -> None:
    assert Overhead(direct_ms=100, served_ms=104, served_maximum_ms=200).percent == pytest.approx(4)
    assert ClientRate(clips=300, server_per_s=10, client_per_s=9.5).percent == pytest.approx(95)


def test_both_ways_are_timed_on_a_copy_without_queue_delay(tiny_models: Path, tmp_path: Path) -> None:
    models = shutil.copytree(tiny_models, tmp_path / "models")
    config = models / "tiny" / "configs" / "cpu.pbtxt"
    # Five seconds for companions that never come: a median that has them in was measured with the delay.
    delayed = "dynamic_batching {\n  max_queue_delay_microseconds: 5000000"
    config.write_text(config.read_text().replace("dynamic_batching {", delayed))
    cost = overhead.measure(models, "tiny", profile="cpu", calls=5, environment_dir=None)
    assert 0 < cost.direct_ms < 4000
    assert 0 < cost.served_ms < 4000
    assert delayed in config.read_text()


def test_a_server_that_does_not_start_is_quoted(tiny_models: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"ended with status 1: dfdeploy: error: .*nowhere"):
        cold.first_scores_s(tiny_models, ["tiny"], profile="cpu", environment_dir=tmp_path / "nowhere")


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
    # The tiny model's computation is far shorter than its way through gRPC: what is wanted of a real one, it misses.
    asked = ["bench", f"--repository={tiny_models}", "--model=tiny", "--quick", f"--clips={clips}", f"--out={out}"]
    assert main(asked) == 0
    found = json.loads(out.read_text())
    rows = {(row["way"], row["batch"], row["concurrency"]): row for row in found["rows"]}
    assert [load for load in rows if load[0] == "triton"] == [
        ("triton", 1, 1),
        ("triton", 1, 2),
        ("triton", 2, 1),
        ("triton", 2, 2),
    ]
    assert all(row["windows_per_s"] > 0 for load, row in rows.items() if load[0] != "eager")
    (sample,) = rows["triton", 2, 1]["samples"]
    assert set(sample["batches"]) == {"2"}
    assert 0 < sample["phases_ms"]["compute_infer"] < sample["p99_ms"]
    # What runs in PyTorch is a detector of the registry, and this is none: nothing is filled in.
    assert rows["eager", 1, 1]["windows_per_s"] is None
    assert "unknown detector 'tiny'" in rows["eager", 1, 1]["reason"] == rows["eager", 2, 1]["reason"]
    assert found["summary"]["tiny"]["speedup_batch_1"] is None
    assert found["client"]["tiny"]["clips"] == 3
    assert found["measured_on"]["speech"] == "3 recordings in clips"
    assert 0 < found["cold_start_s"] < 300
    assert "unknown detector &#39;tiny&#39;" in out.with_suffix(".html").read_text()
    assert len(out.with_suffix(".csv").read_text().splitlines()) == 1 + len(rows)


@pytest.mark.slow
def test_in_process_a_network_runs_in_the_ways_that_are_asked_for(tmp_path: Path) -> None:
    spec = find("aasist_l")
    card = model_card("aasist_l", spec, weights="random", sha256=RANDOM_DIGEST, source="made by rule")
    repository.write_model(tmp_path / "aasist_l", spec, card, wave(1, spec.window_samples))
    out = tmp_path / "bench.json"
    options = [f"--repository={tmp_path}", "--in-process", "--quick", f"--out={out}"]
    assert main(["bench", *options, "--ways", "authors", "fp32"]) == 0
    found = json.loads(out.read_text())
    rows = {row["way"]: row for row in found["rows"]}
    assert list(rows) == ["pytorch authors", "pytorch fp32"]
    assert all(row["windows_per_s"] > 0 for row in rows.values())
    assert {row["precision"] for row in rows.values()} == {"fp32"}
    drift = found["drift"]["aasist_l"]
    assert drift["fp32"]["largest"] == 0
    assert drift["authors"]["largest"] == pytest.approx(0, abs=1e-5)
    assert found["gflop_per_window"]["aasist_l"] == pytest.approx(12, rel=0.5)


def test_in_process_an_unknown_way_or_device_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = find("aasist_l")
    card = model_card("aasist_l", spec, weights="random", sha256=RANDOM_DIGEST, source="made by rule")
    repository.write_model(tmp_path / "aasist_l", spec, card, wave(1, spec.window_samples))
    options = [f"--repository={tmp_path}", "--in-process", "--quick", f"--out={tmp_path / 'bench.json'}"]
    assert main(["bench", *options, "--ways", "fp8", "fp32-graphs"]) == 1
    assert "no way fp32-graphs, fp8 on cpu; known: authors, fp32, " in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["bench", *options, "--device=cuda"]) == 1
        assert "this PyTorch sees no GPU" in capsys.readouterr().err


def test_a_report_needs_a_name_that_others_can_stand_beside(
    tiny_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", f"--repository={tiny_models}", "--out=bench.html"]) == 1
    assert "expected a name that ends in .json" in capsys.readouterr().err
