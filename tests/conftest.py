"""A real Triton server with two tiny models, for tests that need one."""

import gc
import os
import shutil
import sys
import sysconfig
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import tiny_repository
from dfdeploy.embedded import Server
from dfdeploy.environment import default_folder

pytest_plugins = ["no_skips", "export_once"]
# Their files take longest: begun last, one of them would keep one process busy while the others have nothing to do.
LONGEST_FIRST = ("export", "e2e")


def pytest_configure(config: pytest.Config) -> None:
    """Commands run as a user's shell runs them, which asks Python for no unbuffered output as some machines do.

    Where several processes share the cores, PyTorch takes one in each: two threads would wait for each other.
    """
    os.environ.pop("PYTHONUNBUFFERED", None)
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes run, they begin with these."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST_FIRST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """A file's tests stay in one process, since they share servers; those of each newer family may go to another."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileAndFamily(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            is_family = file.endswith("test_more_families.py") and "server" not in test
            return f"{file}[{test.rpartition('[')[2]}" if is_family and "[" in test else file

    return ByFileAndFamily(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed because its server has gone says why that was, as far as the server told."""
    report = yield
    if report.failed:
        for server in (found for found in gc.get_objects() if type(found) is Server and found.is_started):
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


@pytest.fixture(scope="session")
def server_with_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's environment, and behind its own packages (its numpy stays first) this one's torch and OpenVINO."""
    own = default_folder()
    if not (own / "bin" / "python").exists():
        pytest.skip(f"no server environment at {own}; make setup")
    folder = tmp_path_factory.mktemp("server-with-torch")
    inside = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (folder / "bin").mkdir()
    (folder / inside).mkdir(parents=True)
    shutil.copy2(own / "pyvenv.cfg", folder)
    for name in ("python", "python3"):
        (folder / "bin" / name).symlink_to((own / "bin" / "python").resolve())
    for entry in (own / inside).iterdir():
        (folder / inside / entry.name).symlink_to(entry)
    (folder / inside / "torch-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder
