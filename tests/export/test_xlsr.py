"""The XLS-R encoder: fairseq's weights in, any size, and nothing loaded by guessing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dfexport.build import load_network, load_weights
from dfexport.detectors import ssl_aasist
from dfexport.errors import CheckpointInvalid
from dfexport.formats import FORMATS
from dfexport.formats.served import ServedDetector
from dfexport.layers import xlsr
from dfexport.layers.xlsr import XlsrConfig, load_xlsr
from dfexport.registry import find
from dfexport.seeded import seeded_state
from dfexport.signals import wave

TINY = XlsrConfig(layers=1, hidden=32, feed_forward=48, conv_channels=16, position_kernel=8, position_groups=4)


@pytest.mark.parametrize(
    ("key", "shape", "complaint"),
    [
        ("encoder.layers.x.fc1.weight", (48, 32), r"unexpected: .*encoder\.layers\.x\.fc1\.weight"),
        ("encoder.layers.99999.fc1.weight", (48, 32), r"unexpected: .*encoder\.layers\.99999\.fc1\.weight"),
        ("encoder.layers.0.fc1.weight", (), "holds no XLS-R encoder"),
        ("encoder.pos_conv.0.weight_v", (32,), "holds no XLS-R encoder"),
        ("encoder.pos_conv.0.weight_v", (32, 0, 8), "holds no XLS-R encoder"),
    ],
)
def test_a_malformed_checkpoint_is_a_clear_error(key: str, shape: tuple[int, ...], complaint: str) -> None:
    state = seeded_state(xlsr.shapes(TINY), xlsr.SEEDED_RULES) | {f"{xlsr.PREFIX}{key}": torch.zeros(shape)}
    with pytest.raises(CheckpointInvalid, match=complaint):
        load_xlsr(state)


@pytest.mark.parametrize(
    ("layers", "hidden", "feed_forward"),
    [(24, 1024, 4096), (48, 1280, 5120), (48, 1920, 7680)],
    ids=["300M", "1B", "2B"],
)
def test_the_size_is_read_from_the_tensors(layers: int, hidden: int, feed_forward: int) -> None:
    config = XlsrConfig(layers=layers, hidden=hidden, feed_forward=feed_forward)
    state = {
        key.removeprefix(xlsr.PREFIX): torch.empty(shape, device="meta") for key, shape in xlsr.shapes(config).items()
    }
    assert xlsr.infer_config(state) == config


def test_window_lengths_become_the_papers_frames() -> None:
    assert (XlsrConfig().frames(64_600), XlsrConfig().frames(66_800)) == (201, 208)


def test_missing_and_unexpected_keys_are_listed() -> None:
    state = seeded_state(xlsr.shapes(TINY), xlsr.SEEDED_RULES)
    state[f"{xlsr.PREFIX}encoder.layers.0.fc9.weight"] = torch.zeros(1)
    del state[f"{xlsr.PREFIX}encoder.layers.0.fc2.bias"], state[f"{xlsr.PREFIX}layer_norm.bias"]
    with pytest.raises(CheckpointInvalid) as caught:
        load_xlsr(state)
    expected = "missing: encoder.layers.0.fc2.bias, layer_norm.bias; unexpected: encoder.layers.0.fc9.weight"
    assert str(caught.value).endswith(expected)


def test_a_tensor_of_another_shape_is_named() -> None:
    state = seeded_state(xlsr.shapes(TINY), xlsr.SEEDED_RULES)
    state[f"{xlsr.PREFIX}post_extract_proj.weight"] = torch.zeros(32, 15)
    with pytest.raises(CheckpointInvalid, match=r"post_extract_proj\.weight \(expected \(32, 16\), found \(32, 15\)\)"):
        load_xlsr(state)


def test_what_only_pre_training_used_changes_nothing() -> None:
    state = seeded_state(xlsr.shapes(TINY), xlsr.SEEDED_RULES)
    extra = {"mask_emb": (32,), "quantizer.vars": (1, 4, 4), "project_q.weight": (4, 4), "final_proj.bias": (4,)}
    more = state | {f"{xlsr.PREFIX}{key}": torch.ones(shape) for key, shape in extra.items()}
    assert ssl_aasist.SSL_AASIST.dropped_keys(more) == sorted(f"{xlsr.PREFIX}{key}" for key in extra)
    window = torch.from_numpy(wave(1, 4000))[None]
    with torch.inference_mode():
        assert torch.equal(load_xlsr(state)[0](window), load_xlsr(more)[0](window))


def test_a_pre_trained_encoder_alone_is_refused() -> None:
    state = {
        key.removeprefix(xlsr.PREFIX): value
        for key, value in seeded_state(xlsr.shapes(TINY), xlsr.SEEDED_RULES).items()
    }
    with pytest.raises(CheckpointInvalid, match=r"found 0 keys that begin with 'ssl_model\.model\.'.*xlsr2_300m\.pt"):
        load_xlsr(state)


def test_every_way_to_store_a_checkpoint_gives_the_same_network(tmp_path: Path) -> None:
    spec = find("ssl_aasist")
    state = seeded_state(ssl_aasist.shapes(TINY), ssl_aasist.SSL_AASIST.seeded_rules)
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "tuned.pth")
    save_file(state, tmp_path / "tuned.safetensors")
    for name, extension in (("a", "pth"), ("b", "safetensors")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"model.{extension}").write_bytes((tmp_path / f"tuned.{extension}").read_bytes())
    window = torch.from_numpy(wave(1, spec.window_samples))[None]
    answers = []
    for stored in ("tuned.pth", "tuned.safetensors", "a", "b"):
        weights = load_weights(spec, weights_dir=tmp_path, checkpoint=tmp_path / stored, random=False)
        with torch.inference_mode():
            answers.append(load_network(spec, weights)(window))
    assert all(torch.equal(answers[0], answer) for answer in answers[1:])


@pytest.mark.slow  # an export each
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layers=st.integers(1, 3),
    heads_width=st.sampled_from((2, 3, 5)),
    feed_forward=st.sampled_from((24, 56)),
    conv_channels=st.sampled_from((8, 24)),
    kernel=st.sampled_from((7, 16)),
    form=st.sampled_from(("onnx", "torchscript")),
)
def test_random_architectures_export_faithfully(
    tmp_path: Path, layers: int, heads_width: int, feed_forward: int, conv_channels: int, kernel: int, form: str
) -> None:
    config = XlsrConfig(
        layers, 16 * heads_width, feed_forward, conv_channels, position_kernel=kernel, position_groups=4
    )
    network = ssl_aasist.build(seeded_state(ssl_aasist.shapes(config), ssl_aasist.SSL_AASIST.seeded_rules))
    window_samples = 6_400
    chosen = FORMATS[form]
    chosen.write(ServedDetector(network, identity=-(2**62)), window_samples, tmp_path / chosen.file)
    waves = np.stack([wave(seed, window_samples) for seed in (4, 5, 6)])
    with torch.inference_mode():
        eager = network(torch.from_numpy(waves)).numpy()
    answers = chosen.open(tmp_path / chosen.file)(waves)
    np.testing.assert_allclose(answers.logits, eager, atol=1e-5)
    assert answers.identity is not None
    assert answers.identity.tolist() == [[-(2**62)]] * 3
