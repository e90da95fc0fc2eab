"""axe-core, Deque's accessibility checks, from npm: what it finds that is serious on a page in a browser."""

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from dfdeploy.machine import missing_line


def source(folder: Path) -> str:
    """The script, installed into an empty folder; skips where npm can't be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(str(missing_line("npm")))
    (folder / "package.json").write_text("{}")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    finished = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if finished.returncode:
        pytest.skip(f"npm can't install axe-core: {finished.stderr.strip().splitlines()[-1:]}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


def faults(page: Page, axe: str) -> list[str]:
    """The serious and critical ones, each with the element that has it."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{fault['id']}: {node['html']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
