"""The documentation, typed word by word: each page in a fresh copy of the checkout, in one shell."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pages
import pytest
import readers_files

from once import made_once, run_folder

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
READY = "ready and self-checked|dfpage: open"
MARK = "::: block"
TIME_S = 570
PORTS = (8000, 8001, 8002)
# A network of its own, where the machine lets us: the documentation's ports are then free, and downloads fail at once.
LOOPBACK_UP = "ip link set lo up 2>/dev/null || python3 -c '" + (
    'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH22x", b"lo", 0x49))\''
)


def weights() -> Path | None:
    """The published AASIST and AASIST-L, if they are at hand."""
    folders = (pages.ROOT / "weights", pages.ROOT.parent / "shared/weights")
    return next((folder for folder in folders if (folder / "AASIST.pth").exists()), None)


def fresh_copy(folder: Path) -> Path:
    """What is committed or would be, as a clone has it, with the environment that runs these tests."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=pages.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if (pages.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pages.ROOT / name, folder / name)
    link_environment(folder / ".venv")
    return folder


def link_environment(folder: Path) -> None:
    """An environment with the contents of ours that make takes for newer than the copy's pyproject.toml.

    Were it only a link to ours, make might install the copy into it, and our commands would run from a folder that is
    soon gone. (`make --old-file` does not help: make takes it from no environment variable.)
    """
    folder.mkdir()
    for entry in BIN.parent.iterdir():
        if entry.name != "installed":
            (folder / entry.name).symlink_to(entry)
    (folder / "installed").touch()


def script(blocks: list[pages.Block]) -> str:
    """One shell's script: files are written, servers are waited for and stopped at the end."""
    lines = ["set -eu", "servers=", "trap 'for server in $servers; do kill -TERM -- -$server; done; wait' EXIT"]
    for number, block in enumerate(blocks):
        if block.is_file:
            lines.append(f"cat > {block.title} <<'END_OF_FILE'\n{block.text}END_OF_FILE")
        elif block.is_run and block.title == pages.OWN_SHELL:
            (command,) = block.text.splitlines()
            lines.append(f'setsid {command} > shell_{number}.log 2>&1 & servers="$servers $!"')
            lines.append(
                f"until grep -Eq '{READY}' shell_{number}.log; do kill -0 $! || {{ cat shell_{number}.log; exit 1; }}; "
                f"sleep 0.2; done; echo '{MARK} {number}'; cat shell_{number}.log"
            )
        elif block.is_run and block.language == "python":
            lines.append(f"echo '{MARK} {number}'\npython - <<'END_OF_PYTHON'\n{block.text}END_OF_PYTHON")
        elif block.is_run:
            lines.append(f"echo '{MARK} {number}'\n{block.text}")
    return "\n".join([*lines, f"echo '{MARK} {len(blocks)}'"])


def own_network() -> list[str]:
    """What to put before a command to run it without the machine's network; nothing where that is not allowed."""
    for before in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0
        ):
            return before
    return []


def missing_lines(wanted: str, printed: str) -> list[str]:
    """The lines of an "It prints" block that were not printed; … stands for anything."""
    patterns = {line: ".*".join(map(re.escape, line.split("…"))) for line in wanted.splitlines()}
    return [line for line, pattern in patterns.items() if not re.search(pattern, printed)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh copy."""
    return fresh_copy(tmp_path / "dfserve")


@pytest.fixture
def with_readers_files(request: pytest.FixtureRequest, checkout: Path) -> Path:
    """A fresh copy with models, recordings and scores in it."""
    folder = made_once(
        run_folder(request, "documentation") / "files",
        lambda empty: readers_files.write(empty, pages.ROOT / "examples", weights()),
    )
    shutil.copytree(folder, checkout, dirs_exist_ok=True)
    return checkout


@pytest.fixture
def environment(checkout: Path) -> dict[str, str]:
    found = weights()
    settings = {
        "PATH": os.pathsep.join((str(checkout / "bin"), str(BIN), os.environ["PATH"])),
        "PACKAGES": "skip",
        "COLUMNS": "120",
        "DFSERVE_SERVER_ENV": os.environ.get("DFSERVE_SERVER_ENV", str(pages.ROOT / ".venv-server")),
        "WEIGHTS_DIR": str(found or "weights"),
    }
    return os.environ | settings


@pytest.mark.timeout(900)  # the first one makes the reader's files, too
@pytest.mark.parametrize("page", pages.walks(), ids=lambda page: page.stem)
def test_a_page_typed_word_by_word(page, environment, checkout, request):
    blocks = pages.blocks(page.read_text())
    if (page.stem in ("tutorial", "calibrate") or page not in pages.from_nothing()) and weights() is None:
        pytest.skip("needs the published AASIST.pth and AASIST-L.pth in weights/ or ../shared/weights")
    if page not in pages.from_nothing():
        request.getfixturevalue("with_readers_files")
    before = own_network()
    if not before and (taken := [port for port in PORTS if _is_taken(port)]):
        pytest.skip(f"port {taken[0]} is taken, and this machine gives a test no network of its own")
    walk = [*before, "bash", "-c", f"{LOOPBACK_UP}; exec bash -s"] if before else ["bash", "-s"]
    with subprocess.Popen(
        walk,
        cwd=checkout,
        env=environment,
        text=True,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as shell:
        try:
            printed, _ = shell.communicate(script(blocks), timeout=TIME_S)
        except BaseException:
            os.killpg(shell.pid, signal.SIGTERM)
            raise
    assert shell.returncode == 0, printed[-4000:]
    parts = re.split(rf"^{MARK} (\d+)\n", printed, flags=re.MULTILINE)
    said = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    last = 0
    for number, block in enumerate(blocks):
        last = number if number in said else last
        if block.title == pages.PRINTS:
            assert missing_lines(block.text, said[last]) == [], said[last]


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_make_installs_no_copy_into_our_environment(checkout):
    planned = subprocess.run(["make", "-n", "docs"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    assert "mkdocs build" in planned
    assert "-m pip" not in planned
    found = [checkout / ".venv/bin/python", "-c", "import dfcontract, sys; print(sys.prefix, dfcontract.__file__)"]
    prefix, package = subprocess.run(found, capture_output=True, text=True, check=True).stdout.split()
    assert Path(prefix) == checkout / ".venv"
    assert Path(package).is_relative_to(pages.ROOT)
