"""What a machine must bring: known before anything slow, installed where allowed, named where not."""

import ast
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dfdeploy import machine
from dfdeploy.machine import Package

SCRIPT = Path(machine.__file__)
VENV = Package("python3-venv", "environments", ("setup",), modules=("a_module_that_nobody_has",))
BROWSER = Package("chromium", "a browser", ("test",), programs=("a-program-that-nobody-has",))
LIBRARY = Package("libb64-0d", "measuring", ("bench", "test"), libraries=("liba-library-that-nobody-has.so.7",))
ALONE = "apt-get -qq install -y --no-install-recommends"
HERE = Package("python3", "everything", ("setup",), programs=("python3",), libraries=("libc.so.6",), modules=("json",))


class FakeApt:
    """apt-get and sudo as scripts first on PATH: they write down how they were called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls = folder, folder / "calls"
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self.script("apt-get", "exit 0")

    def script(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{body}\n')
        path.chmod(0o755)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    monkeypatch.setattr(machine, "PACKAGES", (VENV, BROWSER, LIBRARY, HERE))
    return FakeApt(tmp_path, monkeypatch)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_it_runs_before_anything_is_installed():
    """With the system's Python, isolated from every environment, from any folder."""
    finished = subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, "--help"], capture_output=True, text=True, cwd="/", check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_it_imports_the_standard_library_alone():
    tree = ast.parse(SCRIPT.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["setup"], [VENV]),
        (["demo"], [VENV]),
        (["bench"], [VENV, LIBRARY]),
        (["test"], [VENV, BROWSER, LIBRARY]),
        (["setup", "bench", "demo"], [VENV, LIBRARY]),
    ],
)
def test_setups_packages_are_everyones(apt: FakeApt, commands: list[str], expected: list[Package]):
    assert machine.missing(commands) == expected


def test_what_is_here_is_not_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "PACKAGES", (HERE,))
    assert machine.missing(["test"]) == []
    assert machine.provide(["test"]) is None


def test_an_unknown_command_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown command dmeo; known: setup, demo, serve, bench, test"):
        machine.missing(["dmeo"])


def test_root_installs_all_at_once_after_saying_so(apt: FakeApt, as_root: None, monkeypatch, capsys):
    apt.script("apt-get", 'test "$2" = update || test "$DEBIAN_FRONTEND" = noninteractive')
    monkeypatch.setattr(Package, "is_here", lambda package: bool(apt.called()))
    assert machine.provide(["bench"]) is None
    said = "installing with apt: python3-venv (environments), libb64-0d (measuring), python3 (everything)\n"
    assert capsys.readouterr().out == said
    assert apt.called() == [
        "apt-get -qq update",
        "apt-get -qq install -y --no-install-recommends python3-venv libb64-0d python3",
    ]


def test_a_service_that_comes_along_is_not_started(apt: FakeApt, as_root: None, monkeypatch):
    programs = ("a-program-that-nobody-has",)
    proxy = Package("nginx-light", "a proxy", ("test",), programs=programs, service="nginx")
    monkeypatch.setattr(machine, "PACKAGES", (proxy,))
    for program in ("sh", "update-rc.d"):
        apt.script(program, "exit 0")
    assert machine.provide(["test"]) is None
    called = apt.calls.read_text()
    policy, install = called.index("policy-rc.d"), called.index("apt-get -qq install -y --no-install-recommends nginx")
    assert called.index("sh -c") < policy < install < called.index("update-rc.d nginx disable")


def test_a_user_whose_sudo_asks_nothing_installs_too(apt: FakeApt, as_user: None, monkeypatch):
    apt.script("sudo", 'shift; exec "$@"')
    monkeypatch.setattr(Package, "is_here", lambda package: "apt-get -qq update" in apt.called())
    assert machine.provide(["demo"]) is None
    assert "apt-get -qq install -y --no-install-recommends python3-venv python3" in apt.called()


def test_anyone_else_gets_one_command_for_all(apt: FakeApt, as_user: None):
    apt.script("sudo", "echo a password is required >&2; exit 1")
    assert machine.provide(["test"]) == (
        "missing: python3-venv (environments), chromium (a browser), libb64-0d (measuring); "
        "first: sudo apt install python3-venv chromium libb64-0d"
    )
    assert not [call for call in apt.called() if call.startswith("apt-get")]


def test_one_may_go_on_without(apt: FakeApt, as_user: None, capsys):
    assert machine.main(["packages", "test", "--go-on"]) == 0
    assert "missing: python3-venv (environments), chromium (a browser)" in capsys.readouterr().err
    assert apt.called() == []


def test_where_no_apt_is_it_names_what_is_missing_and_goes_on(apt: FakeApt, as_root: None, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert machine.provide(["bench"]) is None
    assert "missing: python3-venv (environments), libb64-0d (measuring)" in capsys.readouterr().err


def test_one_package_that_apt_does_not_have_stops_no_other(apt: FakeApt, as_root: None, monkeypatch, capsys):
    apt.script("apt-get", 'case "$*" in *chromium*) echo "E: no installation candidate" >&2; exit 100;; esac')
    monkeypatch.setattr(
        Package,
        "is_here",
        lambda package: package != BROWSER and f"{ALONE} {package.name}" in apt.called(),
    )
    assert machine.provide(["test"]) is None
    error = capsys.readouterr().err
    assert "apt could not install chromium (a browser), tests that need it skip: E: no installation candidate" in error
    assert "libb64-0d" not in error


def test_without_what_setup_needs_nothing_goes_on(apt: FakeApt, as_root: None, capsys):
    apt.script("apt-get", 'test "$2" = update || { echo "E: no installation candidate" >&2; exit 100; }')
    assert machine.main(["packages", "test"]) == 1
    expected = "error: apt could not install python3-venv (environments): E: no installation candidate\n"
    assert capsys.readouterr().err == expected


def test_a_test_says_what_it_lacks(apt: FakeApt):
    assert machine.missing_line("chromium") == "missing: chromium (a browser); apt install chromium"
    assert machine.missing_line("python3") is None


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libb64.so.0d", "libb64-0d"),
        ("libpython3.11.so.1.0", "libpython3.11"),
        ("libpython3.13.so.1.0", "libpython3.13"),
        ("libstdc++.so.6", "libstdc++6"),
        ("libz.so.1", "zlib1g"),
        ("libsomething.so.1", "libsomething"),
    ],
)
def test_a_missing_library_has_its_package(library: str, package: str):
    assert machine.package_of(library) == package


class TestTorchIndex:
    """Nobody without an NVIDIA GPU downloads CUDA, and nobody waits for an index that does not answer."""

    @pytest.fixture(autouse=True)
    def _no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
        monkeypatch.setattr(machine, "has_nvidia_driver", lambda: False)

    @pytest.fixture
    def index(self, monkeypatch: pytest.MonkeyPatch):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/whl/cpu/torch/" else 404)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()

    def test_the_cpu_builds_where_their_index_answers(self, index: str, monkeypatch):
        monkeypatch.setattr(machine, "CPU_INDEX", f"{index}/whl/cpu")
        assert machine.torch_index_url() == f"{index}/whl/cpu"

    def test_a_server_that_has_no_such_page_is_no_index(self, index: str, monkeypatch, capsys):
        monkeypatch.setattr(machine, "CPU_INDEX", f"{index}/elsewhere")
        assert machine.torch_index_url() is None
        assert "does not answer" in capsys.readouterr().err

    def test_the_usual_index_where_nothing_answers(self, monkeypatch):
        monkeypatch.setattr(machine, "CPU_INDEX", "http://127.0.0.1:9/whl/cpu")
        assert machine.torch_index_url() is None

    def test_the_usual_index_where_a_gpu_is(self, index: str, monkeypatch):
        monkeypatch.setattr(machine, "CPU_INDEX", f"{index}/whl/cpu")
        monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
        assert machine.torch_index_url() is None

    def test_what_the_user_names_comes_first(self, monkeypatch, capsys):
        monkeypatch.setenv("TORCH_INDEX_URL", "https://example.org/simple")
        monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
        assert machine.main(["torch-index"]) == 0
        assert capsys.readouterr().out == "https://example.org/simple\n"
