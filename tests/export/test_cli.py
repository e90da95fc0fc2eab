"""``dfexport`` as a user meets it."""

from pathlib import Path

import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from dfexport.__main__ import default_weights_dir, main
from dfexport.build import seeded
from dfexport.detectors import ssl_aasist
from dfexport.download import sha256_of
from dfexport.layers.xlsr import PREFIX, XlsrConfig
from dfexport.registry import DETECTORS, find
from dfexport.seeded import seeded_state


def test_list_names_every_detector(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in DETECTORS)


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
    torch.save(state, tmp_path / "tuned.pth")
    command = ["build", "ssl_aasist", "--checkpoint", str(tmp_path / "tuned.pth"), "--repository", str(tmp_path / "r")]
    assert main(command) == 0
    shown = capsys.readouterr().out
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


def test_the_weights_folder_is_the_first_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared/weights").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("WEIGHTS_DIR", raising=False)
    assert default_weights_dir() == Path("../shared/weights")
    (tmp_path / "project/weights").mkdir()
    assert default_weights_dir() == Path("weights")
    monkeypatch.setenv("WEIGHTS_DIR", "elsewhere")
    assert default_weights_dir() == Path("elsewhere")
