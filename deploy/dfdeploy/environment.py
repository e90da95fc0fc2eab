"""The server's own Python environment: where it is, whether it is whole, how Triton is started in it.

It is a second one because the wheel with the server, nvidia-pytriton, asks for numpy < 2 in its metadata, which the
server does not need and the application could not stand, and because a server should hold only what it uses.
"""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dfdeploy import folders, machine
from dfdeploy.errors import EnvironmentIncomplete

PYTHON_VERSIONS = ("3.11", "3.12", "3.13")  # those that the wheel has a stub for, and that we run on
MINIMUM_GLIBC = (2, 35)

# Run by the environment's own Python; a line each.
DESCRIBE = """
import importlib.util, sys, sysconfig
print("%d.%d" % sys.version_info[:2])
print(sysconfig.get_config_var("LIBDIR"))
print(sysconfig.get_path("purelib"))
print(" ".join(name for name in ("numpy", "onnxruntime") if not importlib.util.find_spec(name)))
"""


@dataclass(frozen=True)
class ServerEnvironment:
    """A virtual environment that holds nvidia-pytriton, onnxruntime and numpy.

    Attributes:
        folder: the environment.
        python_version: such as ``3.11``.
        library_dir: where its Python's own shared libraries lie.
        packages_dir: where its packages lie.
    """

    folder: Path
    python_version: str
    library_dir: Path
    packages_dir: Path

    @property
    def libpython(self) -> str:
        """Name of the shared library of this Python, which the stub needs."""
        return f"libpython{self.python_version}.so.1.0"

    @property
    def triton(self) -> Path:
        """Triton's own files inside the wheel."""
        return self.packages_dir / "pytriton" / "tritonserver"

    @property
    def wheel_libraries(self) -> Path:
        """The libraries that the wheel brings."""
        return self.packages_dir / "nvidia_pytriton.libs"

    @property
    def binary(self) -> Path:
        """The server."""
        return self.triton / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The process that runs Python backends, built for this Python."""
        return self.triton / "python_backend_stubs" / self.python_version / "triton_python_backend_stub"

    @property
    def foreign_libpythons(self) -> list[str]:
        """Names of the libraries by which the wheel brings a libpython of its own for this version.

        It does so for 3.13. That one is older than what the extension modules of today's Pythons ask for
        ('undefined symbol: _PyErr_SetLocaleString').
        """
        minor = self.python_version.partition(".")[2]
        return sorted(path.name for path in self.wheel_libraries.glob(f"libpython3-*.{minor}.so.1.0"))

    def variables(self, run_dir: Path | None = None) -> dict[str, str]:
        """Environment variables to start Triton, or its Python, with.

        Args:
            run_dir: what `lay_out` has filled; Triton needs it.
        """
        own = [run_dir / "libraries"] if run_dir else []
        libraries = [*own, self.wheel_libraries, self.library_dir]
        inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        return inherited | {
            # The stubs find their Python by the first `python3` on PATH, not by PYTHONPATH.
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            "VIRTUAL_ENV": str(self.folder),
        }

    def lay_out(self, run_dir: Path) -> None:
        """Fill a run's folder: ``backends`` for Triton, and ``libraries`` that go before all others."""
        self.write_backends(run_dir / "backends")
        (run_dir / "libraries").mkdir()
        for name in self.foreign_libpythons:
            (run_dir / "libraries" / name).symlink_to(self.library_dir / self.libpython)

    def write_backends(self, folder: Path) -> None:
        """Write a backend directory: Triton's Python backend with our stub, and our backends. Links are refused."""
        python = folder / "python"
        shutil.copytree(self.triton / "backends" / "python", python)
        shutil.copy2(self.stub, python)
        for name in folders.backend_names():
            folders.write_backend(name, folder)


def choose_python() -> tuple[str, str]:
    """A Python that the server can run on, and its version: this one, else the newest fitting one on PATH.

    Raises:
        EnvironmentIncomplete: there is none.
    """
    own = "{}.{}".format(*sys.version_info[:2])
    if own in PYTHON_VERSIONS:
        return sys.executable, own
    for version in reversed(PYTHON_VERSIONS):
        if found := shutil.which(f"python{version}"):
            return found, version
    raise EnvironmentIncomplete(
        f"the server needs Python {PYTHON_VERSIONS[0]} to {PYTHON_VERSIONS[-1]}, this is {own} and no other is on "
        "PATH: install one, or use --server docker"
    )


def default_folder() -> Path:
    """Where the environment is unless told otherwise; see `folders.server_environment`."""
    return folders.server_environment(choose_python()[1])


def find(folder: Path | None = None) -> ServerEnvironment:
    """Find the environment and check everything that would otherwise fail in silence.

    Raises:
        EnvironmentIncomplete: says what to install.
    """
    folder = folder or default_folder()
    check_machine()
    environment = _describe(folder)
    if not environment.binary.is_file():
        raise EnvironmentIncomplete(f"{folder} holds no Triton (nvidia-pytriton); run: dfdeploy setup")
    if environment.python_version not in PYTHON_VERSIONS or not environment.stub.is_file():
        raise EnvironmentIncomplete(
            f"the server needs Python {PYTHON_VERSIONS[0]} to {PYTHON_VERSIONS[-1]}, that of {folder} is "
            f"{environment.python_version}; remove that folder, and run dfdeploy setup with another Python"
        )
    _check_libraries(environment)
    return environment


def check_machine() -> None:
    """Refuse a system that the wheel's binary does not run on."""
    system, cpu = platform.system(), platform.machine()
    if system != "Linux" or cpu not in ("x86_64", "aarch64"):
        raise EnvironmentIncomplete(
            f"the embedded server needs Linux on x86-64 or aarch64, this is {system} on {cpu}; use --server docker"
        )
    name, version = platform.libc_ver()
    found = tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else (0, 0)
    if found < MINIMUM_GLIBC:
        raise EnvironmentIncomplete(
            f"the embedded server needs glibc 2.35 or newer (Debian 12, Ubuntu 22.04), found {name or 'another libc'} "
            f"{version}; use --server docker"
        )


def _describe(folder: Path) -> ServerEnvironment:
    python = folder / "bin" / "python"
    if not python.exists():
        raise EnvironmentIncomplete(f"no server environment at {folder}; run: dfdeploy setup")
    finished = subprocess.run([python, "-c", DESCRIBE], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise EnvironmentIncomplete(f"{python} does not run ({finished.stderr.strip()}); run: dfdeploy setup")
    version, library_dir, packages_dir, missing = finished.stdout.split("\n")[:4]
    if missing:
        raise EnvironmentIncomplete(f"{folder} lacks {' and '.join(missing.split())}; run: dfdeploy setup")
    return ServerEnvironment(folder, version, Path(library_dir), Path(packages_dir))


def _check_libraries(environment: ServerEnvironment) -> None:
    """A stub that lacks a library does not fail: Triton waits for it forever."""
    missing = [
        library
        for program in (environment.binary, environment.stub)
        for library in missing_libraries(program, environment.variables())
    ]
    if environment.foreign_libpythons and not (environment.library_dir / environment.libpython).is_file():
        missing.append(environment.libpython)  # ldd sees the wheel's own instead
    if missing:
        packages = [machine.package_of(library) for library in missing]
        raise EnvironmentIncomplete(
            f"the server lacks {', '.join(dict.fromkeys(missing))}; "
            f"install: apt install {' '.join(dict.fromkeys(packages))}"
        )


def missing_libraries(program: Path, variables: dict[str, str]) -> list[str]:
    """Shared libraries that ``program`` would not find when started with these environment variables."""
    finished = subprocess.run(["ldd", program], env=variables, capture_output=True, text=True, check=False)
    return [line.split()[0] for line in finished.stdout.splitlines() if "not found" in line]
