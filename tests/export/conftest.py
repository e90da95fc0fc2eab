"""Exports that several tests look at, made once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfexport.build import Build, Variant, build, seeded
from dfexport.checkpoints import LoadedWeights
from dfexport.detectors import sls, ssl_aasist
from dfexport.family import family_of
from dfexport.formats import FORMATS
from dfexport.layers.xlsr import XlsrConfig
from dfexport.registry import find
from dfexport.seeded import seeded_state
from dfexport.signals import wave

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SHAPES = {"ssl_aasist": ssl_aasist.shapes, "sls": sls.shapes}
XLSR_NAMES = tuple(SHAPES)


@pytest.fixture(scope="session")
def seeded_aasist_l(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """AASIST-L with seeded weights, in a repository of its own."""
    spec = find("aasist_l")
    return build(spec, seeded(spec), tmp_path_factory.mktemp("repository"), "aasist_l")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The published AASIST weights, where they lie beside the checkout."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "weights"
    if not folder.is_dir():
        pytest.skip(f"the published weights are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def golden_waves() -> np.ndarray:
    """The inputs of the golden figures: (3, 64600)."""
    return np.stack([wave(seed, 64_600) for seed in (1, 2, 3)])


@pytest.fixture(scope="session")
def golden_models() -> dict[str, dict[str, list[list[float]]]]:
    """Detector → ``logits_2_layers``, ``logits_24_layers``, ``keys_2_layers`` of the original code."""
    return json.loads((GOLDEN / "models.json").read_text())


@pytest.fixture(scope="session")
def two_layers() -> Callable[[str], LoadedWeights]:
    """Seeded weights of a detector with two transformer layers, each made once."""
    made: dict[str, LoadedWeights] = {}

    def weights(name: str) -> LoadedWeights:
        if name not in made:
            shapes = SHAPES[name](XlsrConfig(layers=2))
            state = seeded_state(shapes, family_of(find(name)).seeded_rules)
            made[name] = LoadedWeights(state, "random", "random", "seeded by rule")
        return made[name]

    return weights


@pytest.fixture(scope="session")
def two_layer_models(
    tmp_path_factory: pytest.TempPathFactory, two_layers: Callable[[str], LoadedWeights]
) -> dict[tuple[str, str], Build]:
    """SSL_Anti-spoofing and SLS with two layers in both formats, in one repository: ``<name>_<format>``."""
    repository = tmp_path_factory.mktemp("xlsr") / "models"
    return {
        (name, form): build(find(name), two_layers(name), repository, f"{name}_{form}", variant=Variant(form))
        for name in XLSR_NAMES
        for form in FORMATS
    }
