"""The published detectors on a real server, where their weights lie beside the checkout."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfdeploy.embedded import Server
from dfexport.__main__ import main as dfexport

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The labelled corpus beside the checkout."""
    folder = SHARED / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the corpus is not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def aasist_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``aasist`` and ``aasist_l`` with the published weights."""
    weights = SHARED / "weights"
    if not weights.is_dir():
        pytest.skip(f"the published weights are not here ({weights})")
    repository = tmp_path_factory.mktemp("pretrained") / "model_repository"
    assert dfexport(["build", "aasist", "aasist_l", f"--weights-dir={weights}", f"--repository={repository}"]) == 0
    with Server(repository) as server:
        yield server
