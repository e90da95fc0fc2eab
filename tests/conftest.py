"""A real Triton server with two tiny models, for tests that need one."""

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import tiny_repository
from dfdeploy.embedded import Server

pytest_plugins = ["no_skips", "export_once"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed because its server has gone says why that was, as far as the server told."""
    report = yield
    if report.failed:
        for server in (found for found in gc.get_objects() if isinstance(found, Server) and found.is_started):
            if words := server.failure():
                log = server.log.read_text(errors="replace")[-3000:] if server.log.is_file() else "no log"
                report.sections.append((f"server of {', '.join(server.models)}", f"{words}\n{log}"))
    return report


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with ``tiny`` (random weights) and ``tiny_trained`` (custom weights, a threshold)."""
    return tiny_repository.write(tmp_path_factory.mktemp("tiny") / "models")


@pytest.fixture(scope="session")
def tiny_server(tiny_models: Path) -> Iterator[Server]:
    """A server with the tiny models; its ``grpc_url`` is for clients."""
    with Server(tiny_models) as server:
        yield server
