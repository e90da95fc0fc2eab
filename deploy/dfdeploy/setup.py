"""``dfdeploy setup``: the server's own Python environment, made or brought up to date; and NVIDIA's perf_analyzer."""

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfdeploy import environment, folders, gpus, machine
from dfdeploy.errors import DeployError, EnvironmentIncomplete

# In the environment's folder: begun, so that the folder is ours to empty; done, with what was installed.
MARKER, STAMP = ".dfserve-server", ".dfserve-installed"
BASE_MB, ALSO_MB = 330, {"openvino": 180, "torch": 870}  # on disk
PERF_ANALYZER = ("tritonclient==2.51.0", "nvidia-cuda-runtime-cu12")  # the last of the former with the program in it


def make_environment(
    folder: Path | None = None, *, with_torch: bool = False, with_openvino: bool = False, for_gpu: bool = False
) -> None:
    """Make the server's environment, finish one that was interrupted, or bring one up to date; say where it is.

    Args:
        folder: default see `environment.default_folder`.
        with_torch: for TorchScript models. An environment that has it keeps it.
        with_openvino: for models in OpenVINO's format, likewise.
        for_gpu: with ONNX Runtime's build for CUDA in the place of the one for CPUs, never beside it: both are the same
            module. An environment that has it keeps it.

    Raises:
        EnvironmentIncomplete: this machine can't run the server; says what is missing.
        DeployError: a folder that is something else, or pip failed.
    """
    environment.check_machine()
    python, version = environment.choose_python()
    folder = (folder or environment.default_folder()).resolve()
    stamp = folder / STAMP
    installed = stamp.read_text().split() if stamp.is_file() else []
    asked = {"gpu": for_gpu, "openvino": with_openvino, "torch": with_torch}
    also = [name for name, is_asked in asked.items() if is_asked or name in installed]
    wanted = [_digest(), *also]
    size = ""
    if installed != wanted:
        onnxruntime = gpus.runtime().packages if "gpu" in also else ("onnxruntime",)
        size_mb = BASE_MB + sum(ALSO_MB.get(name, 0) for name in also)
        estimate = f"about {size_mb:,} MB{' and the CUDA libraries' if 'gpu' in also else ''}"
        print(f"server environment: installing into {folder} ({estimate}) ...")
        sys.stdout.flush()
        if complaint := machine.provide(["setup"]):
            raise EnvironmentIncomplete(complaint)
        if not installed or ("gpu" in also and "gpu" not in installed):
            _begin(folder, python, version)
        stamp.unlink(missing_ok=True)
        _install(folder, onnxruntime, also)
        stamp.write_text("\n".join(wanted) + "\n")
        size = f", {_megabytes(folder)} MB"  # counted once: it takes a second, which every `make serve` would wait
    found = environment.find(folder)
    print(f"server environment: {folder} (Python {found.python_version}{size}) is complete")


def install_perf_analyzer() -> None:
    """Put NVIDIA's perf_analyzer where `dfdeploy bench` looks for it.

    Raises:
        DeployError: pip failed.
    """
    folder = folders.perf_analyzer().resolve()
    stamp = folder / STAMP
    wanted = "\n".join(PERF_ANALYZER) + "\n"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"perf_analyzer: installing into {folder} ...", flush=True)
        # It is a program inside a wheel; without dependencies it pins nothing.
        _pip(
            Path(sys.executable),
            "--no-deps",
            "--upgrade",
            "--target",
            str(folder),
            *PERF_ANALYZER,
            what="perf_analyzer",
        )
        stamp.write_text(wanted)
    # The program finds its CUDA library through the environment alone, which nobody should have to know.
    program, libraries = folder / "bin" / "perf_analyzer", folder / "nvidia" / "cuda_runtime" / "lib"
    command = folder / "perf_analyzer"
    words = shlex.join(["env", f"LD_LIBRARY_PATH={libraries}", str(program)])
    command.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    command.chmod(0o755)
    print(f"perf_analyzer: {command} ({_megabytes(folder)} MB) is ready")


def _begin(folder: Path, python: str, version: str) -> None:
    """Make an empty virtual environment, in place of one that is not known to be whole."""
    is_ours = any((folder / name).is_file() for name in (MARKER, "pyvenv.cfg"))
    if folder.exists() and not is_ours and (not folder.is_dir() or any(folder.iterdir())):
        raise DeployError(f"{folder} is no virtual environment: name a new folder (--server-env, DFSERVE_SERVER_ENV)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise DeployError(f"{folder}: can't be written: {error.strerror}; name another (--server-env)") from None
    finished = subprocess.run([python, "-m", "venv", "--clear", folder], capture_output=True, text=True, check=False)
    if finished.returncode:
        (folder / MARKER).touch()  # --clear has taken it
        if "ensurepip" in finished.stdout + finished.stderr:
            raise EnvironmentIncomplete(f"Python's venv module is missing: apt install {machine.venv_package(version)}")
        raise DeployError(f"no virtual environment could be made in {folder}: {_last_line(finished.stderr)}")


def _install(folder: Path, onnxruntime: Sequence[str], also: Sequence[str]) -> None:
    python = folder / "bin" / "python"
    constraints = ("--constraint", str(folders.CONSTRAINTS))
    _pip(python, *constraints, "numpy", *onnxruntime)
    # Its metadata asks for numpy < 2 and for a client's packages, none of which the server needs.
    _pip(python, *constraints, "--no-deps", "nvidia-pytriton")
    if "openvino" in also:
        # Its metadata asks for a package that reports the use of its converter, which the server has no use for.
        _pip(python, *constraints, "--no-deps", "openvino")
    if "torch" in also:
        # As in the Makefile: torch alone from its own index, what it needs from the usual one.
        if index := machine.torch_index_url():
            _pip(python, *constraints, "--no-deps", "--index-url", index, "torch")
        _pip(python, *constraints, "torch")


def _pip(python: Path, *arguments: str, what: str = "the server") -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    finished = subprocess.run(command, check=False)
    if finished.returncode:
        raise DeployError(f"pip could not install {what}; its own words are above. Run the same command again")


def _digest() -> str:
    return hashlib.sha256(folders.CONSTRAINTS.read_bytes()).hexdigest()


def _megabytes(folder: Path) -> int:
    files: Iterable[Path] = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return round(sum(path.stat().st_size for path in files) / 1e6)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
