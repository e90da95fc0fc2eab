"""Fewer bits: smaller files, scores judged against fp32's, refused when they drift."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.stats
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from dfexport import drift, precision, repository
from dfexport.__main__ import main
from dfexport.build import Build, Variant, build, check_built
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import ssl_aasist
from dfexport.drift import Drift
from dfexport.errors import DriftError, ExportError
from dfexport.layers.xlsr import XlsrConfig
from dfexport.precision import PRECISIONS, DriftLimits
from dfexport.registry import find
from dfexport.seeded import seeded_state
from dfexport.spec import PrecisionName

LIMITS = DriftLimits(max_difference=0.5, mean_difference=0.1, rank_correlation=0.9, eer_difference=0.01)


@pytest.fixture(scope="module")
def reduced(
    tmp_path_factory: pytest.TempPathFactory, two_layers: Callable[[str], LoadedWeights]
) -> dict[PrecisionName, Build]:
    folder = tmp_path_factory.mktemp("reduced") / "models"
    names: tuple[PrecisionName, ...] = ("fp16", "int8")
    return {
        name: build(find("ssl_aasist"), two_layers("ssl_aasist"), folder, name, variant=Variant(precision=name))
        for name in names
    }


def size_of(built: Build) -> int:
    return sum(path.stat().st_size for path in (built.folder / "1").iterdir())


def initializers(built: Build) -> dict[str, int]:
    graph = onnx.load(built.folder / "1/model.onnx", load_external_data=False).graph
    return {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_files_shrink_and_can_be_read_by_another_user(reduced: dict[PrecisionName, Build]) -> None:
    fp32_bytes = 155e6
    assert size_of(reduced["fp16"]) < 0.55 * fp32_bytes
    assert size_of(reduced["int8"]) < 0.55 * fp32_bytes  # of two layers; the convolutions, fp32, weigh more than in 24
    for built in reduced.values():
        assert all(path.stat().st_mode & 0o044 == 0o044 for path in (built.folder / "1").iterdir())


def test_fp16_leaves_layer_norms_and_the_head_in_fp32(reduced: dict[PrecisionName, Build]) -> None:
    types = initializers(reduced["fp16"])
    norms = [kind for name, kind in types.items() if "layer_norm" in name]
    head = [kind for name, kind in types.items() if name.startswith("network.head.")]
    convolutions = [kind for name, kind in types.items() if "conv.weight" in name and "network.encoder" in name]
    assert norms and set(norms) == {onnx.TensorProto.FLOAT}
    assert head and onnx.TensorProto.FLOAT16 not in head
    assert convolutions and set(convolutions) == {onnx.TensorProto.FLOAT16}


def test_int8_touches_the_encoders_matrix_products_alone(reduced: dict[PrecisionName, Build]) -> None:
    graph = onnx.load(reduced["int8"].folder / "1/model.onnx", load_external_data=False).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("MatMulInteger") == 6 * 2 + 1  # q, k, v, out, two feed-forward a layer; the projection
    assert "ConvInteger" not in operators


def test_int8_is_never_batched_since_a_batch_would_share_its_scale(reduced: dict[PrecisionName, Build]) -> None:
    for profile in ("cpu", "gpu"):
        assert "max_batch_size: 1\n" in (reduced["int8"].folder / f"configs/{profile}.pbtxt").read_text()
    assert "max_batch_size: 8\n" in (reduced["fp16"].folder / "configs/cpu.pbtxt").read_text()


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_the_report_lies_beside_the_model_and_the_card_speaks_of_it(
    name: PrecisionName, reduced: dict[PrecisionName, Build]
) -> None:
    built = reduced[name]
    report = json.loads((built.folder / "drift.json").read_text())
    assert built.drift is not None
    assert (report["precision"], report["clips"], report["weights"]) == (name, 3, "random")
    assert report["max_difference"] == built.drift.max_difference > 0
    assert (report["failures"], report["forced"], report["eer"]) == ([], False, None)
    card = repository.read_card(built.folder)
    assert card["precision"] == name
    assert card["drift"].startswith("3 clips: scores differ from fp32's by")
    assert ("could not be judged" in card["precision_note"]) == (name == "int8")
    assert float(card["self_check_tolerance"]) == PRECISIONS[name].limits.max_difference


def test_what_was_built_can_be_checked_again(
    reduced: dict[PrecisionName, Build], two_layers: Callable[[str], LoadedWeights]
) -> None:
    check_built(find("ssl_aasist"), two_layers("ssl_aasist"), reduced["int8"].folder)


def test_drift_past_a_limit_fails_the_build_unless_forced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = XlsrConfig(layers=1, hidden=32, feed_forward=48, conv_channels=16, position_kernel=8, position_groups=4)
    weights = LoadedWeights(seeded_state(ssl_aasist.shapes(tiny)), "random", "random", "seeded by rule")
    strict = replace(PRECISIONS["int8"], limits=replace(LIMITS, max_difference=1e-9))
    monkeypatch.setitem(precision.PRECISIONS, "int8", strict)
    arguments = (find("ssl_aasist"), weights, tmp_path / "models", "ssl")
    with pytest.raises(DriftError, match=r"in int8 was not built: a score moved by .* limit is 1e-09 \(3 recordings"):
        build(*arguments, variant=Variant(precision="int8"))
    assert not list((tmp_path / "models").iterdir())
    built = build(*arguments, variant=Variant(precision="int8", force=True))
    report = json.loads((built.folder / "drift.json").read_text())
    assert report["forced"] and "a score moved by" in report["failures"][0]


def test_each_limit_is_judged() -> None:
    good = Drift("int8", "custom", "clips", 20, 0.4, 0.05, 0.95, 0.10, 0.105, LIMITS)
    assert good.failures == []
    for change, words in (
        ({"max_difference": 0.6}, "a score moved by 0.6"),
        ({"max_difference": float("nan")}, "a score moved by nan"),
        ({"mean_difference": 0.2}, "the mean score moved by 0.2"),
        ({"rank_correlation": 0.8}, "rank correlation 0.800"),
        ({"eer": 0.12}, "EER 12.00% against 10.00%"),
    ):
        (failure,) = replace(good, **change).failures  # type: ignore[arg-type]
        assert words in failure
    assert replace(good, clips=9, rank_correlation=0.1).failures == []  # too few to rank


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, float).T
    if first.std() and second.std():
        assert drift.rank_correlation(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)


def test_equal_error_rates_come_from_the_protocol(tmp_path: Path) -> None:
    protocol = tmp_path / "labels.csv"
    protocol.write_text("utt_id,label\na,bonafide\nb,bonafide\nc,spoof\nd,spoof\n")
    before, after = np.array([3.0, 2.0, 1.0, 0.0, 9.0]), np.array([3.0, 0.5, 1.0, 0.0, 9.0])
    rates = drift.equal_error_rates(["a", "b", "c", "d", "unlisted"], before, after, protocol, "csv")
    assert rates == (0.0, 0.5)
    with pytest.raises(ExportError, match="names 1 bona fide and 0 spoofed of the 1 recordings"):
        drift.equal_error_rates(["a"], before[:1], after[:1], protocol, "csv")


def test_recordings_are_read_as_the_client_reads_them(tmp_path: Path) -> None:
    tone = np.sin(np.arange(1000) / 10).astype(np.float32) / 2
    soundfile.write(tmp_path / "short.wav", np.stack([tone, tone], axis=1), 16_000, subtype="FLOAT")
    (window,) = drift.recordings(tmp_path, 2500).values()
    np.testing.assert_allclose(window, np.concatenate([tone, tone, tone[:500]]), atol=1e-6)
    with pytest.raises(ExportError, match="drift can't be judged on"):
        drift.recordings(tmp_path / "empty", 2500)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["aasist", "--precision", "int8"], "aasist is built in fp32, not in int8: it has no XLS-R encoder"),
        (["sls", "--precision", "fp16", "--format", "torchscript"], "--precision fp16 goes with --format onnx"),
        (["sls", "--drift-audio", "x"], "--drift-audio, --drift-protocol and --force go with --precision"),
    ],
)
def test_what_can_not_be_built_is_said_at_once(
    command: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *command, "--weights", "random"]) == 1
    assert expected in capsys.readouterr().err
