"""What the server's environment lacks is said before it is missed; what it holds is laid out for Triton."""

import dataclasses
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from dfdeploy import environment, folders
from dfdeploy.embedded import Server
from dfdeploy.environment import ServerEnvironment
from dfdeploy.errors import DeployError, EnvironmentIncomplete, ModelsUnusable, PortTaken
from dfdeploy.ports import resolve


def test_no_environment_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentIncomplete, match="run: dfdeploy setup"):
        environment.find(tmp_path / "nowhere")


def test_an_environment_without_its_packages_is_incomplete(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", symlinks=True)
    with pytest.raises(EnvironmentIncomplete, match="lacks numpy and onnxruntime; run: dfdeploy setup"):
        environment.find(tmp_path / "empty")


def test_an_environment_without_triton_is_incomplete() -> None:
    """The application's own has all but the server."""
    with pytest.raises(EnvironmentIncomplete, match="holds no Triton"):
        environment.find(Path(sys.prefix))


def test_a_python_without_a_stub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = dataclasses.replace(environment.find(), python_version="3.14")
    monkeypatch.setattr(environment, "_describe", lambda folder: newer)
    with pytest.raises(EnvironmentIncomplete, match=r"needs Python 3\.11 to 3\.13, that of .* is 3\.14"):
        environment.find()


def test_a_newer_python_takes_another_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 14, 0, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentIncomplete, match=r"needs Python 3\.11 to 3\.13, this is 3\.14 and no other"):
        environment.choose_python()
    for version in ("3.10", "3.12"):
        (tmp_path / f"python{version}").write_text("#!/bin/sh\n")
        (tmp_path / f"python{version}").chmod(0o755)
    assert environment.choose_python() == (str(tmp_path / "python3.12"), "3.12")


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment.find()
    told = f"\t{found.libpython} => not found\n\tlibz.so.1 => not found\n"
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, told))
    with pytest.raises(EnvironmentIncomplete, match=rf"apt install libpython{found.python_version} zlib1g$"):
        environment._check_libraries(found)


@pytest.fixture
def python_3_13(tmp_path: Path) -> ServerEnvironment:
    """The parts of an environment whose wheel brings a libpython of its own."""
    found = ServerEnvironment(tmp_path / "env", "3.13", tmp_path / "python/lib", tmp_path / "packages")
    for folder in (found.triton / "backends/python", found.stub.parent, found.wheel_libraries, found.library_dir):
        folder.mkdir(parents=True)
    found.stub.write_text("stub")
    for name in ("libpython3-419a3a08.13.so.1.0", "libpython3-77777777.12.so.1.0", "libz-1.so"):
        (found.wheel_libraries / name).write_text(name)
    return found


def test_the_wheels_own_libpython_gives_way_to_the_pythons(python_3_13: ServerEnvironment, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (python_3_13.library_dir / "libpython3.13.so.1.0").write_text("the right one")
    python_3_13.lay_out(run_dir)
    first = Path(python_3_13.variables(run_dir)["LD_LIBRARY_PATH"].split(os.pathsep)[0])
    assert {path.name: path.read_text() for path in first.iterdir()} == {
        "libpython3-419a3a08.13.so.1.0": "the right one"
    }


def test_a_python_3_13_without_its_libpython_is_incomplete(python_3_13: ServerEnvironment) -> None:
    with pytest.raises(EnvironmentIncomplete, match=r"lacks libpython3\.13\.so\.1\.0; .* apt install libpython3\.13$"):
        environment._check_libraries(python_3_13)


def test_every_backend_gets_the_contract_and_what_backends_share(tmp_path: Path) -> None:
    """Asked of the server's own Python, with nothing else of the project on its path."""
    found = environment.find()
    found.write_backends(tmp_path / "backends")
    assert folders.backend_names() == ["live", "onnxruntime", "openvino", "pytorch"]
    assert {folder.name for folder in (tmp_path / "backends").iterdir()} == {"python", *folders.backend_names()}
    told = "import sys, dfcontract.live as a, dfcontract.windows as b, dfdeploy.backends.common.batches as c, "
    told += "dfdeploy.backends.live.stream as d; print(*(m.__file__ for m in (a, b, c, d)), sep='\\n')"
    for name in folders.backend_names():
        folder = tmp_path / "backends" / name
        assert (folder / "model.py").read_bytes() == (folders.BACKENDS / name / "model.py").read_bytes()
        python = found.folder / "bin" / "python"
        answer = subprocess.run(
            [python, "-P", "-c", f"import sys; sys.path.append({str(folder)!r})\n{told}"],
            env=found.variables(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        assert all(Path(line).is_relative_to(folder) for line in answer.stdout.splitlines())
        assert len(answer.stdout.splitlines()) == 4


TRITONS_OWN_CONVERSION = """
import triton_python_backend_utils as pb_utils

def array_of(tensor):
    return tensor.as_numpy()

def tensor_of(name, array):
    return pb_utils.Tensor(name, array)
"""


def test_empty_answers_are_caught_by_the_self_check(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NumPy 2 everything loads, Triton is ready, and its own conversion makes every answer empty."""
    found = environment.find()
    numpy_version = subprocess.check_output(
        [found.folder / "bin/python", "-c", "import numpy; print(numpy.__version__)"], text=True
    )
    assert int(numpy_version.split(".")[0]) >= 2
    lay_out = ServerEnvironment.lay_out

    def with_tritons_own(self: ServerEnvironment, run_dir: Path) -> None:
        lay_out(self, run_dir)
        (run_dir / "backends/onnxruntime/dfdeploy/backends/common/tensors.py").write_text(TRITONS_OWN_CONVERSION)

    monkeypatch.setattr(ServerEnvironment, "lay_out", with_tritons_own)
    with pytest.raises(ModelsUnusable, match=r"tiny is loaded but .*LOGITS with 0 bytes"), Server(tiny_models):
        pytest.fail("a server that answers empty tensors was called ready")


def test_where_the_environment_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit choice, else the project's, else the user's cache folder."""
    root = Path(environment.__file__).parents[2]
    monkeypatch.delenv("DFSERVE_SERVER_ENV", raising=False)
    assert folders.server_environment("3.12") == root / ".venv-server"
    monkeypatch.setattr(folders, "checkout", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folders.server_environment("3.12") == tmp_path / "dfserve" / "server-3.12"
    monkeypatch.setenv("DFSERVE_SERVER_ENV", "/opt/server")
    assert folders.server_environment("3.12") == Path("/opt/server")


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
