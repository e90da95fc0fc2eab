"""Recordings and lists as people have sent them, in whose place other audio used to be scored; skipped if not here."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from dfclient import Detector
from dfclient.audio import MIXED, load
from dfclient.audio.containers import container_of
from dfclient.audio.sources import RawFormat, pipe
from dfclient.calls import ModelInfo, WindowAnswer
from dfclient.clips import clips_from
from dfclient.errors import AudioError
from dfexport.build import load_network, load_weights
from dfexport.card import model_card
from dfexport.registry import find

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
# The recording's seconds, and words of what the row has to say.
READ = {
    "human_16k_then_48k.aac": (6.29, "its sample rate changes: 16000 Hz, then 48000 Hz"),
    "cat.flac": (8.165, "2 recordings follow one another"),
    "cat_plain.mp3": (8.35, ""),
    "real_then_fake.opus": (12.72, "2 recordings follow one another"),
    "size_0.wav": (3.00, "its header says 0 bytes of audio"),
    "human_51.m4a": (6.17, "6 channels (FL FR FC LFE BL BR): their downmix was scored"),
    "dub_first_original_default.mkv": (6.17, "2 audio tracks: 1 (eng), 2 (deu, default); scored was 2"),
    "lame_cbr.mp3": (7.72, ""),
}
REFUSED = {
    **dict.fromkeys(("cut_rf64.wav", "cut_caf.caf", "cut_flac_in_ogg.ogg", "cut_lame_cbr.mp3"), "cut short"),
    "headerless.raw": "not readable as audio",
}
# Scores of the reference, which decoded with FFmpeg frame by frame, resampled with soxr and asked ONNX Runtime, and how
# far off they may be. The -6.3 that is written beside the chained Opus is not of our windows: decoded as the reference
# does (the samples lie as ours, to the sample), they give -5.69; the first recording alone would give 1.26.
SCORED = {
    "human_16k_then_48k.aac": (1.85, 0.06, {"mode": "sliding"}),
    "real_then_fake.opus": (-5.69, 0.06, {"mode": "sliding", "hop_s": 1.0, "pool": "min"}),
    "human_51.m4a": (4.17, 0.06, {}),
    "dub_first_original_default.mkv": (3.97, 0.06, {}),
}
# The id that each gives its one clip, else the clip's stem.
LISTS = {
    **dict.fromkeys(("semicolon.csv", "space_header.csv", "kaldi.scp"), "a"),
    **dict.fromkeys(("file.csv", "utf16.txt", "windows.txt"), "clip"),
}


def case(folder: str, name: str = "") -> Path:
    path = CASES / folder / name
    if not path.exists():
        pytest.skip(f"{path} is not here: how it is read can't be checked")
    return path


class Network:
    """The calls of a server that has AASIST with its published weights."""

    url, timeout_s = "in this process", 60.0

    def __init__(self, weights_dir: Path) -> None:
        self.spec = find("aasist")
        weights = load_weights(self.spec, weights_dir=weights_dir, checkpoint=None, random=False)
        self.network = load_network(self.spec, weights)

    def model_info(self, model, version=""):
        card = model_card("aasist", self.spec, weights="custom", sha256="ab" * 32, source="a file")
        return ModelInfo(model, "1", {**card.to_parameters(), "identity": "0"})

    def infer(self, model, version, window):
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(np.array(window))[None])[0].numpy()
        return WindowAnswer(logits, float(logits[1]), 0)

    def close(self) -> None:
        """Nothing to be done."""


@pytest.fixture(scope="module")
def detector():
    weights = CASES.parent / "weights"
    if not weights.is_dir():
        pytest.skip(f"the published weights are not here ({weights})")
    with Detector(model="aasist", transport=Network(weights)) as opened:
        yield opened


@pytest.mark.parametrize("name", READ)
def test_all_of_a_recording_is_read(name):
    seconds, words = READ[name]
    waveform = load(case("audio", name), 16_000)
    assert waveform.duration_s == pytest.approx(seconds, abs=0.006)
    assert words in " ".join(waveform.warnings)
    assert bool(waveform.warnings) == bool(words)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_is_no_score(name):
    with pytest.raises(AudioError, match=REFUSED[name]):
        load(case("audio", name), 16_000)


@pytest.mark.slow  # some twenty windows
@pytest.mark.parametrize("name", SCORED)
def test_scores_are_those_of_the_reference(name, detector):
    score, tolerance, options = SCORED[name]
    assert detector.score(case("audio", name), **options).score == pytest.approx(score, abs=tolerance)


def test_an_mp3_without_tags_is_no_noise_where_it_comes_through_a_pipe():
    content = case("audio", "lame_cbr.mp3").read_bytes()
    assert container_of(content[:8192]).name == "MP3"
    with pipe(RawFormat(16_000, 1, "int16"), MIXED, io.BytesIO(content)) as source:
        heard = np.concatenate(list(source.chunks))[:, 0]
    expected = load(content, source.rate_hz).samples
    assert len(heard) == pytest.approx(len(expected), abs=0.1 * source.rate_hz)
    assert np.corrcoef(heard[: len(expected)], expected[: len(heard)])[0, 1] > 0.99


@pytest.mark.parametrize("name", LISTS)
def test_the_clip_of_a_list_has_the_id_that_is_given_there(name):
    path = case("lists", name)
    (clip,) = clips_from([f"@{path}" if name.endswith(".txt") else str(path)])
    assert (Path(clip.path).name, clip.utt_id) == ("clip.wav", LISTS[name])


def test_every_case_is_read_here():
    assert {path.name for path in case("audio").iterdir()} == {*READ, *REFUSED}
    assert {path.name for path in case("lists").iterdir()} == {*LISTS}
