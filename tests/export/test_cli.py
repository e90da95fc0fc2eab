"""``dfexport`` as a user meets it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from dfexport.build import Build, seeded
from dfexport.cli import default_weights_dir, main
from dfexport.detectors import ssl_aasist
from dfexport.download import sha256_of
from dfexport.layers.xlsr import PREFIX, XlsrConfig
from dfexport.registry import DETECTORS, find
from dfexport.repository import write_model
from dfexport.seeded import seeded_state
from dfexport.signals import wave


def test_list_names_every_detector(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in DETECTORS)
    lines = {line.split()[0]: line for line in shown.splitlines() if not line.startswith(" ")}
    assert "window 4.037 s" in lines["aasist"]
    assert "whole clips to 13 s" in lines["antideepfake_w2v_small"]


def test_a_folder_is_shown_as_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--weights-dir", "my[bold]/[/models]"]) == 0
    assert "not in my[bold]/[/models]" in capsys.readouterr().out


def test_own_weights_are_served_under_their_own_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "tuned.pth"
    torch.save(dict(seeded(find("aasist_l")).state), checkpoint)
    repository = tmp_path / "repository"
    command = ["build", "aasist_l", "--checkpoint", str(checkpoint), "--as", "phone", "--repository", str(repository)]
    assert main(command) == 0
    assert "custom weights" in capsys.readouterr().out
    config = text_format.Parse((repository / "phone/config.pbtxt").read_text(), pb.ModelConfig())
    card = {key: value.string_value for key, value in config.parameters.items()}
    assert config.name == "phone"
    assert (card["detector"], card["weights"]) == ("aasist_l", "custom")
    assert card["checkpoint_sha256"] == sha256_of(checkpoint)
    assert "threshold" not in card


def test_a_build_says_what_of_a_checkpoint_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = XlsrConfig(layers=1, hidden=32, feed_forward=48, conv_channels=16, position_kernel=8, position_groups=4)
    state = seeded_state(ssl_aasist.shapes(config), ssl_aasist.SSL_AASIST.seeded_rules)
    pre_training = {"mask_emb": (32,), "quantizer.vars": (1, 4, 4), "project_q.weight": (4, 4), "project_q.bias": (4,)}
    state |= {f"{PREFIX}{key}": torch.ones(shape) for key, shape in pre_training.items()}
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "tuned.pth")
    command = ["build", "ssl_aasist", "--checkpoint", str(tmp_path / "tuned.pth"), "--repository", str(tmp_path / "r")]
    assert main([*command, "--format", "torchscript"]) == 0  # the quickest to write
    shown = capsys.readouterr().out
    assert "read from its entry model\n" in shown
    assert "prefix module. taken off every key\n" in shown
    assert "left out, since only pre-training used it: mask_emb, project_q, quantizer (4 tensors)" in shown


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["build", "aasist_xl"], "unknown detector 'aasist_xl'; known: aasist, aasist_l"),
        (["build", "aasist", "aasist_l", "--as", "both"], "go with one detector; name one"),
        (["build", "aasist", "--as", "..", "--weights", "random"], "expected a name of letters, digits"),
        (["build", "aasist", "--as", "team/model", "--weights", "random"], "expected a name of letters, digits"),
        (["build", "aasist", "--checkpoint", "nowhere.pth"], "no checkpoint at nowhere.pth"),
        (["build", "aasist", "--window", "66800"], "aasist scores windows of 64,600 samples, not of 66,800"),
        (["build", "xlsr_mamba", "--window", "1"], "xlsr_mamba scores windows of 66,800 or 64,600 samples, not of 1"),
        (["build", "aasist", "--checkpoint", "nowhere.pth", "--weights", "random"], "two kinds of weights"),
        (["check", "aasist", "--checkpoint", "nowhere.pth", "--weights", "random"], "two kinds of weights"),
        (["build", "aasist", "--int8-range", "full"], "--int8-range goes with --precision int8"),
        (["average", "nowhere", "average.safetensors"], "no checkpoint at nowhere"),
        (["average", "nowhere", "average.pth"], "average.pth: expected a name that ends in .safetensors"),
        (["check", "aasist_l", "--weights", "random", "--repository", "nowhere"], "run dfexport build aasist_l"),
    ],
)
def test_mistakes_are_one_line(command: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("dfexport: error: ")
    assert expected in shown
    assert shown.count("\n") == 1


def test_the_weights_folder_is_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIGHTS_DIR", raising=False)
    assert default_weights_dir() == Path("weights")
    monkeypatch.setenv("WEIGHTS_DIR", "elsewhere")
    assert default_weights_dir() == Path("elsewhere")


def test_what_was_built_under_another_name_is_checked_by_that_name(
    seeded_aasist_l: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card says which detector it is, and with which weights."""
    repository = f"--repository={tmp_path}"
    shutil.copytree(seeded_aasist_l.folder, tmp_path / "phone")
    assert main(["check", "phone", repository]) == 0
    assert "phone" in capsys.readouterr().out
    card, waveform = replace(seeded_aasist_l.card, model="phone", weights="custom"), wave(1, 64_600)
    write_model(tmp_path / "phone", find("aasist"), replace(card, checkpoint_source="tuned.pth"), waveform)
    assert main(["check", "phone", repository]) == 1
    assert "built from your own tuned.pth: name it with --checkpoint" in capsys.readouterr().err
    torch.save(dict(seeded_aasist_l.weights.state), tmp_path / "tuned.pth")
    assert main(["check", "phone", repository, f"--checkpoint={tmp_path / 'tuned.pth'}"]) == 1
    assert "phone was built from another checkpoint: expected sha256 random, found" in capsys.readouterr().err
    assert main(["check", "unknown", repository]) == 1
    assert "run dfexport build DETECTOR --as unknown" in capsys.readouterr().err
