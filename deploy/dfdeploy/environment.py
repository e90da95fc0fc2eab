"""The server's own Python environment: where it is, whether it is whole, how Triton is started in it."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dfdeploy.errors import EnvironmentIncomplete

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ROOT / "deploy" / "backends"
# The live backend cuts windows as the client does: with the same file.
SHARED_WITH_CLIENT = {"live": ROOT / "client" / "dfclient" / "windows.py"}
# What the twins of the native backends have in common.
SHARED_BY_TWINS = BACKENDS / "onnxruntime" / "detector_model.py"
MINIMUM_GLIBC = (2, 35)
# Libraries that the server may lack, and the Debian or Ubuntu package that brings them.
PACKAGES = {
    "libz.so.1": "zlib1g",
    "libexpat.so.1": "libexpat1",
    "libstdc++.so.6": "libstdc++6",
    "libgomp.so.1": "libgomp1",
}

# Run by the environment's own Python; a line each.
DESCRIBE = """
import importlib.util, sys, sysconfig
print("%d.%d" % sys.version_info[:2])
print(sysconfig.get_config_var("LIBDIR"))
print(sysconfig.get_config_var("INSTSONAME"))
print(sysconfig.get_path("purelib"))
print(__import__("numpy").__version__ if importlib.util.find_spec("numpy") else "")
"""


@dataclass(frozen=True)
class ServerEnvironment:
    """A virtual environment that holds nvidia-pytriton, onnxruntime and numpy < 2."""

    folder: Path
    python_version: str
    library_dir: Path
    libpython: str
    packages_dir: Path

    @property
    def triton(self) -> Path:
        """Triton's own files inside the wheel."""
        return self.packages_dir / "pytriton" / "tritonserver"

    @property
    def binary(self) -> Path:
        """The server."""
        return self.triton / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The process that runs Python backends, built for this Python."""
        return self.triton / "python_backend_stubs" / self.python_version / "triton_python_backend_stub"

    def variables(self) -> dict[str, str]:
        """Environment variables to start Triton with."""
        libraries = [self.packages_dir / "nvidia_pytriton.libs", self.library_dir]
        inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        return inherited | {
            # The stubs find their Python by the first `python3` on PATH, not by PYTHONPATH.
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            "VIRTUAL_ENV": str(self.folder),
        }

    def write_backends(self, folder: Path) -> None:
        """Lay out a backend directory: Triton's Python backend with our stub, and our backends. Links are refused."""
        python = folder / "python"
        shutil.copytree(self.triton / "backends" / "python", python)
        shutil.copy2(self.stub, python)
        for backend in BACKENDS.iterdir():
            if (backend / "model.py").is_file():
                shutil.copytree(backend, folder / backend.name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(SHARED_BY_TWINS, folder / "pytorch")
        for backend_name, module in SHARED_WITH_CLIENT.items():
            shutil.copy2(module, folder / backend_name)


def default_folder() -> Path:
    """DFSERVE_SERVER_ENV, else ``.venv-server`` in the project."""
    return Path(os.environ.get("DFSERVE_SERVER_ENV") or ROOT / ".venv-server")


def find(folder: Path | None = None) -> ServerEnvironment:
    """Find the environment and check everything that would otherwise fail in silence.

    Raises:
        EnvironmentIncomplete: says what to install.
    """
    folder = folder or default_folder()
    _check_machine()
    environment = _describe(folder)
    if not environment.binary.is_file():
        raise EnvironmentIncomplete(f"{folder} holds no Triton (nvidia-pytriton); run: make setup-server")
    if not environment.stub.is_file():
        raise EnvironmentIncomplete(
            f"Triton's Python backend has no stub for Python {environment.python_version}; "
            "build the server's environment with Python 3.11 or 3.12: make setup-server PYTHON=python3.11"
        )
    _check_libraries(environment)
    return environment


def _check_machine() -> None:
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        raise EnvironmentIncomplete(
            f"the embedded server needs Linux on x86-64 or aarch64, this is {system} on {machine}; use --server docker"
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
        raise EnvironmentIncomplete(f"no server environment at {folder}; run: make setup-server")
    finished = subprocess.run([python, "-c", DESCRIBE], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise EnvironmentIncomplete(f"{python} does not run ({finished.stderr.strip()}); run: make setup-server")
    version, library_dir, libpython, packages_dir, numpy_version = finished.stdout.split("\n")[:5]
    if not numpy_version or int(numpy_version.split(".")[0]) >= 2:
        raise EnvironmentIncomplete(
            f"the server's environment needs numpy < 2, found {numpy_version or 'none'} in {folder}: Triton's Python "
            "backend would load, report READY and answer empty tensors; run: make setup-server"
        )
    return ServerEnvironment(folder, version, Path(library_dir), libpython, Path(packages_dir))


def _check_libraries(environment: ServerEnvironment) -> None:
    """A stub that lacks a library does not fail: Triton waits for it forever."""
    for program in (environment.binary, environment.stub):
        missing = missing_libraries(program, environment.variables())
        if missing:
            packages = [_package_of(library, environment) for library in missing]
            raise EnvironmentIncomplete(
                f"the server lacks {', '.join(missing)}; install: apt install {' '.join(dict.fromkeys(packages))}"
            )


def missing_libraries(program: Path, variables: dict[str, str]) -> list[str]:
    """Shared libraries that ``program`` would not find when started with these environment variables."""
    finished = subprocess.run(["ldd", program], env=variables, capture_output=True, text=True, check=False)
    return [line.split()[0] for line in finished.stdout.splitlines() if "not found" in line]


def _package_of(library: str, environment: ServerEnvironment) -> str:
    if library == environment.libpython:
        return f"libpython{environment.python_version}"
    return PACKAGES.get(library, library.split(".so", maxsplit=1)[0])
