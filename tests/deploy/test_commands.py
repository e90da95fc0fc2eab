"""``dfdeploy`` where not everything is installed, and away from the project's folder."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

import dfclient
import tiny_repository
from dfdeploy import folders
from dfdeploy.__main__ import main
from dfdeploy.crashes import CrashCounter
from dfdeploy.errors import RepositoryUnusable
from dfdeploy.repository import built_models

PACKAGES = (folders.CONTRACT, folders.BACKENDS.parent, Path(dfclient.__file__).parent)


def run_without(modules: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    hide = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"  # None there: can't be imported
    program = f"{hide}; from dfdeploy.__main__ import main; sys.exit(main({list(arguments)!r}))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


EXTRAS = ["psutil", "rich", "onnxruntime", "soundfile", "torch"]


@pytest.mark.parametrize("command", [[], ["setup"], ["serve"], ["bench"]])
def test_help_needs_no_extra(command: list[str]) -> None:
    finished = run_without(EXTRAS, *command, "--help")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("usage: dfdeploy")


@pytest.mark.parametrize("command", ["serve", "bench"])
@pytest.mark.parametrize("module", ["psutil", "rich"])
def test_a_missing_extra_is_named(tiny_models: Path, command: str, module: str) -> None:
    finished = run_without([module], command, f"--repository={tiny_models}")
    assert finished.returncode == 1
    assert finished.stderr == (
        f"dfdeploy: error: this command needs {module}, which is not installed; run: pip install 'dfserve[{command}]'\n"
    )


def test_the_containers_command_needs_no_extra(tiny_models: Path) -> None:
    options = ["--server=docker", "--dry-run", "--profile=cpu", f"--repository={tiny_models}"]
    finished = run_without(EXTRAS, "serve", *options)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("docker run")


def test_installed_packages_bring_the_live_backend_to_the_container(tiny_models: Path, tmp_path: Path) -> None:
    """As a wheel lays them out: side by side, with no project around them."""
    site = tmp_path / "site-packages"
    for package in PACKAGES:
        shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--server=docker", "--dry-run", "--profile=cpu", f"--repository={tiny_models}"]
    finished = subprocess.run(
        [sys.executable, "-m", "dfdeploy", "serve", *options],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    live, backends = "/opt/tritonserver/backends/live", site / "dfdeploy/backends"
    for source, target in (
        (backends / "live/model.py", f"{live}/model.py"),
        (backends, f"{live}/dfdeploy/backends"),
        (site / "dfcontract", f"{live}/dfcontract"),
    ):
        assert f"--mount=type=bind,source={source},target={target},readonly" in finished.stdout
        assert source.exists()


@pytest.mark.parametrize(
    ("out", "words"),
    [("missing/x.json", "there is no folder {}/missing; make it"), (".", "is a folder: name a file in it")],
)
def test_bench_looks_at_its_out_file_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, words: str
) -> None:
    assert main(["bench", f"--repository={tmp_path / 'none'}", f"--out={tmp_path / out}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dfdeploy: error: --out ")
    assert words.format(tmp_path) in line


def test_an_error_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device", "/x/models")

    monkeypatch.setattr("dfdeploy.setup.make_environment", full)
    assert main(["setup"]) == 1
    assert capsys.readouterr().err == "dfdeploy: error: [Errno 28] No space left on device: '/x/models'\n"


def test_where_only_random_weights_were_built_says_how_to_serve_them(tmp_path):
    tiny_repository.write(tmp_path / "models_random")
    with pytest.raises(RepositoryUnusable, match=r"build one: make export .*make serve WEIGHTS=random .*models_random"):
        built_models(tmp_path / "models")
    with pytest.raises(RepositoryUnusable, match=r"dfexport build aasist\)$"):
        built_models(tmp_path / "others")


def test_who_hangs_up_on_the_supervisor_is_no_news(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    """A probe or a port scan resets its connection; Python's server prints a traceback for each."""
    with CrashCounter() as crashes:
        server, left = crashes._server, threading.Event()
        shutdown = server.shutdown_request
        monkeypatch.setattr(server, "shutdown_request", lambda request: (shutdown(request), left.set()))
        with socket.create_connection(server.server_address) as probe:
            probe.sendall(b"GET ")
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        assert left.wait(30)
        with urllib.request.urlopen(crashes.url, timeout=30) as answer:
            assert b"dfserve_server_crashes_total 0" in answer.read()
        assert capfd.readouterr().err == ""
        try:
            raise ValueError("a fault of our own")
        except ValueError:
            server.handle_error(None, ("127.0.0.1", 1))
        assert "a fault of our own" in capfd.readouterr().err
