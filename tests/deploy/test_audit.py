"""The audit of pinned packages: what fails, what is waived, and what it says where there is no network."""

import datetime
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TODAY = datetime.date(2026, 11, 26)
WAIVER = '[[waiver]]\nid = "CVE-1"\npackage = "b"\nuntil = {until}\nreason = "never called"\n'


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """deploy/audit.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy/audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(name: str, *ids: str) -> dict[str, Any]:
    vulnerabilities = [{"id": f"GHSA-{each}", "aliases": [each], "fix_versions": ["2.0"]} for each in ids]
    return {"name": name, "version": "1.0", "vulns": vulnerabilities}


def unknown(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "not found"}


def answering(dependencies: list[dict[str, Any]] | None = None, said: str = "", status: int = 0):
    text = "" if dependencies is None else json.dumps({"dependencies": dependencies, "fixes": []})
    return lambda arguments: subprocess.CompletedProcess(arguments, status, text, said)


@pytest.mark.parametrize(
    ("dependencies", "until", "status", "words"),
    [
        ([package("a"), package("b")], None, 0, "2 packages, 0 complaints"),
        ([package("a"), package("b", "CVE-1")], None, 1, "b 1.0: GHSA-CVE-1, mended in 2.0: update it, or waive it"),
        ([package("a"), package("b", "CVE-1")], "2026-11-26", 0, "waived until 2026-11-26: b 1.0: .*never called"),
        ([package("a"), package("b", "CVE-1")], "2026-11-25", 1, "its waiver ended on 2026-11-25"),
        ([package("a", "CVE-1"), package("b", "CVE-1")], "2026-12-31", 1, "a 1.0: GHSA-CVE-1"),
        ([package("b", "CVE-1", "CVE-2")], "2026-12-31", 1, "b 1.0: GHSA-CVE-2"),
        ([package("a"), package("b")], "2026-12-31", 1, "b: nothing needs the waiver of CVE-1 any more"),
        ([package("a"), unknown("b")], None, 0, "not known to the database: b"),
        ([unknown("a"), unknown("b")], None, 0, "has no vulnerabilities' data: nothing was audited"),
    ],
)
def test_what_fails_and_what_is_said(
    audit: ModuleType, dependencies, until, status: int, words: str, tmp_path: Path, capsys
) -> None:
    waivers = tmp_path / "waivers.toml"
    waivers.write_text(WAIVER.format(until=until) if until else "")
    found = audit.main(answering(dependencies, status=1), waivers, TODAY)
    said = "".join(capsys.readouterr())
    assert found == status, said
    assert re.search(words, said), said


@pytest.mark.parametrize(
    "words", ["HTTPSConnectionPool: Max retries exceeded with url", "Failed to resolve 'pypi.org'"]
)
def test_without_a_network_it_says_so_and_fails_nobody(audit: ModuleType, words: str, capsys) -> None:
    assert audit.main(answering(said=f"ERROR:pip_audit._cli:{words}", status=1)) == 0
    out, err = capsys.readouterr()
    assert out == "audit: no database of vulnerabilities can be reached from here: nothing was audited\n"
    assert err == ""


def test_a_failure_of_another_kind_fails(audit: ModuleType, capsys) -> None:
    assert audit.main(answering(said="usage: pip-audit", status=2)) == 1
    assert "pip-audit failed: ['usage: pip-audit']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("until", "reason"), [('"soon"', "because"), ("2026-12-31", " "), ("2026-12-31T00:00:00", "x")]
)
def test_a_waiver_without_a_day_or_a_reason_is_refused(audit: ModuleType, until: str, reason: str, tmp_path: Path):
    path = tmp_path / "waivers.toml"
    path.write_text(f'[[waiver]]\nid = "C"\npackage = "b"\nuntil = {until}\nreason = "{reason}"\n')
    with pytest.raises(ValueError, match="expected a day"):
        audit.waivers(path)


def test_our_own_waivers_are_well_formed(audit: ModuleType) -> None:
    assert isinstance(audit.waivers(audit.WAIVERS), list)
    assert all(path.is_file() for path in audit.PINNED)
