"""What the server's environment lacks is said before it is missed."""

import dataclasses
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from dfdeploy import environment
from dfdeploy.embedded import Server
from dfdeploy.errors import DeployError, EnvironmentIncomplete, PortTaken, WrongAnswers
from dfdeploy.ports import resolve


def test_no_environment_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentIncomplete, match="make setup-server"):
        environment.find(tmp_path / "nowhere")


def test_numpy_2_is_refused_by_name(tmp_path: Path) -> None:
    """The application's own environment has everything but numpy < 2."""
    with pytest.raises(EnvironmentIncomplete, match=r"needs numpy < 2, found 2\."):
        environment.find(Path(sys.prefix))


def test_an_environment_without_triton_is_incomplete(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", symlinks=True)
    with pytest.raises(EnvironmentIncomplete, match="found none"):
        environment.find(tmp_path / "empty")


def test_a_missing_library_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment.find()
    assert found.libpython.startswith(f"libpython{found.python_version}.so")
    monkeypatch.setattr(
        environment.subprocess,
        "run",
        lambda *_, **__: subprocess.CompletedProcess(
            [], 0, f"\t{found.libpython} => not found\n\tlibz.so.1 => not found\n"
        ),
    )
    with pytest.raises(EnvironmentIncomplete, match=rf"apt install libpython{found.python_version} zlib1g"):
        environment._check_libraries(found)


def test_numpy_2_in_the_backend_itself_is_caught_by_the_self_check(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap itself: everything loads, Triton is ready, every answer is empty.

    A real numpy 2, the application's, is put before the server's; only the version check is out of the way.
    """
    import numpy

    found = environment.find()
    site = Path(numpy.__file__).parents[1]
    newer = tmp_path / "newer"
    newer.mkdir()
    for name in ("numpy", "numpy.libs"):
        (newer / name).symlink_to(site / name)
    write_backends = environment.ServerEnvironment.write_backends

    def with_newer_numpy(self: environment.ServerEnvironment, folder: Path) -> None:
        write_backends(self, folder)
        model = folder / "onnxruntime/model.py"
        model.write_text(f"import sys\nsys.path.insert(0, {str(newer)!r})\n{model.read_text()}")

    monkeypatch.setattr(environment.ServerEnvironment, "write_backends", with_newer_numpy)
    monkeypatch.setattr(environment, "find", lambda _folder: dataclasses.replace(found))
    with pytest.raises(WrongAnswers, match="answers empty tensors"), Server(tiny_models):
        pytest.fail("a server with numpy 2 was called ready")


def test_free_ports_differ() -> None:
    assert len(set(resolve({"grpc": 0, "http": 0, "metrics": 0}).values())) == 3


def test_ports_are_checked() -> None:
    with pytest.raises(DeployError, match="must differ"):
        resolve({"grpc": 9000, "http": 9000})
    with pytest.raises(DeployError, match="0 \\(any free one\\) to 65535, found 70000"):
        resolve({"grpc": 70_000})
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortTaken, match=r"--grpc-port"):
            resolve({"grpc": other.getsockname()[1]})
