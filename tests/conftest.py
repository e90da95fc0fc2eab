"""A real Triton server with two tiny models, for tests that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_repository
from dfdeploy.embedded import Server

pytest_plugins = ["no_skips"]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with ``tiny`` (random weights) and ``tiny_trained`` (custom weights, a threshold)."""
    return tiny_repository.write(tmp_path_factory.mktemp("tiny") / "models")


@pytest.fixture(scope="session")
def tiny_server(tiny_models: Path) -> Iterator[Server]:
    """A server with the tiny models; its ``grpc_url`` is for clients."""
    with Server(tiny_models) as server:
        yield server
