"""Known vulnerabilities of what is pinned, by pip-audit, less those that we waive with a reason and until a day.

    python deploy/audit.py                  0: none but waived ones, or no database can be reached from here: it says so
    deploy/audit-waivers.toml               a table for each that is waived: id, package, until, reason

A waiver that is over, or that nothing needs any more, fails: it is to be looked at again, or taken out.
"""

import datetime
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINNED = (ROOT / "constraints.txt", ROOT / "deploy/dfdeploy/constraints-server.txt")
WAIVERS = ROOT / "deploy/audit-waivers.toml"
# What pip-audit and the libraries below it say where the network ends.
UNREACHABLE = ("ConnectionError", "Max retries exceeded", "Failed to resolve", "timed out", "unreachable", "ProxyError")

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Waiver:
    """A vulnerability that we live with until a day, and why."""

    id: str
    package: str
    until: datetime.date
    reason: str


def waivers(path: Path) -> list[Waiver]:
    """The waivers in a file; ValueError for one that lacks a key, a day or a reason."""
    found = [Waiver(**table) for table in tomllib.loads(path.read_text(encoding="utf-8")).get("waiver", [])]
    for waiver in found:
        if type(waiver.until) is not datetime.date or not waiver.reason.strip():
            raise ValueError(f"{path.name}: {waiver.id}: expected a day (until = 2026-12-31) and a reason")
    return found


def complaints(
    dependencies: list[dict[str, Any]], allowed: list[Waiver], today: datetime.date, say: Callable[[str], None]
) -> Iterator[str]:
    """What fails, a line each; `say` is told what is waived."""
    needed = set()
    for package, vulnerability in ((d, v) for d in dependencies for v in d.get("vulns", [])):
        names = {vulnerability["id"], *vulnerability.get("aliases", [])}
        waiver = next((one for one in allowed if one.id in names and one.package == package["name"]), None)
        what = f"{package['name']} {package['version']}: {vulnerability['id']}"
        fixed = ", ".join(vulnerability.get("fix_versions", [])) or "no version yet"
        if waiver is None:
            yield f"{what}, mended in {fixed}: update it, or waive it in {WAIVERS.name} with a reason"
        elif waiver.until < today:
            yield f"{what}, mended in {fixed}: its waiver ended on {waiver.until}: look at it again"
        else:
            say(f"waived until {waiver.until}: {what}: {waiver.reason}")
        needed.add(waiver)
    for waiver in allowed:
        if waiver not in needed:
            yield f"{waiver.package}: nothing needs the waiver of {waiver.id} any more: take it out of {WAIVERS.name}"


def pip_audit(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run it."""
    program = Path(sys.executable).with_name("pip-audit")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def main(run: Run = pip_audit, path: Path = WAIVERS, today: datetime.date | None = None) -> int:
    """Audit what is pinned; 1 for what nobody waives."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", "--timeout=10"]
    finished = run([*options, *(f"--requirement={file}" for file in PINNED)])
    if any(words in finished.stderr for words in UNREACHABLE):
        print("audit: no database of vulnerabilities can be reached from here: nothing was audited")
        return 0
    try:
        dependencies: list[dict[str, Any]] = json.loads(finished.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"audit: pip-audit failed: {finished.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return 1
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if len(skipped) == len(dependencies):  # an index that answers, but knows no vulnerabilities
        print("audit: the package index here has no vulnerabilities' data: nothing was audited")
        return 0
    if skipped:
        print(f"audit: not known to the database: {', '.join(skipped)}")
    failures = [*complaints(dependencies, waivers(path), today or datetime.datetime.now(datetime.UTC).date(), print)]
    for failure in failures:
        print(f"audit: {failure}", file=sys.stderr)
    print(f"audit: {len(dependencies) - len(skipped)} packages, {len(failures)} complaints")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
