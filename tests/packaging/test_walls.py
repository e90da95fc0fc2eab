"""Who may import whom: the table in pyproject.toml holds, and import-linter sees when someone breaks it."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROOTS = {
    "dfcontract": "contract",
    "dfclient": "client",
    "dfexport": "export",
    "dfeval": "eval",
    "dfdeploy": "deploy",
}
# Importer, what it may not import.
FORBIDDEN = [
    ("dfcontract", "dfclient"),
    ("dfcontract", "tritonclient"),
    ("dfclient", "dfexport"),
    ("dfclient", "dfeval"),
    ("dfclient", "dfdeploy"),
    ("dfclient", "torch"),
    ("dfexport", "dfclient"),
    ("dfexport", "dfeval"),
    ("dfexport", "dfdeploy"),
    ("dfeval", "dfclient"),
    ("dfeval", "dfexport"),
    ("dfeval", "dfdeploy"),
    ("dfdeploy", "dfexport"),
    ("dfdeploy", "dfeval"),
]
ALLOWED = [(room, "dfcontract") for room in ROOTS if room != "dfcontract"] + [("dfdeploy", "dfclient")]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the sources of ``folder``, wherever else the packages are installed."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    path = os.pathsep.join(str(folder / root) for root in ROOTS.values())
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources and their table, to break."""
    folder = tmp_path_factory.mktemp("walls")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for package, root in ROOTS.items():
        shutil.copytree(PROJECT / root / package, folder / root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def add_import(copy: Path) -> Iterator[object]:
    """Write a module into a room of the copy that imports another one inside a function; taken away afterwards."""
    added: list[Path] = []

    def add(room: str, imported: str) -> None:
        path = copy / ROOTS[room] / room / "a_new_module.py"
        path.write_text(f"def f() -> None:\n    import {imported}\n")
        added.append(path)

    yield add
    for path in added:
        path.unlink()


def test_the_walls_hold(copy: Path):
    finished = lint(copy)
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout


@pytest.mark.parametrize(("room", "imported"), FORBIDDEN)
def test_a_forbidden_import_is_seen(copy: Path, add_import, room: str, imported: str):
    add_import(room, imported)
    finished = lint(copy)
    assert finished.returncode == 1, finished.stdout
    assert f"{room}.a_new_module -> {imported}" in finished.stdout


def test_an_allowed_import_is_no_breach(copy: Path, add_import):
    for room, imported in ALLOWED:
        add_import(room, imported)
    assert lint(copy).returncode == 0


def test_the_contract_needs_the_standard_library_and_numpy_alone():
    """Triton's Python backend holds it, in an environment that has nothing else."""
    found = set()
    for path in (PROJECT / "contract" / "dfcontract").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "dfcontract").split(".")[0])
    assert found <= sys.stdlib_module_names | {"numpy", "dfcontract"}
    assert "numpy" in found


def test_every_room_is_behind_the_walls():
    """A package that someone adds to a source root is in the table, too."""
    rooms = {path.parent.name for root in ROOTS.values() for path in (PROJECT / root).glob("*/__init__.py")}
    assert rooms == set(ROOTS)
