"""The families beyond the first four answer what the originals answer: eager, in both formats, and served.

Golden figures of 2 layers at full width. Slow are the deep ones, and detectors that differ from another in their size
alone: `df_arena_1b`, and AntiDeepfake's of a billion parameters and more.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import tritonclient.grpc as triton
from scipy.interpolate import BSpline
from torch import nn

from dfclient import Detector
from dfcontract.live import live_name
from dfcontract.windows import Windowing
from dfdeploy.embedded import Server
from dfexport import drift, parity, repository
from dfexport.build import load_network
from dfexport.card import model_card, with_self_check
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors.spectra import GRAPH_RULES, HEADS
from dfexport.errors import CheckpointInvalid, ParityError
from dfexport.family import family_of
from dfexport.formats import FORMATS, Answers
from dfexport.formats.served import ServedDetector
from dfexport.layers import kan
from dfexport.layers.kan import FoldedKan, KanLinear
from dfexport.layers.xlsr import XlsrDetector
from dfexport.live import write_live_model
from dfexport.registry import DETECTORS, find
from dfexport.seeded import seeded_state
from dfexport.signals import wave
from dfexport.spec import DetectorSpec
from dfexport.state import Shapes, State, load_strictly, shapes_of
from once import made_once, run_folder

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/more_models.json").read_text())
WINDOW_SAMPLES = 64_600  # of the golden figures, but for those that say otherwise
OTHER_WINDOW = "_66800_samples"
PREPARED = "_preprocessed"
FORMAT_NAMES = ("onnx", "torchscript")
IDENTITY = 7


@dataclass(frozen=True)
class Case:
    """A detector with golden figures of its own.

    Attributes:
        name: of the figures, and of the registry's row.
        deep: layers of the deep figures; 0 where there are none.
        large: whether it differs from a smaller one in its size alone.
    """

    name: str
    deep: int = 24
    large: bool = False

    @property
    def window_fields(self) -> tuple[str, ...]:
        """Endings of its figures."""
        return tuple(ending for ending in ("", OTHER_WINDOW) if f"logits_2_layers{ending}" in GOLDEN[self.name])


CASES = (
    Case("spectra_0"),
    Case("spectra_aasist"),
    Case("spectra_aasist3"),
    Case("tcm_add"),
    Case("df_arena_500m"),
    Case("df_arena_1b", deep=48, large=True),
    Case("nes2net_x"),
    Case("antideepfake_w2v_small", deep=12),
    Case("antideepfake_mms_300m"),
    Case("antideepfake_xlsr_1b", deep=0, large=True),
    Case("antideepfake_xlsr_2b", deep=0, large=True),
    Case("antideepfake_hubert_xlarge", deep=0, large=True),
)
SLOW_TO_EXPORT = frozenset({"spectra_aasist3"})  # to ONNX: its eighty layers of splines take two minutes


def params_of(slow: frozenset[str] = frozenset()) -> list:
    """Every case. The tests of one go together, and another process may take those of the next; large ones are slow."""
    return [
        pytest.param(
            case,
            id=case.name,
            marks=(pytest.mark.slow,) if case.large or case.name in slow else (),
        )
        for case in CASES
    ]


ALL = [pytest.param(case, id=case.name) for case in CASES]
MOST = params_of()
MOST_AS_ONNX = params_of(SLOW_TO_EXPORT)
DEEP = [pytest.param(case, id=case.name) for case in CASES if case.deep]
SERVED = [case.name for case in CASES if not case.large and case.name not in SLOW_TO_EXPORT]  # as ONNX, in one server
SERVED_AS_TORCHSCRIPT = "antideepfake_w2v_small"  # and the smallest in the other format, too


def spec_of(name: str) -> DetectorSpec:
    """A detector with the golden figures' window; one of whole clips takes it as a clip."""
    spec = find(name)
    return spec if spec.clip else spec.with_window(WINDOW_SAMPLES)


def published_shapes(name: str, layers: int = 2) -> Shapes:
    """Every published key, those that scoring drops too; further layers are like the first."""
    shapes = {key: tuple(shape) for key, shape in GOLDEN[name]["keys_2_layers"].items()}
    for key in [key for key in shapes if ".encoder.layers.0." in key]:
        for layer in range(2, layers):
            shapes[key.replace(".layers.0.", f".layers.{layer}.")] = shapes[key]
    return shapes


def used_shapes(name: str, layers: int = 2) -> Shapes:
    """The published keys that scoring uses."""
    shapes = published_shapes(name, layers)
    dropped = family_of(find(name)).dropped_keys({key: torch.empty(0) for key in shapes})
    return {key: shape for key, shape in shapes.items() if key not in dropped}


def weights_of(name: str, layers: int = 2) -> LoadedWeights:
    """Filled by rule, under the names of a published file."""
    state = seeded_state(used_shapes(name, layers), family_of(find(name)).seeded_rules)
    return LoadedWeights(state, "random", "random", "filled by rule")


@cache
def waves(ending: str = "") -> np.ndarray:
    """The inputs of the figures with this ending: (3, samples)."""
    samples = 66_800 if ending == OTHER_WINDOW else WINDOW_SAMPLES
    return np.stack([wave(seed, samples) for seed in (1, 2, 3)])


def golden_logits(name: str, layers: int = 2, ending: str = "") -> np.ndarray:
    """What an export answers: where the original prepares the waveform first, the figure with that."""
    figures = GOLDEN[name]
    field = f"logits_{layers}_layers{ending}"
    return np.array(figures.get(f"{field}{PREPARED}", figures[field]))


def answered(network: nn.Module, waveforms: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        logits: np.ndarray = network(torch.from_numpy(waveforms)).numpy()
    return logits


def assert_near(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@dataclass
class Built:
    """A detector with two layers."""

    case: Case
    network: nn.Module

    def write(self, form: str, folder: Path) -> Path:
        """Its file in a format, made once."""

        def make(unfinished: Path) -> None:
            spec = spec_of(self.case.name)
            served = ServedDetector(self.network, IDENTITY, spec.score_kind, spec.clip)
            FORMATS[form].write(served, WINDOW_SAMPLES, unfinished / FORMATS[form].file)

        return made_once(folder / form / self.case.name, make) / FORMATS[form].file


_last: list[Built] = []  # one network at a time is in memory


def built_of(case: Case) -> Built:
    """Made once for a case's tests, which follow each other."""
    if not (_last and _last[0].case is case):
        _last[:] = [Built(case, load_network(find(case.name), weights_of(case.name)))]
    return _last[0]


@pytest.fixture(scope="module")  # so that pytest runs all of a case's tests before another's
def built(request: pytest.FixtureRequest) -> Built:
    """A case's network."""
    return built_of(request.param)


@pytest.fixture(scope="module")
def files(request: pytest.FixtureRequest) -> Path:
    """Where the exported files are, whichever process made them."""
    return run_folder(request, "families")


@pytest.mark.parametrize("built", MOST, indirect=True)
class TestEager:
    """The network itself."""

    def test_answers_the_golden_logits(self, built: Built) -> None:
        name = built.case.name
        assert_near(answered(built.network, waves()), golden_logits(name))
        for ending in built.case.window_fields[1:]:
            assert_near(answered(built.network, waves(ending)[:1]), golden_logits(name, ending=ending)[:1])

    def test_without_preparation_it_is_the_network_on_the_wave_as_it_is(self, built: Built) -> None:
        if f"logits_2_layers{PREPARED}" not in GOLDEN[built.case.name]:
            assert find(built.case.name).preparation == ""
            return
        assert find(built.case.name).preparation
        network = built.network
        assert isinstance(network, XlsrDetector)
        bare = XlsrDetector(network.encoder, network.head)
        bare.features = network.features  # type: ignore[method-assign]
        assert_near(answered(bare, waves()[:1]), np.array(GOLDEN[built.case.name]["logits_2_layers"])[:1])


@pytest.mark.parametrize("built", MOST_AS_ONNX, indirect=True)
def test_an_onnx_file_answers_the_golden_logits_whatever_the_batch(built: Built, files: Path) -> None:
    assert_answers_alike(built, "onnx", files, (2, 8))


@pytest.mark.parametrize("built", MOST, indirect=True)
def test_a_torchscript_file_answers_the_golden_logits_whatever_the_batch(built: Built, files: Path) -> None:
    assert_answers_alike(built, "torchscript", files, (2, 8))


def assert_answers_alike(built: Built, form: str, files: Path, sizes: tuple[int, ...]) -> None:
    """The golden logits of a batch of three; and of the second wave the same as alone, there and in other batches."""
    name = built.case.name
    run = FORMATS[form].open(built.write(form, files))
    logits, score, _ = run(waves())
    assert_near(logits, golden_logits(name))
    assert_near(score[:, 0], np.array(GOLDEN[name]["scores_2_layers"]))
    alone = run(waves()[1:2]).logits[0]
    assert_near(logits[1], alone, 1e-5)
    for size in sizes:
        assert_near(run(neighbours(size)).logits[size // 2], alone, 1e-5)


def neighbours(size: int) -> np.ndarray:
    """The second wave in the middle of a batch of others: loud, faint and silent ones."""
    batch = np.stack([wave(10 + row, WINDOW_SAMPLES) * (1.0, 0.01, 0.0)[row % 3] for row in range(size)])
    batch[size // 2] = waves()[1]
    return batch.astype(np.float32)


@pytest.fixture(scope="module")
def served(files: Path, tmp_path_factory: pytest.TempPathFactory, server_with_torch: Path) -> Iterator[Server]:
    repository_dir = tmp_path_factory.mktemp("families") / "repository"
    for case in CASES:
        if case.name in SERVED:
            write_model(repository_dir, case, "onnx", files)
    write_model(
        repository_dir, next(case for case in CASES if case.name == SERVED_AS_TORCHSCRIPT), "torchscript", files
    )
    spectra = find("spectra_0")
    write_live_model(repository_dir / live_name(spectra.name), spectra.name, WINDOW_SAMPLES, spectra.pre_emphasis)
    with Server(repository_dir, environment_dir=server_with_torch) as server:
        yield server


def write_model(repository_dir: Path, case: Case, form: str, files: Path) -> None:
    """What `dfexport.build` writes, of a file that a test before has judged."""
    version = files / form / case.name
    if not version.is_dir():
        built_of(case).write(form, files)
    name = served_name(case.name, form)
    folder, spec = repository_dir / name, spec_of(case.name)
    (folder / "1").mkdir(parents=True)
    for file in version.iterdir():
        os.link(file, folder / "1" / file.name)
    card = model_card(name, spec, weights="random", sha256="random", source="filled by rule", format=form)
    spoof, bonafide = golden_logits(case.name)[0].tolist()
    card = with_self_check(replace(card, identity=IDENTITY), spec, (spoof, bonafide))
    repository.write_model(folder, spec, card, waves()[0])


def served_name(name: str, form: str) -> str:
    return name if form == "onnx" else f"{name}_{form}"


@pytest.mark.parametrize(
    ("name", "form"), [*((name, "onnx") for name in SERVED), (SERVED_AS_TORCHSCRIPT, "torchscript")]
)
def test_the_server_answers_the_golden_logits(name: str, form: str, served: Server) -> None:
    tensor = triton.InferInput("WAVEFORM", [3, WINDOW_SAMPLES], "FP32")
    tensor.set_data_from_numpy(waves())
    with triton.InferenceServerClient(served.grpc_url) as client:
        answer = client.infer(served_name(name, form), [tensor])
    assert_near(answer.as_numpy("LOGITS"), golden_logits(name))
    assert_near(answer.as_numpy("SCORE")[:, 0], np.array(GOLDEN[name]["scores_2_layers"]))
    with Detector(served.grpc_url, served_name(name, form)) as detector:
        assert detector.card.score_kind == find(name).score_kind
        assert detector.card.preparation == find(name).preparation


def test_a_short_clip_scores_as_the_authors_pre_emphasise_and_then_repeat_it(served: Server, tmp_path: Path) -> None:
    clip = waves()[0][:801]
    clip = clip[: int(np.abs(clip).argmax()) + 1]  # loud where its copies meet, some 150 times
    path = tmp_path / "clip.wav"
    soundfile.write(path, clip, 16_000, subtype="FLOAT")
    emphasised = np.append(clip[0], clip[1:] - np.float32(0.97) * clip[:-1])
    network = load_network(find("spectra_0"), weights_of("spectra_0"))
    assert isinstance(network, XlsrDetector)
    inside = answered(network, np.resize(clip, WINDOW_SAMPLES)[None])[0, 1]  # as if the seam were not seen to
    network.prepare = nn.Identity()
    authors = answered(network, np.resize(emphasised, WINDOW_SAMPLES)[None])[0, 1]
    assert abs(inside - authors) > 5e-3
    with Detector(served.grpc_url, "spectra_0") as detector:
        assert detector.score(str(path)).score == pytest.approx(authors, abs=1e-4)
        with detector.stream() as live:
            live.send(clip)
            live.end()
            (window,) = live
    assert window.score == pytest.approx(authors, abs=2e-3)  # sent as 16 bits


@pytest.mark.parametrize("case", ALL)
def test_the_published_keys_are_the_originals(case: Case) -> None:
    family = family_of(find(case.name))
    ours = family.shapes()
    deep = max(int(key.split(".layers.")[1].split(".")[0]) for key in ours if ".encoder.layers." in key) + 1
    assert used_shapes(case.name, deep) == ours


@pytest.mark.slow
@pytest.mark.parametrize("case", DEEP)
def test_deep_networks_answer_the_golden_logits(case: Case, tmp_path: Path) -> None:
    network = load_network(find(case.name), weights_of(case.name, case.deep))
    for ending in case.window_fields:
        assert_near(answered(network, waves(ending)), golden_logits(case.name, case.deep, ending))
    served = ServedDetector(network, IDENTITY, find(case.name).score_kind, find(case.name).clip)
    for form in FORMAT_NAMES:
        path = tmp_path / form / FORMATS[form].file
        path.parent.mkdir()
        FORMATS[form].write(served, WINDOW_SAMPLES, path)
        assert_near(FORMATS[form].open(path)(waves()).logits, golden_logits(case.name, case.deep))
        for file in path.parent.iterdir():
            file.unlink()


FIRST_FOUR = {"aasist", "ssl_aasist", "sls", "xlsr_mamba"}
ROWS = [name for name, spec in DETECTORS.items() if spec.family.partition(":")[0] not in FIRST_FOUR]


@pytest.mark.parametrize("name", ROWS)
def test_the_registry_states_the_number_of_parameters(name: str) -> None:
    shapes = family_of(find(name)).shapes()
    buffers = ("running_mean", "running_var", "num_batches_tracked", ".grid")
    published = sum(int(np.prod(shape)) for key, shape in shapes.items() if not key.endswith(buffers))
    # Weight norm is folded: its 128 gains are in the weight.
    assert published - 128 == find(name).parameters


def test_knots_that_training_moved_are_refused() -> None:
    state = dict(weights_of_head_of_spectra_aasist3())
    grid = state["aasist.out_layer.grid"].clone()
    grid[3, 7] += 0.05
    network = HEADS["spectra_aasist3"](1024)
    load_strictly(network, state | {"aasist.out_layer.grid": grid})
    with pytest.raises(CheckpointInvalid, match=r"knots in even steps, found others in aasist\.out_layer\.grid"):
        kan.fold(network)


def weights_of_head_of_spectra_aasist3() -> State:
    return seeded_state(shapes_of(HEADS["spectra_aasist3"](1024)), GRAPH_RULES)


def test_a_softmax_score_is_checked_and_drifts_in_log_odds() -> None:
    spec = find("df_arena_500m")
    logits = np.array([[0.5, 2.0], [-30.0, 40.0]], np.float32)
    score = (1 / (1 + np.exp(logits[:, :1] - logits[:, 1:]))).astype(np.float32)
    parity.check_score(spec, logits, score)
    with pytest.raises(ParityError, match="SCORE is not the bona fide share of the softmax of LOGITS"):
        parity.check_score(spec, logits, logits[:, 1:])
    with pytest.raises(ParityError, match="SCORE is not the bona fide column of LOGITS"):
        parity.check_score(find("tcm_add"), logits, score)
    clips = {"first": np.zeros(4, np.float32), "second": np.ones(4, np.float32)}

    def run(waveforms: np.ndarray) -> Answers:
        row = int(waveforms[0, 0])
        return Answers(logits[row : row + 1], score[row : row + 1], None)

    # The second score is 1 to the last bit; its log-odds still say how far it moves.
    windowing = Windowing.checked(4, 16_000)
    assert drift.scores_of(run, clips, windowing, "softmax") == [1.5, 70.0]
    assert drift.scores_of(run, clips, windowing, "logit") == [float(score[0, 0]), 1.0]


def test_splines_are_those_of_the_recursion() -> None:
    """De Boor and Cox's recursion over orders, by SciPy, is the independent reference."""
    layer = KanLinear(1, 20)
    noise = seeded_state(shapes_of(layer), kan.SEEDED_RULES)
    load_strictly(layer, noise | {"spline_scaler": torch.ones(20, 1), "base_weight": torch.zeros(20, 1)})
    layer.spline_weight.data = torch.eye(20).unsqueeze(1)  # output i is spline i
    x = np.linspace(-1.7, 1.7, 400)
    with torch.inference_mode():
        found = FoldedKan(layer)(torch.from_numpy(x).float().unsqueeze(1)).numpy()
    knots = -1 + 0.125 * np.arange(-4, 21)
    for i in range(20):
        spline = BSpline.basis_element(knots[i : i + 6], extrapolate=False)
        np.testing.assert_allclose(found[:, i], np.nan_to_num(spline(x)), atol=2e-6)
