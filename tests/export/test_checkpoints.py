"""Strangers' files are read safely, and what is wrong with them is said."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dfexport.build import load_network, seeded
from dfexport.checkpoints import LoadedWeights, custom, load_state
from dfexport.download import sha256_of
from dfexport.errors import CheckpointInvalid, CheckpointMissing
from dfexport.layers import xlsr
from dfexport.layers.xlsr import XlsrConfig
from dfexport.registry import find
from dfexport.seeded import seeded_state

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


def assert_is_state(state: dict[str, torch.Tensor]) -> None:
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("name", ["weights.safetensors", "pytorch_model.bin", "weights.pth"])
def test_safetensors_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    save_file(STATE, tmp_path / name)
    assert_is_state(load_state(tmp_path / name).state)


@pytest.mark.parametrize("is_zip", [True, False])
def test_torchs_files_are_known_by_their_content(tmp_path: Path, is_zip: bool) -> None:
    torch.save(STATE, tmp_path / "tuned.safetensors", _use_new_zipfile_serialization=is_zip)
    assert_is_state(load_state(tmp_path / "tuned.safetensors").state)


def test_a_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for name, save in (
        ("zip.pth", torch.save),
        ("bare.pth", lambda content, path: path.write_bytes(pickle.dumps(content))),
    ):
        save({"a": Hostile()}, tmp_path / name)
        with pytest.raises(CheckpointInvalid, match=r"could run code|not a PyTorch checkpoint"):
            load_state(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "weights.pth")
    whole = (tmp_path / "weights.pth").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(CheckpointInvalid, match=rf"{size:,} bytes.*truncated"):
            load_state(tmp_path / "cut.pth")


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "weights.pth")
    content = bytearray((tmp_path / "weights.pth").read_bytes())
    content[content.index(STATE["layer.weight"].numpy().tobytes()) + 5] ^= 1
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointInvalid, match=r"weights\.pth: .*data/0 is damaged, its checksum does not fit"):
        load_state(tmp_path / "weights.pth")


def test_a_packed_checkpoint_is_not_unpacked(tmp_path: Path) -> None:
    """Some kilobytes could become gigabytes."""
    torch.save(STATE, tmp_path / "plain.pth")
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(CheckpointInvalid, match=r"is compressed; save it with torch\.save"):
        load_state(packed)


def test_values_that_are_no_weights_are_refused_by_name() -> None:
    good = dict(seeded(find("aasist_l")).state)
    key = "GAT_layer_S.att_proj.weight"
    for value, words in (
        (torch.full_like(good[key], float("nan")), rf"with NaN or infinite values: {key}"),
        (good[key].clone().fill_(1).index_fill_(0, torch.tensor(0), float("-inf")), f"NaN or infinite values: {key}"),
        (good[key].to(torch.int64), rf"not plain numbers: {key} \(int64 where floats belong\)"),
        (good[key].to(torch.complex64), rf"{key} \(complex64 where floats belong\)"),
        (good[key].to_sparse(), rf"{key} \(sparse or quantized\)"),
    ):
        weights = LoadedWeights({**good, key: value}, "custom", "ab" * 32, "mine.pth")
        with pytest.raises(CheckpointInvalid, match=words) as caught:
            load_network(find("aasist_l"), weights)
        assert "missing" not in str(caught.value)


def test_a_strangers_keys_cant_steer_the_terminal() -> None:
    state = {**seeded(find("aasist_l")).state, "\x1b[2Jgone\n": torch.zeros(1)}
    with pytest.raises(CheckpointInvalid, match=r"unexpected: \\x1b\[2Jgone\\n$"):
        load_network(find("aasist_l"), LoadedWeights(state, "custom", "ab" * 32, "mine.pth"))


def test_an_encoders_values_are_looked_at_too() -> None:
    tiny = XlsrConfig(layers=1, hidden=32, feed_forward=48, conv_channels=16, position_kernel=8, position_groups=4)
    state = seeded_state(xlsr.shapes(tiny), xlsr.SEEDED_RULES)
    key = "encoder.layers.0.fc1.weight"
    state[xlsr.PREFIX + key][3, 2] = float("inf")
    with pytest.raises(CheckpointInvalid, match=rf"does not fit: with NaN or infinite values: {key}"):
        xlsr.load_xlsr(state)


def test_a_truncated_safetensors_says_so(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.safetensors")
    whole = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointInvalid, match="truncated or not a safetensors"):
        load_state(tmp_path / "cut.safetensors")


def test_a_web_page_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("\n <!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>")
    with pytest.raises(CheckpointInvalid, match="is a web page"):
        load_state(tmp_path / "weights.pth")


def test_own_weights_carry_their_digest(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "mine.pth")
    weights = custom(tmp_path / "mine.pth")
    assert (weights.kind, weights.source) == ("custom", "mine.pth")
    assert weights.sha256 == sha256_of(tmp_path / "mine.pth")


def test_own_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"no checkpoint at .*mine\.pth"):
        custom(tmp_path / "mine.pth")


@pytest.mark.parametrize(
    "content", [b"hello world", b"\x00" * 64, b"PK\x03\x04 and nothing more", b'{"a": 1}', b"))))"]
)
def test_a_file_of_another_format_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(CheckpointInvalid):
        load_state(tmp_path / "other.pth")
