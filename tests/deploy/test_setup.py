"""``dfdeploy setup``: what it does and when. Pip stands aside here: the whole suite runs on what it installed."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dfdeploy import environment, folders, gpus, setup
from dfdeploy.__main__ import main
from dfdeploy.environment import ServerEnvironment
from dfdeploy.errors import DeployError, EnvironmentIncomplete
from dfdeploy.gpus import Gpu


class Pip:
    """Records what is installed; fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing = ""

    def __call__(self, python: Path, *arguments: str, what: str = "the server") -> None:
        if self.failing and self.failing in arguments:
            raise DeployError(f"pip could not install {what}")
        self.calls.append(" ".join(argument for argument in arguments if argument != str(folders.CONSTRAINTS)))


def _without_pip(run: Callable[..., object]) -> Callable[..., object]:
    """As `subprocess.run`, but a new environment gets no pip: nobody calls it here, and it takes seven seconds."""

    def quicker(command: Sequence[object], **options: object) -> object:
        return run([*command, "--without-pip"] if "venv" in command else command, **options)

    return quicker


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip()
    monkeypatch.setattr(setup, "_pip", pip)
    monkeypatch.setattr(setup.subprocess, "run", _without_pip(subprocess.run))
    monkeypatch.setattr(setup.machine, "torch_index_url", lambda: "https://example.org/cpu")
    monkeypatch.setattr(
        environment, "find", lambda folder: ServerEnvironment(folder, "3.11", Path("/lib"), folder / "packages")
    )
    return pip


BASE = ["--constraint numpy onnxruntime", "--constraint --no-deps nvidia-pytriton"]


def test_it_is_made_once(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "server"
    assert main(["setup", f"--server-env={folder}"]) == 0
    assert pip.calls == BASE
    assert (folder / "bin" / "python").exists()
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"server environment: installing into {folder} (about 330 MB) ..."
    assert last.startswith(f"server environment: {folder} (Python 3.11, ")
    assert main(["setup", f"--server-env={folder}"]) == 0
    assert pip.calls == BASE
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_torch_comes_on_demand_and_stays(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.make_environment(tmp_path / "server")
    setup.make_environment(tmp_path / "server", with_torch=True)
    torch = ["--constraint --no-deps --index-url https://example.org/cpu torch", "--constraint torch"]
    assert pip.calls == [*BASE, *BASE, *torch]
    setup.make_environment(tmp_path / "server")
    assert pip.calls == [*BASE, *BASE, *torch]
    newer = tmp_path / "constraints.txt"
    newer.write_text("numpy==9\n")
    monkeypatch.setattr(folders, "CONSTRAINTS", newer)
    kept = tmp_path / "server" / "kept"
    kept.touch()
    setup.make_environment(tmp_path / "server")
    assert pip.calls[-2:] == torch
    assert kept.exists()  # brought up to date, not made anew


def test_openvino_comes_on_demand_and_stays(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "server"
    assert main(["setup", f"--server-env={folder}", "--openvino"]) == 0
    openvino = "--constraint --no-deps openvino"
    assert pip.calls == [*BASE, openvino]
    assert "(about 510 MB)" in capsys.readouterr().out
    assert main(["setup", f"--server-env={folder}", "--torch"]) == 0
    assert pip.calls[3:6] == [*BASE, openvino]
    assert pip.calls[-1] == "--constraint torch"
    assert "(about 1,380 MB)" in capsys.readouterr().out


@pytest.mark.parametrize("failing", ["numpy", "nvidia-pytriton"])
def test_an_interrupted_one_is_made_anew(pip: Pip, tmp_path: Path, failing: str) -> None:
    pip.failing = failing
    with pytest.raises(DeployError, match="pip could not install"):
        setup.make_environment(tmp_path / "server")
    half = tmp_path / "server" / "half-a-package"
    half.touch()
    pip.failing, pip.calls = "", []
    setup.make_environment(tmp_path / "server")
    assert pip.calls == BASE
    assert not half.exists()


def test_an_interrupted_update_is_made_anew(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.make_environment(tmp_path / "server")
    pip.failing, pip.calls = "torch", []
    with pytest.raises(DeployError):
        setup.make_environment(tmp_path / "server", with_torch=True)
    pip.failing, pip.calls = "", []
    setup.make_environment(tmp_path / "server")
    assert pip.calls == BASE


@pytest.mark.parametrize(
    ("driver", "packages"),
    [
        ("580.65.06", "onnxruntime-gpu[cuda,cudnn]==1.31.1 nvidia-cublas~=13.0"),
        ("570.10", "onnxruntime-gpu[cuda,cudnn]==1.26.0 nvidia-cublas-cu12~=12.0"),
    ],
)
def test_a_gpu_takes_the_place_of_the_cpus_build(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, packages: str
) -> None:
    setup.make_environment(tmp_path / "server")
    (beside := tmp_path / "server" / "onnxruntime-for-cpus").touch()
    monkeypatch.setattr(gpus, "listed", lambda: [Gpu("T4", driver, 7.5)])
    assert main(["setup", f"--server-env={tmp_path / 'server'}", "--gpu"]) == 0
    with_gpu = [f"--constraint numpy {packages}", BASE[1]]
    assert pip.calls == [*BASE, *with_gpu]
    assert not beside.exists()  # both are the module onnxruntime: made anew
    setup.make_environment(tmp_path / "server")  # it stays
    assert pip.calls == [*BASE, *with_gpu]


def test_a_gpu_without_a_driver_that_fits_is_refused(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpus, "listed", lambda: [Gpu("K80", "470.82.01", 3.7)])
    assert main(["setup", f"--server-env={tmp_path / 'server'}", "--gpu"]) == 1
    assert "expected a driver of release R525 or newer, found 470.82.01" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeployError, match="no nvidia-smi"):
        gpus.runtime()
    assert pip.calls == []


def test_another_folder_is_left_alone(pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")
    assert main(["setup", f"--server-env={tmp_path}"]) == 1
    assert f"{tmp_path} is no virtual environment" in capsys.readouterr().err
    assert precious.read_text() == "years of work"
    assert pip.calls == []


def test_no_venv_module_names_the_package(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "The virtual environment was not created successfully because ensurepip is not available."
    monkeypatch.setattr(setup.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, words, stderr=""))
    with pytest.raises(EnvironmentIncomplete, match=r"apt install python3\.\d+-venv$"):
        setup.make_environment(tmp_path / "server")


def test_pips_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1))
    with pytest.raises(DeployError, match=r"pip could not install the server; .* Run the same command again"):
        setup._pip(tmp_path / "python", "numpy")
    monkeypatch.setattr(folders, "perf_analyzer", lambda: tmp_path)
    with pytest.raises(DeployError, match="pip could not install perf_analyzer"):
        setup.install_perf_analyzer()


def test_perf_analyzer_is_installed_once_where_bench_looks(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DFSERVE_PERF_ANALYZER", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "dfserve" / "perf_analyzer"
    assert folders.perf_analyzer() == folder
    folder.mkdir(parents=True)
    setup.install_perf_analyzer()
    setup.install_perf_analyzer()
    assert pip.calls == [f"--no-deps --upgrade --target {folder} tritonclient==2.51.0 nvidia-cuda-runtime-cu12"]
    (folder / "bin").mkdir()
    program = folder / "bin" / "perf_analyzer"
    program.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH: $*"\n')
    program.chmod(0o755)
    said = subprocess.run([folder / "perf_analyzer", "-m", "a b"], capture_output=True, text=True, check=True).stdout
    assert said == f"{folder}/nvidia/cuda_runtime/lib: -m a b\n"
