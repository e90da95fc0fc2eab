"""AASIST answers what the original answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dfexport.build import Build, load_network, load_weights, seeded
from dfexport.detectors import aasist
from dfexport.errors import CheckpointInvalid
from dfexport.registry import find
from dfexport.signals import wave
from dfexport.state import load_strictly

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CORPUS = ROOT.parent / "shared" / "corpus"
NAMES = ("aasist", "aasist_l")


@pytest.fixture(scope="module", params=NAMES)
def pretrained(request: pytest.FixtureRequest, shared_weights: Path) -> tuple[str, torch.nn.Module]:
    spec = find(request.param)
    weights = load_weights(spec, weights_dir=shared_weights, checkpoint=None, random=False)
    return request.param, load_network(spec, weights)


def logits_of(network: torch.nn.Module, path: Path) -> np.ndarray:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == 16_000
    window = np.tile(samples, 64_600 // len(samples) + 1)[:64_600]
    with torch.inference_mode():
        return network(torch.from_numpy(window)[None])[0].numpy()


def test_the_human_example_scores_as_the_original_scores_it(pretrained: tuple[str, torch.nn.Module]) -> None:
    # Made by clovaai/aasist on the same LibriVox excerpt.
    expected = {"aasist": (-3.615931, 2.197563), "aasist_l": (-0.802319, 1.251666)}
    name, network = pretrained
    np.testing.assert_allclose(logits_of(network, ROOT / "examples/human.flac"), expected[name], atol=1e-4)


@pytest.mark.slow  # what is exported from both answers every tenth clip: tests/e2e/test_corpus.py
def test_every_twentieth_clip_of_the_corpus_scores_as_the_original(pretrained: tuple[str, torch.nn.Module]) -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"the corpus is not here ({CORPUS})")
    name, network = pretrained
    column = {"aasist": "AASIST", "aasist_l": "AASIST-L"}[name]
    with (CORPUS / "protocol.csv").open() as file:
        paths = {row["utt_id"]: CORPUS / row["path"] for row in csv.DictReader(file)}
    with (CORPUS.parent / "golden/aasist_corpus_logits.csv").open() as file:
        rows = list(csv.DictReader(file))[::20]
    for row in rows:
        expected = [float(row[f"{column}_logit_spoof"]), float(row[f"{column}_logit_bonafide"])]
        np.testing.assert_allclose(logits_of(network, paths[row["utt_id"]]), expected, atol=1e-4, err_msg=row["utt_id"])


@pytest.mark.parametrize("name", NAMES)
def test_seeded_weights_answer_the_recorded_figures(name: str) -> None:
    """Recorded when the same code answered the original's figures on all 301 clips of the corpus."""
    expected = json.loads((GOLDEN / "aasist_seeded_logits.json").read_text())[name]
    network = load_network(find(name), seeded(find(name)))
    waves = torch.from_numpy(np.stack([wave(seed, 64_600) for seed in (1, 2, 3)]))
    with torch.inference_mode():
        np.testing.assert_allclose(network(waves).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_states_the_number_of_parameters(name: str) -> None:
    network = load_network(find(name), seeded(find(name)))
    assert sum(parameter.numel() for parameter in network.parameters()) == find(name).parameters


def test_sinc_filters_equal_their_formula_tap_by_tap() -> None:
    filters = aasist.mel_sinc_filters()
    assert filters.shape == (70, 129)
    top_mel = 2595 * np.log10(1 + 8000 / 700)
    for index in (0, 17, 69):
        low_hz, high_hz = (700 * (10 ** (top_mel * edge / 70 / 2595) - 1) for edge in (index, index + 1))
        for tap in (0, 63, 64, 65, 128):
            offset = tap - 64
            ideal = 2 * (high_hz - low_hz) / 16_000
            if offset:
                ideal = (
                    np.sin(2 * np.pi * high_hz * offset / 16_000) - np.sin(2 * np.pi * low_hz * offset / 16_000)
                ) / (np.pi * offset)
            window = 0.54 - 0.46 * np.cos(2 * np.pi * tap / 128)
            assert filters[index, tap] == pytest.approx(ideal * window, abs=1e-7)


def test_the_discarded_batch_norm_of_later_blocks_plays_no_part() -> None:
    spec = find("aasist_l")
    state = dict(seeded(spec).state)
    changed = {key: value + 1 if ".bn1." in key else value for key, value in state.items()}
    assert sum(".bn1." in key for key in state) == 25  # five blocks, five tensors each
    window = torch.from_numpy(wave(1, spec.window_samples))[None]
    with torch.inference_mode():
        plain, other = (aasist.LIGHT.build(weights)(window) for weights in (state, changed))
    assert torch.equal(plain, other)


def test_a_checkpoint_of_the_other_size_is_refused_with_its_keys() -> None:
    light = seeded(find("aasist_l")).state
    with pytest.raises(CheckpointInvalid, match=r"GAT_layer_S\.att_proj\.weight \(expected \(64, 64\), found"):
        aasist.FULL.build(light)


def test_missing_and_unexpected_keys_are_listed() -> None:
    state = dict(seeded(find("aasist_l")).state)
    state["pos_Q"] = state.pop("pos_S")
    with pytest.raises(CheckpointInvalid, match=r"missing: pos_S; unexpected: pos_Q"):
        load_strictly(aasist.Aasist(aasist.LIGHT_CONFIG), state)


def test_the_exported_graph_is_one_file_with_a_free_batch_axis(seeded_aasist_l: Build) -> None:
    import onnxruntime

    assert [path.name for path in (seeded_aasist_l.folder / "1").iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(seeded_aasist_l.folder / "1/model.onnx")
    (tensor,) = session.get_inputs()
    assert (tensor.name, tensor.type, tensor.shape[1:]) == ("WAVEFORM", "tensor(float)", [64_600])
    assert isinstance(tensor.shape[0], str)
    assert [(output.name, output.shape[1:]) for output in session.get_outputs()] == [
        ("LOGITS", [2]),
        ("SCORE", [1]),
        ("IDENTITY", [1]),
    ]
    for batch in (1, 3):
        logits, score, identity = session.run(None, {"WAVEFORM": np.zeros((batch, 64_600), np.float32)})
        assert logits.shape == (batch, 2)
        np.testing.assert_array_equal(score, logits[:, 1:])
        assert identity.tolist() == [[seeded_aasist_l.card.identity]] * batch
