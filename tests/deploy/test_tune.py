"""``dfdeploy tune`` on tiny models: it measures, judges, writes and undoes. No speed is judged, it is the machine's."""

import dataclasses
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import numpy_helper
from tritonclient.grpc import model_config_pb2 as pb

import tiny_repository
from dfclient import Detector
from dfcontract.card import ModelCard
from dfdeploy.__main__ import main
from dfdeploy.embedded import Server
from dfdeploy.errors import RepositoryUnusable
from dfdeploy.tune import settings
from dfdeploy.tune.candidates import Candidate, candidates, commands_for_others, reference
from dfdeploy.tune.measure import Measured, Setting
from dfdeploy.tune.tune import Drift, drift_of
from dfexport.repository import PROFILES
from dfexport.signals import wave


def card_of(weights: str = "random", score_kind: str = "logit", **texts: str) -> ModelCard:
    return ModelCard("m", "", "tiny", 16_000, 16_000, weights, score_kind=score_kind, **texts)


def config_of(path: Path) -> pb.ModelConfig:
    return text_format.Parse(path.read_text(), pb.ModelConfig())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in ONNX and OpenVINO, as a build whose logits are off, and as one that does not load."""
    folder = tiny_repository.write(tmp_path_factory.mktemp("tune") / "models")
    for name, form in (("tiny_openvino", "openvino"), ("tiny_off", "onnx"), ("tiny_broken", "onnx")):
        tiny_repository.write_as(folder, name, form)
    model = onnx.load(folder / "tiny_off/1/model.onnx")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(3), "weights"))
    onnx.save(model, folder / "tiny_off/1/model.onnx")
    (folder / "tiny_broken/1/model.onnx").write_bytes(b"no model")
    return folder


def test_it_measures_writes_and_undoes(
    repository: Path, server_with_torch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = Path(shutil.copytree(repository, tmp_path / "models"))
    options = [f"--repository={models}", f"--server-env={server_with_torch}"]
    assert main(["tune", "tiny", *options, "--batch=2", "--threads=1", "--rounds=2"]) == 0
    told = capsys.readouterr().out
    assert "tiny_broken can't be measured:" in told
    assert "tiny_off is not proposed: judged on 1 of 100 recordings: give more with --audio" in told
    assert "tiny_openvino is not proposed" not in told
    assert "dfexport build aasist" not in told  # the detector is called tiny here
    assert "it is not built: dfexport build tiny --weights=random --format=onnx --precision=int8" in told
    for name, key in (("tiny", "intra_op_thread_count"), ("tiny_openvino", "INFERENCE_NUM_THREADS")):
        built, tuned = (config_of(models / name / file) for file in ("config.pbtxt", "configs/cpu.pbtxt"))
        assert built == config_of(repository / name / "configs/cpu.pbtxt")
        assert tuned.max_batch_size in ((1,) if name == "tiny_openvino" else (1, 2))
        assert tuned.parameters[key].string_value == "1"
        assert " windows/s, 1 thread, " in tuned.parameters["tuned"].string_value
        for added in (key, "tuned"):
            del tuned.parameters[added]
        tuned.max_batch_size = built.max_batch_size
        assert tuned == built  # nothing else was touched
    for name in ("tiny_off", "tiny_broken", "tiny_trained"):
        shutil.rmtree(models / name)
        shutil.rmtree(models / f"{name}_live")
    window = wave(5, tiny_repository.WINDOW_SAMPLES)
    with (
        Server(models, environment_dir=server_with_torch) as server,
        Detector(server.grpc_url, "tiny") as detector,
    ):
        expected = tiny_repository.logits_of(window)[1]
        assert detector.score((window, 16_000)).score == pytest.approx(expected, abs=1e-4)
        assert "windows/s" in detector.card.extra["tuned"]
    assert main(["tune", "tiny", f"--repository={models}", "--undo"]) == 0
    assert (models / "tiny/configs/cpu.pbtxt").read_bytes() == (repository / "tiny/configs/cpu.pbtxt").read_bytes()
    assert main(["tune", "tiny", f"--repository={models}", "--undo"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["tiny: as it was built", "tiny: nothing to undo"]


def test_a_dry_run_writes_nothing(repository: Path, server_with_torch: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    models = Path(shutil.copytree(repository / "tiny", tmp_path / "models/tiny")).parent
    options = ["--dry-run", "--batch=1", "--threads=1", "--rounds=1"]
    assert main(["tune", "tiny", f"--repository={models}", f"--server-env={server_with_torch}", *options]) == 0
    assert (models / "tiny/configs/cpu.pbtxt").read_bytes() == (models / "tiny/config.pbtxt").read_bytes()


def test_only_the_same_weights_take_part(repository: Path) -> None:
    names = [one.name for one in candidates(repository, "tiny_off")]
    assert names == ["tiny_off", "tiny", "tiny_broken", "tiny_openvino"]
    assert [one.name for one in candidates(repository, "tiny_trained")] == ["tiny_trained"]
    with pytest.raises(RepositoryUnusable, match=r"no detector giant in .*, only tiny, tiny_broken"):
        candidates(repository, "giant")
    with pytest.raises(RepositoryUnusable, match="no detector tiny_live in"):
        candidates(repository, "tiny_live")


def test_what_is_compared_with_is_fp32_and_onnx_where_there_is_one(make: Callable[..., Candidate]) -> None:
    int8, openvino, plain = make("int8", "onnx"), make("fp32", "openvino"), make("fp32", "onnx")
    assert reference([int8, openvino, plain]) is plain
    assert reference([int8, openvino]) is openvino
    with pytest.raises(RepositoryUnusable, match="dfexport build tiny --weights=random --as=tiny_fp32"):
        reference([int8])
    assert commands_for_others([int8, plain]) == [
        "dfexport build tiny --weights=random --format=openvino --precision=fp32 --as=tiny_openvino_fp32",
        "dfexport build tiny --weights=random --format=openvino --precision=bf16 --as=tiny_openvino_bf16",
        "dfexport build tiny --weights=random --format=openvino --precision=int8 --as=tiny_openvino_int8",
    ]


def test_what_is_built_beside_it_has_the_same_weights(tmp_path: Path) -> None:
    own = card_of(weights="custom", checkpoint_source="my runs/best.pth", precision="fp32", format="onnx")
    first, *_ = commands_for_others([Candidate(tmp_path, "onnxruntime", own, 8)])
    assert shlex.split(first)[:4] == ["dfexport", "build", "tiny", "--checkpoint=my runs/best.pth"]
    published = dataclasses.replace(own, weights="pretrained")
    first, *_ = commands_for_others([Candidate(tmp_path, "onnxruntime", published, 8)])
    assert shlex.split(first)[:4] == ["dfexport", "build", "tiny", "--format=onnx"]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Candidate]:
    return lambda precision, form: Candidate(
        tmp_path / f"{form}_{precision}", "onnxruntime", card_of(precision=precision, format=form), 8
    )


def test_a_batch_is_taken_only_where_a_clip_gains_by_it(make: Callable[..., Candidate]) -> None:
    def best(**seconds: float) -> Setting:
        keys = {name: Setting(*map(int, name[1:].split("x"))) for name in seconds}
        return Measured(make("fp32", "onnx"), {keys[name]: [took_s] for name, took_s in seconds.items()}).best()

    assert best(t2x1=0.10, t2x2=0.20, t2x4=0.41, t2x8=0.79) == Setting(2, 1)
    assert best(t2x1=0.10, t2x2=0.15, t2x4=0.30, t2x8=0.62) == Setting(2, 2)
    assert best(t2x1=0.10, t2x2=0.15, t1x1=0.07) == Setting(1, 1)
    assert best(t2x1=0.10, t1x1=0.10) == Setting(2, 1)


@pytest.mark.parametrize(
    ("drift", "objection"),
    [
        (Drift(1, 0.0009, 0.0, None), ""),
        (Drift(99, 0.01, 0.0, 1.0), "judged on 99 of 100 recordings"),
        (Drift(100, 0.01, 0.0, None), "judged on 100 of 100"),
        (Drift(100, 3.0, 0.1, 0.9989), "its scores correlate by 0.9989 with fp32's, wanted 0.999"),
        (Drift(100, 3.0, 0.1, float("nan")), "correlate by nan"),
        (Drift(100, 0.3, 0.1, 0.9991), ""),
    ],
)
def test_what_may_stand_for_fp32(drift: Drift, objection: str) -> None:
    assert drift.objection.startswith(objection) if drift.correlation == drift.correlation else objection
    assert bool(drift.objection) == bool(objection)


def test_drift_is_of_logits_and_correlation_of_scores() -> None:
    fp32 = np.array([[0.0, 1.0], [0.0, 2.0], [5.0, 4.0], [0.0, 3.0]])
    moved = np.array([[0.0, 1.0], [0.5, 2.0], [5.0, 4.0], [0.0, 2.75]])
    drift = drift_of(card_of(), fp32, moved)
    assert (drift.recordings, drift.largest, drift.mean) == (4, 0.5, 0.75 / 8)
    assert drift.correlation == pytest.approx(np.corrcoef(fp32[:, 1], moved[:, 1])[0, 1])
    odds = [pair[:, 1] - pair[:, 0] for pair in (fp32, moved)]
    assert drift_of(card_of(score_kind="softmax"), fp32, moved).correlation == pytest.approx(np.corrcoef(*odds)[0, 1])
    assert drift_of(card_of(), fp32[:2], moved[:2]).correlation is None


def test_all_cores_are_not_written_as_a_number(repository: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(repository / "tiny", tmp_path / "tiny"))
    settings.write(folder, threads=None, max_batch_size=4, note="by hand")
    config = config_of(folder / settings.CPU)
    assert "intra_op_thread_count" not in config.parameters
    assert config.max_batch_size == 4
    assert settings.undo(folder)
    assert not settings.undo(folder)


def test_nvidias_image_gets_the_same_settings_but_no_larger_batch_than_it_can(tmp_path: Path) -> None:
    folder = tiny_repository.write_as(tmp_path, "ov", "openvino", tiny_repository.WITH_ENCODER) / "ov"
    files = settings.CPU, settings.NVIDIA_CPU
    built = [(folder / file).read_bytes() for file in files]
    for max_batch_size in (4, 2):  # tuned twice, from what was built each time
        settings.write(folder, threads=1, max_batch_size=max_batch_size, note="by hand")
        assert [config_of(folder / file).max_batch_size for file in files] == [max_batch_size, 1]
        for file in files:
            assert config_of(folder / file).parameters["INFERENCE_NUM_THREADS"].string_value == "1"
        assert settings.as_built(folder).max_batch_size == 4
    assert settings.undo(folder)
    assert [(folder / file).read_bytes() for file in files] == built
    assert {path.name for path in (folder / "configs").iterdir()} == {f"{name}.pbtxt" for name in PROFILES}


def test_what_an_earlier_version_tuned_is_undone_from_what_it_kept(tmp_path: Path) -> None:
    folder = tiny_repository.write_as(tmp_path, "old", "onnx") / "old"
    (folder / settings.NVIDIA_CPU).unlink()
    built = (folder / "config.pbtxt").read_bytes()
    tuned = config_of(folder / settings.CPU)
    tuned.max_batch_size = 2
    tuned.parameters["tuned"].string_value = "long ago"
    (folder / settings.CPU).write_text(text_format.MessageToString(tuned))
    assert settings.as_built(folder).max_batch_size == 8
    settings.write(folder, threads=None, max_batch_size=4, note="again")
    assert config_of(folder / settings.CPU).max_batch_size == 4
    assert settings.undo(folder)
    assert (folder / settings.CPU).read_bytes() == built
