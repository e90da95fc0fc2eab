"""What `dfdeploy bench` compares a server with: the authors' computation answers alike, and computes what they do."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dfexport.build import load_network, seeded
from dfexport.checkpoints import LoadedWeights
from dfexport.errors import ExportError
from dfexport.layers.mamba import selective_scan
from dfexport.layers.residual import ResidualBlock
from dfexport.layers.xlsr import XlsrDetector
from dfexport.registry import find
from dfexport.speed import gemm, worker
from dfexport.speed.authors import as_authors_compute, sequential_scan
from dfexport.speed.ways import AUTHORS, FP32, WAYS, find_way, open_way
from dfexport.speed.worker import Subject, answer


def test_a_scan_step_by_step_gives_what_the_blocks_give() -> None:
    torch.manual_seed(0)
    x, step = torch.randn(2, 3, 40, 6), torch.rand(2, 3, 40, 6)
    decay = -torch.rand(2, 4, 6)
    b, c = torch.randn(2, 3, 40, 4), torch.randn(2, 3, 40, 4)
    torch.testing.assert_close(sequential_scan(x, step, decay, b, c), selective_scan(x, step, decay, b, c))


def test_sls_is_encoded_twice_as_upstream(two_layers: Callable[[str], LoadedWeights]) -> None:
    for name, passes in (("sls", 2), ("ssl_aasist", 1)):
        spec = find(name)
        network = load_network(spec, two_layers(name))
        assert isinstance(network, XlsrDetector)
        waveforms = torch.zeros(1, spec.window_samples)
        encoded: list[str] = []
        network.encoder.feature_extractor.register_forward_hook(lambda *_, encoded=encoded: encoded.append("once"))
        with torch.inference_mode():
            before = network(waveforms)
            assert len(encoded) == 1
            torch.testing.assert_close(as_authors_compute(network)(waveforms), before)
        assert len(encoded) == 1 + passes


def test_aasists_blocks_compute_the_norm_that_they_drop() -> None:
    spec = find("aasist_l")
    subject = Subject(spec, seeded(spec), "cpu")
    normed: list[str] = []
    call = open_way(find_way(AUTHORS), subject.network, spec.window_samples)
    assert isinstance(call, nn.Module)
    blocks = [module for module in call.modules() if isinstance(module, ResidualBlock)]
    for block in blocks[1:]:  # the first has none
        block.get_submodule("bn1").register_forward_hook(lambda *_: normed.append("once"))
    with torch.inference_mode():
        call(torch.zeros(1, spec.window_samples))
    assert len(normed) == len(blocks) - 1 == 5
    # The network that others are made from is as it was.
    assert not any(block._forward_pre_hooks for block in subject.network.modules())


def test_ways_answer_alike_and_a_gpus_are_refused_on_a_cpu(two_layers: Callable[[str], LoadedWeights]) -> None:
    spec = find("ssl_aasist")
    subject = Subject(spec, two_layers("ssl_aasist"), "cpu")
    assert subject.drift("fp32-unfused")["largest"] < 1e-4
    assert subject.drift("torchscript")["largest"] < 1e-4
    assert len(subject.seconds(FP32, 2, 3)) == 3
    with pytest.raises(ExportError, match="needs a GPU"):
        subject.seconds("bf16-graphs", 1, 1)
    assert all(name == way.name for name, way in WAYS.items())
    with pytest.raises(ExportError, match="unknown way 'fp8'; known: authors, "):
        find_way("fp8")


def test_fewer_bits_are_the_encoders_but_for_its_norms(two_layers: Callable[[str], LoadedWeights]) -> None:
    """One layer is run: convolutions in bf16 take minutes on a CPU without instructions for it."""
    spec = find("ssl_aasist")
    network = load_network(spec, two_layers("ssl_aasist"))
    reduced = open_way(find_way("bf16"), network, spec.window_samples)
    assert isinstance(reduced, XlsrDetector)
    (layer, _) = reduced.encoder.encoder.layers
    hidden = torch.randn(1, 5, 1024)
    with torch.inference_mode():
        exact = network.encoder.encoder.layers[0](hidden)
        rounded = layer(hidden.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert 0 < (rounded.float() - exact).abs().max() < 0.1
    kinds = {(".norm." in name, weight.dtype) for name, weight in layer.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert {weight.dtype for weight in reduced.head.parameters()} == {torch.float32}


def test_arithmetic_is_two_operations_a_multiply_add() -> None:
    spec = find("aasist_l")
    subject = Subject(spec, seeded(spec), "cpu")
    subject.network = nn.Linear(spec.window_samples, 3)
    assert subject.gflop() == pytest.approx(2 * spec.window_samples * 3 / 1e9)


def test_products_are_measured_in_the_precisions_that_are_asked_for() -> None:
    rates = gemm.rates("cpu", 1, ("fp32",))
    assert [(rate.precision, rate.library) for rate in rates] == [("fp32", "PyTorch"), ("fp32", "ONNX Runtime")]
    assert all(rate.gflop_per_s > 0 for rate in rates)
    assert gemm.rates("cpu", 1, ("fp16",)) == []


def test_a_question_that_nobody_knows_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worker.main([str(tmp_path / "nothing")]) == 1
    assert "nothing built at" in json.loads(capsys.readouterr().out)["error"]
    spec = find("aasist_l")
    subject = Subject(spec, seeded(spec), "cpu")
    monkeypatch.setattr(worker, "open_subject", lambda *_: subject)
    monkeypatch.setattr("sys.stdin", io.StringIO('{"ask": "weather"}\n{"ask": "gemm", "precisions": []}\n'))
    assert worker.main([str(tmp_path)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["error"] == "unknown question 'weather'; known: describe, time, drift, gemm"
    assert second == {"rates": []}
    with pytest.raises(ExportError, match="unknown question None"):
        answer(subject, {})
