"""Exports that several tests look at, made once."""

from pathlib import Path

import pytest

from dfexport.build import Build, build, seeded
from dfexport.registry import find


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
