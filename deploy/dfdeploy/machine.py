"""What a machine must bring: the system packages of each command, and the index that has the right build of PyTorch.

Standard library only, and no import of this package: the Makefile runs this file with the system's Python before
anything is installed (``python3 deploy/dfdeploy/machine.py packages demo``).
"""

import argparse
import ctypes
import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
DEBIANS_PYTHON = sys.base_prefix == "/usr"
COMMANDS = ("setup", "demo", "serve", "bench", "test")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INDEX_TIMEOUT_S = 3.0
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
SERVERS_FOLDER = "/usr/sbin"
# Debian's own way to keep an installation from starting what it installs; kept where the machine has one already.
WITHOUT_SERVICES = r"""
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap "rm -f $policy" EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
fi
"$@"
"""


@dataclass(frozen=True)
class Package:
    """A Debian or Ubuntu package: what it is for, who needs it, and by what one sees that it is there.

    Attributes:
        name: as apt knows it.
        why: for whoever reads that it is missing.
        commands: that need it; ``setup`` comes first in every other command, so its packages are everyone's.
        programs: any one of them on PATH will do.
        libraries: shared libraries, by the names that the loader looks for.
        modules: of this Python.
        service: that it would start, now and at each boot, and that nobody here asked for.
    """

    name: str
    why: str
    commands: tuple[str, ...]
    programs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    service: str = ""

    def is_here(self) -> bool:
        """Look for what it brings, whoever brought it."""
        return (
            (not self.programs or any(which(program) for program in self.programs))
            and all(_loads(library) for library in self.libraries)
            and all(importlib.util.find_spec(module) for module in self.modules)
        )

    def needed_by(self, command: str) -> bool:
        """Whether ``command`` needs it."""
        return "setup" in self.commands or command in self.commands


def which(program: str) -> str | None:
    """Where a program is, in the folder of servers too, which not every user has on PATH."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), SERVERS_FOLDER)))


def venv_package(version: str = PYTHON_VERSION) -> str:
    """The package that lets a Debian Python of this version make environments."""
    return f"python{version}-venv"


def libpython_package(version: str = PYTHON_VERSION) -> str:
    """The package of a Debian Python's shared library."""
    return f"libpython{version}"


def _table() -> Iterator[Package]:
    yield Package(venv_package(), "Python environments", ("setup",), modules=("venv", "ensurepip"))
    if DEBIANS_PYTHON:  # others have it in a folder of their own, or none that apt could bring
        library = f"libpython{PYTHON_VERSION}.so.1.0"
        yield Package(libpython_package(), "Triton's Python backend", ("setup",), libraries=(library,))
    yield Package("libstdc++6", "Triton", ("setup",), libraries=("libstdc++.so.6",))
    yield Package("zlib1g", "Triton", ("setup",), libraries=("libz.so.1",))
    yield Package("libb64-0d", "NVIDIA's perf_analyzer", ("bench", "test"), libraries=("libb64.so.0d",))
    browsers = ("chromium", "chromium-browser", "google-chrome")
    yield Package("libatomic1", "what drives the browser, Playwright's node", ("test",), libraries=("libatomic.so.1",))
    yield Package("chromium", "a browser that opens the report and the page", ("test",), programs=browsers)
    yield Package(
        "nginx-light", "a proxy with TLS and keys before Triton", ("test",), programs=("nginx",), service="nginx"
    )
    yield Package(
        "prometheus", "alerts and dashboards on real figures", ("test",), programs=("prometheus",), service="prometheus"
    )
    yield Package("nodejs", "the live protocol's example in JavaScript", ("test",), programs=("node",))
    yield Package("npm", "its gRPC package, and axe-core, which judges the page", ("test",), programs=("npm",))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


PACKAGES = tuple(_table())


def missing(commands: Iterable[str]) -> list[Package]:
    """What these commands need and this machine lacks, in the table's order.

    Raises:
        ValueError: a command is not in the table; the known ones are listed.
    """
    asked = list(commands)
    unknown = [command for command in asked if command not in COMMANDS]
    if unknown:
        raise ValueError(f"unknown command {', '.join(unknown)}; known: {', '.join(COMMANDS)}")
    needed = [package for package in PACKAGES if any(package.needed_by(command) for command in asked)]
    return [package for package in needed if not package.is_here()]


def missing_line(name: str) -> str | None:
    """Why a test that needs the package ``name`` can't run here, with its apt command; None where it can."""
    package = next(package for package in PACKAGES if package.name == name)
    return None if package.is_here() else f"missing: {_list([package])}; {_apt_command([package])}"


def package_of(library: str) -> str:
    """The package that brings a shared library: the table's, else the one that by custom has its name."""
    if libpython := re.fullmatch(r"libpython(3\.\d+)\.so\.1\.0", library):
        return libpython_package(libpython[1])
    rows = {name: package.name for package in PACKAGES for name in package.libraries}
    return rows.get(library) or library.split(".so", maxsplit=1)[0]


def provide(commands: Iterable[str], *, go_on: bool = False) -> str | None:
    """See to it that this machine has what these commands need: as root, or where sudo asks nothing, by installing it.

    Where no apt is, what is missing is named on standard error and the caller goes on: it may be there in another form.

    Args:
        commands: rows of the table.
        go_on: name what is missing, install nothing, complain about nothing.

    Returns:
        Nothing where the caller can go on, else one line that says what to install.
    """
    asked = list(commands)
    lacking = missing(asked)
    if not lacking:
        return None
    if go_on or shutil.which("apt-get") is None:
        print(f"missing: {_list(lacking)}; these are the names of Debian's packages", file=sys.stderr)
        return None
    rights = _rights()
    if rights is None:
        return f"missing: {_list(lacking)}; first: sudo {_apt_command(lacking)}"
    print(f"installing with apt: {_list(lacking)}", flush=True)
    complaint = _install(rights, lacking)
    lacking = missing(asked)
    # Tests without their package skip and say so; everything else would fail later and less clearly.
    strict = {"setup", *asked} - {"test"}
    vital = [package for package in lacking if any(package.needed_by(command) for command in strict)]
    if vital:
        return f"apt could not install {_list(vital)}: {complaint}"
    if lacking:
        print(f"apt could not install {_list(lacking)}, tests that need it skip: {complaint}", file=sys.stderr)
    return None


def _list(packages: list[Package]) -> str:
    return ", ".join(f"{package.name} ({package.why})" for package in packages)


def _apt_command(packages: list[Package]) -> str:
    return f"apt install {' '.join(package.name for package in packages)}"


def _rights() -> list[str] | None:
    """How a command is run as root: as it is, through sudo, or not at all."""
    if os.geteuid() == 0:
        return []
    silent = ["sudo", "-n"]
    return silent if shutil.which("sudo") and not _run([*silent, "true"]) else None


def _install(rights: list[str], packages: list[Package]) -> str:
    """Install all at once, else, since one unknown name stops them all, one by one; the last complaint, if any."""
    apt = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    names = [package.name for package in packages]
    services = [package.service for package in packages if package.service]
    install = ["install", "-y", "--no-install-recommends"]
    _run([*apt, "update"])
    quietly = [*rights, "sh", "-c", WITHOUT_SERVICES, "sh", *apt[len(rights) :]] if services else apt
    try:
        if not _run([*quietly, *install, *names]):
            return ""
        return next(filter(None, [_run([*quietly, *install, name]) for name in names]), "")
    finally:
        for service in services:
            _run([*rights, "update-rc.d", service, "disable"])


def _run(command: list[str]) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if finished.returncode == 0:
        return ""
    return (finished.stderr.strip() or finished.stdout.strip() or f"{command} failed").splitlines()[-1]


def torch_index_url() -> str | None:
    """Where pip should take PyTorch from: None means its usual index.

    PyPI's build brings gigabytes of CUDA, which a machine without an NVIDIA driver can't use, so there it is the index
    of CPU builds, as long as that answers. The environment variable TORCH_INDEX_URL decides before anything else.
    """
    chosen = os.environ.get("TORCH_INDEX_URL")
    if chosen:
        return chosen
    if sys.platform != "linux" or has_nvidia_driver():
        return None
    if _answers(f"{CPU_INDEX}/torch/"):
        return CPU_INDEX
    print(f"{CPU_INDEX} does not answer: PyTorch comes from pip's usual index", file=sys.stderr)
    return None


def has_nvidia_driver() -> bool:
    """Whether the driver of an NVIDIA GPU is loaded or its tool installed."""
    return NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi") is not None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=INDEX_TIMEOUT_S):  # noqa: S310 (the scheme is ours)
            return True
    except urllib.error.URLError as error:
        # An empty Debian has no certificates, pip brings its own: it will check them, here an answer is enough.
        return isinstance(error.reason, ssl.SSLCertVerificationError)
    except OSError:
        return False


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 1 when something is missing that the command can't do without."""
    parser = argparse.ArgumentParser(prog="machine.py", description="What this machine must bring for dfserve.")
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    packages = actions.add_parser("packages", help="install, or name, the system packages that commands need")
    packages.add_argument("commands", nargs="+", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    packages.add_argument("--go-on", action="store_true", help="name what is missing and go on without it")
    actions.add_parser("torch-index", help="print where pip should take PyTorch from; nothing: its usual index")
    arguments = parser.parse_args(argv)
    if arguments.action == "torch-index":
        print(torch_index_url() or "")
        return 0
    complaint = provide(arguments.commands, go_on=arguments.go_on)
    if complaint:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if complaint else 0


if __name__ == "__main__":
    sys.exit(main())
