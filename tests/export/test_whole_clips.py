"""AntiDeepfake scores a clip as it is, whatever its length: the network, its files, a server and its clients.

Its smallest size, with two layers filled by rule.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
from torch.nn import functional as F
from tritonclient.utils import InferenceServerException

from dfclient import Detector
from dfclient.errors import InputError
from dfcontract.errors import ScoreFileError
from dfcontract.score_appending import Opening, ScoreFile
from dfcontract.windows import ClipLengths
from dfdeploy.embedded import Server
from dfdeploy.selfcheck import wrong_models
from dfeval.window_scores import load_window_scores
from dfexport.build import Variant, build, check_variant, load_network
from dfexport.card import model_card
from dfexport.check import built_spec
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import antideepfake
from dfexport.errors import ExportError
from dfexport.family import family_of
from dfexport.formats import FORMATS
from dfexport.layers.xlsr import W2V_BASE, XlsrDetector
from dfexport.registry import DETECTORS, find
from dfexport.repository import PROFILES, model_config, read_card
from dfexport.seeded import seeded_state
from dfexport.signals import wave
from held import backends_held

NAME = "antideepfake_w2v_small"
SPEC = find(NAME)
LEAST, MOST = 400, 208_000
LENGTHS = (LEAST, 20_001, 64_600, MOST)
FORMAT_NAMES = ("onnx", "torchscript")
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def weights() -> LoadedWeights:
    shapes = antideepfake.shapes(replace(W2V_BASE, layers=2))
    return LoadedWeights(seeded_state(shapes, family_of(SPEC).seeded_rules), "custom", "0" * 64, "filled by rule")


@pytest.fixture(scope="module")
def network(weights: LoadedWeights) -> XlsrDetector:
    network = load_network(SPEC, weights)
    assert isinstance(network, XlsrDetector)
    return network


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, weights: LoadedWeights) -> Path:
    """The detector in both formats, each under its name."""
    folder = tmp_path_factory.mktemp("clips") / "models"
    for form in FORMAT_NAMES:
        build(SPEC, weights, folder, form, variant=Variant(form))
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, server_with_torch: Path) -> Iterator[Server]:
    with Server(repository, environment_dir=server_with_torch) as server:
        yield server


@pytest.fixture(scope="module")
def detector(server: Server) -> Iterator[Detector]:
    with Detector(server.grpc_url, "onnx") as detector:
        yield detector


def answered(network: torch.nn.Module, waveform: np.ndarray) -> np.ndarray:
    """Logits of one clip."""
    with torch.inference_mode():
        logits: np.ndarray = network(torch.from_numpy(waveform)[None])[0].numpy()
    return logits


def near(values: np.ndarray | float, tolerance: float = 1e-4) -> object:
    return pytest.approx(values, abs=tolerance)


@pytest.mark.parametrize("samples", LENGTHS)
def test_a_clip_is_normalised_over_its_length_and_averaged_over_all_its_frames(
    network: XlsrDetector, samples: int
) -> None:
    clip = wave(1, samples) + np.float32(0.1)
    with torch.inference_mode():
        frames = network.encoder(F.layer_norm(torch.from_numpy(clip), (samples,))[None])
        assert frames.shape[1] == (samples - LEAST) // 320 + 1
        expected = network.head.proj_fc(frames[0].mean(dim=0)).numpy()
    assert answered(network, clip) == near(expected, 1e-5)
    assert answered(network, 0.25 * clip) == near(expected, 1e-3)  # a change of level changes nothing


def test_every_size_takes_the_same_lengths() -> None:
    rows = {name: spec for name, spec in DETECTORS.items() if spec.clip is not None}
    assert rows.keys() == {name for name in DETECTORS if name.startswith("antideepfake")}
    assert {spec.clip for spec in rows.values()} == {ClipLengths(LEAST, MOST)}


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_a_file_answers_as_the_network_at_any_length_whatever_the_batch(
    form: str, repository: Path, network: XlsrDetector
) -> None:
    run = FORMATS[form].open(repository / form / "1" / FORMATS[form].file)
    for samples in LENGTHS:
        clip = wave(2, samples)
        alone = run(clip[None]).logits[0]
        assert alone == near(answered(network, clip))
        for size in (2, 3, 8) if samples <= 20_001 else ():
            batch = np.stack([wave(10 + row, samples) * np.float32((1, 0.01, 0)[row % 3]) for row in range(size)])
            batch[size // 2] = clip
            assert run(batch).logits[size // 2] == near(alone, 1e-5)


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_a_file_refuses_a_longer_clip_before_it_takes_memory_for_it(form: str, repository: Path) -> None:
    run = FORMATS[form].open(repository / form / "1" / FORMATS[form].file)
    with pytest.raises(Exception, match=r"idx=1 must be within|out of range"):
        run(np.zeros((1, MOST + 1), np.float32))


def test_the_card_and_the_configuration_say_so(repository: Path) -> None:
    card = read_card(repository / "onnx")
    assert card.clip == ClipLengths(LEAST, MOST)
    assert built_spec(card) is SPEC
    config = (repository / "onnx" / "config.pbtxt").read_text()
    assert "dims: -1" in config
    assert "window_samples" not in config
    live = (repository / "onnx_live" / "config.pbtxt").read_text()
    assert 'key: "least_samples"' in live
    gpu = (repository / "onnx" / "configs" / "gpu.pbtxt").read_text()
    assert "max_batch_size: 8\n" in gpu


def test_a_fixed_window_is_built_on_demand_and_says_what_it_is_not() -> None:
    with pytest.raises(ExportError, match="--format openvino can't serve: add --window 64600"):
        check_variant(SPEC, Variant("openvino"))
    with pytest.raises(ExportError, match="windows of 64,600 samples, not of 66,800"):
        SPEC.with_window(66_800)
    fixed = SPEC.with_window(64_600)
    check_variant(fixed, Variant("openvino"))
    card, whole = (model_card("it", spec, weights="custom", sha256="0" * 64, source="") for spec in (fixed, SPEC))
    assert (card.clip, card.window_samples) == (None, 64_600)
    assert "their figures are not of this" in card.preparation
    assert "their figures are not of this" not in whole.preparation
    assert built_spec(card) == fixed
    assert card.identity != whole.identity
    assert model_config(fixed, card, PROFILES["gpu"]).input[0].dims == [64_600]
    assert model_config(fixed, card, PROFILES["gpu"]).max_batch_size > 8


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_a_server_batches_clips_of_one_length_and_answers_each_as_alone(
    form: str, server: Server, network: XlsrDetector
) -> None:
    clips = [wave(seed, samples) for seed, samples in enumerate(4 * (8_000,) + 4 * (20_001,) + 4 * (30_000,), start=1)]
    with Detector(server.grpc_url, form) as detector, ThreadPoolExecutor(len(clips)) as pool:
        with backends_held(server):
            answers = []
            for clip in clips:  # in this order, so that those of one length come one after the other
                answers.append(pool.submit(detector.infer, clip[None]))
                time.sleep(0.03)
        together = [answer.result()[0][0] for answer in answers]
    for clip, logits in zip(clips, together, strict=True):
        assert logits == near(answered(network, clip))
    with triton.InferenceServerClient(server.grpc_url) as client:
        (found,) = client.get_inference_statistics(form).model_stats
    assert max(batch.batch_size for batch in found.batch_stats) > 1


@pytest.mark.parametrize("samples", [LEAST - 1, MOST + 1])
def test_a_server_refuses_other_lengths(samples: int, server: Server, detector: Detector) -> None:
    tensor = triton.InferInput("WAVEFORM", [1, samples], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, samples), np.float32))
    with (
        triton.InferenceServerClient(server.grpc_url) as client,
        pytest.raises(InferenceServerException, match=f"DF_BAD_WAVEFORM: .*400 to 208000 samples, found {samples}"),
    ):
        client.infer("onnx", [tensor])
    with pytest.raises(InputError, match=r"shape \(n, 400 to 208000\)"):
        detector.infer(np.zeros((1, samples), np.float32))


def test_both_models_and_their_siblings_pass_the_self_check(server: Server, repository: Path) -> None:
    assert (
        wrong_models(server.grpc_url, repository, [f"{form}{live}" for form in FORMAT_NAMES for live in ("", "_live")])
        == {}
    )


def bona_fide(network: XlsrDetector, clip: np.ndarray) -> float:
    logits = answered(network, clip).astype(np.float64)
    return float(1 / (1 + np.exp(logits[0] - logits[1])))


def test_a_clip_is_scored_whole(detector: Detector, network: XlsrDetector) -> None:
    clip = wave(3, 10 * RATE_HZ)
    score = detector.score(clip, RATE_HZ)
    assert (score.mode, len(score.windows), score.warnings, score.is_cut) == ("protocol", 1, (), False)
    assert (score.windows[0].start_s, score.windows[0].end_s) == (0, 10)
    assert score.score == near(bona_fide(network, clip))
    quieter = detector.score(clip / 4, RATE_HZ)
    assert quieter.score == near(score.score)


def test_a_longer_clip_is_the_mean_of_its_windows_and_says_so(detector: Detector, network: XlsrDetector) -> None:
    clip = wave(4, 20 * RATE_HZ)  # a second window aligned to its end
    score = detector.score(clip, RATE_HZ)
    assert [(window.start_s, window.end_s) for window in score.windows] == [(0, 13), (7, 20)]
    assert score.score == near((bona_fide(network, clip[:MOST]) + bona_fide(network, clip[-MOST:])) / 2)
    assert score.warnings == ("long: the mean of 2 windows of 13 s, where its authors score the whole clip",)
    assert (score.is_cut, score.pool, score.hop_s) == (False, "", None)


def test_a_clip_of_less_than_a_frame_is_repeated_to_one_and_says_so(detector: Detector, network: XlsrDetector) -> None:
    clip = wave(5, LEAST - 1)
    score = detector.score(clip, RATE_HZ)
    assert score.score == near(bona_fide(network, np.resize(clip, LEAST)))
    assert score.warnings[0] == "short: repeated to the 400 samples that the detector needs"


def test_sliding_windows_are_those_of_the_live_sibling(detector: Detector, network: XlsrDetector) -> None:
    for seconds in (2, 9):
        clip = wave(6, seconds * RATE_HZ)
        offline = detector.score(clip, RATE_HZ, mode="sliding", hop_s=2.0)
        with detector.stream(hop_s=2.0) as live:
            live.send(clip)
            live.end()
            windows = list(live)
        assert [window.start_s for window in windows] == [window.start_s for window in offline.windows]
        assert [window.score for window in windows] == near([window.score for window in offline.windows])
    short = clip[: 2 * RATE_HZ]  # as it is: no copy of it is added
    assert detector.score(short, RATE_HZ, mode="sliding").score == near(bona_fide(network, short))


def test_a_score_file_goes_on_over_clips_of_other_lengths_and_is_read(detector: Detector, tmp_path: Path) -> None:
    path, run = (
        tmp_path / "scores.csv",
        detector.run_values(detector.windowing(), detector.score(wave(1, 500), RATE_HZ).choice),
    )
    for samples in (5 * RATE_HZ, 20 * RATE_HZ):
        with ScoreFile(path, run, opening=Opening(resume=True)) as rows:
            rows.append({**detector.score(wave(1, samples), RATE_HZ).as_dict(), "utt_id": f"of {samples}"})
    whole, long = (load_window_scores(path, f"of {seconds * RATE_HZ}") for seconds in (5, 20))
    assert (whole.window_s, long.window_s, len(long.scores)) == (5, 13, 2)
    sliding = detector.run_values(detector.windowing("sliding"), detector.score(wave(1, 500), RATE_HZ).choice)
    with pytest.raises(ScoreFileError, match="was made with window_samples '208000', this run has '64600'"):
        ScoreFile(path, sliding, opening=Opening(resume=True))
