"""Who may import whom: the table in pyproject.toml holds, and import-linter sees when someone breaks it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROOTS = {
    "dfcontract": "contract",
    "dfclient": "client",
    "dfexport": "export",
    "dfeval": "eval",
    "dfpage": "page",
    "dfdeploy": "deploy",
}
# Importer, what it may not import.
FORBIDDEN = [
    ("dfcontract", "dfclient"),
    ("dfcontract", "tritonclient"),
    ("dfclient", "dfexport"),
    ("dfclient", "dfeval"),
    ("dfclient", "dfpage"),
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
    ("dfdeploy", "dfpage"),
    ("dfpage", "dfexport"),
    ("dfpage", "dfeval"),
    ("dfpage", "dfdeploy"),
    ("dfdeploy.backends", "dfclient"),
]
ALLOWED = [(room, "dfcontract") for room in ROOTS if room != "dfcontract"] + [
    ("dfdeploy", "dfclient"),
    ("dfpage", "dfclient"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the sources of ``folder``, wherever else the packages are installed."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    path = os.pathsep.join(str(folder / root) for root in ROOTS.values())
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def copy_with(folder: Path, imports: list[tuple[str, str]]) -> Path:
    """The sources and their table, with a module for each import, made inside a function."""
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for package, root in ROOTS.items():
        shutil.copytree(PROJECT / root / package, folder / root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for room, imported in imports:
        path = (folder / ROOTS[room.split(".")[0]]).joinpath(*room.split("."), f"new_{imported}.py")
        path.write_text(f"def f() -> None:\n    import {imported}\n")
    return folder


@pytest.fixture(scope="module")
def breaches(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What import-linter says where every forbidden import was added."""
    return lint(copy_with(tmp_path_factory.mktemp("breached"), FORBIDDEN))


def test_the_walls_hold_and_leave_what_is_allowed(tmp_path: Path):
    finished = lint(copy_with(tmp_path, ALLOWED))
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout


def test_a_forbidden_import_fails(breaches: subprocess.CompletedProcess[str]):
    assert breaches.returncode == 1
    assert "0 kept" in breaches.stdout


@pytest.mark.parametrize(("room", "imported"), FORBIDDEN)
def test_each_forbidden_import_is_seen(breaches: subprocess.CompletedProcess[str], room: str, imported: str):
    assert f"{room}.new_{imported} -> {imported}" in breaches.stdout


def test_one_breach_is_enough(tmp_path: Path):
    finished = lint(copy_with(tmp_path, [("dfexport", "dfclient")]))
    assert finished.returncode == 1
    assert "1 broken" in finished.stdout


def test_the_contract_needs_the_standard_library_and_numpy_alone():
    """Triton's Python backend holds it, in an environment that has nothing else; no shell completes anything there."""
    found = set()
    for path in (PROJECT / "contract" / "dfcontract").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "dfcontract").split(".")[0])
    assert found - {"argcomplete"} <= sys.stdlib_module_names | {"numpy", "dfcontract"}
    assert "numpy" in found


def test_every_room_is_behind_the_walls():
    """A package that someone adds to a source root is in the table, too."""
    rooms = {path.parent.name for root in ROOTS.values() for path in (PROJECT / root).glob("*/__init__.py")}
    assert rooms == set(ROOTS)
