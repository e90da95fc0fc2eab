"""The product from its wheel, outside the checkout: each extra in an environment of its own, and the walk across them.

Left out of `make test`; `make test-wheel` and `.ci/run` run it. Nothing here imports the packages from the checkout.
"""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from dfdeploy.machine import torch_index_url

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]

PROJECT = Path(__file__).resolve().parents[2]
ROOTS = ("contract", "client", "export", "eval", "page", "deploy")
COMMANDS = ("dfclient", "dfdeploy", "dfeval", "dfexport", "dfpage")
EXTRAS = ("", "bulk", "containers", "export", "eval", "parquet", "page", "serve", "bench", "lab")
# What is asked of a command whose room is not installed, and the extra that it must name.
UNFURNISHED = [
    ("export", ["dfexport", "build", "aasist_l", "--weights", "random"]),
    ("eval", ["dfeval", "metrics", "scores.csv", "--protocol", "protocol.csv", "--protocol-format", "csv"]),
    ("page", ["dfpage", "--port", "0"]),
    ("serve", ["dfdeploy", "serve"]),
]
# A program's entry point, asked for the help of each of its commands: a process for each would double the tests' time.
HELP = """
import contextlib, io, sys
from importlib.metadata import entry_points
program, *commands = sys.argv[1:]
(entry,) = entry_points(group="console_scripts", name=program)
main = entry.load()
for command in commands:
    try:
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            main([command, "--help"])
    except SystemExit as ending:
        print(command, ending.code, shown.getvalue().startswith(f"usage: {program} {command}"))
"""
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
LABELS = {"human": "bonafide", "synthetic": "spoof", "synthetic_diphone": "spoof"}


@dataclass(frozen=True)
class Distribution:
    """What `python -m build` makes: a source archive, and a wheel made from that."""

    wheel: Path
    sdist: Path

    def wheel_files(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel and one extra."""

    folder: Path

    def run(self, *command: object, **options: object) -> subprocess.CompletedProcess[str]:
        """Run one of its programs from an empty folder of its own, blind to the checkout."""
        return subprocess.run(
            self.command(*command),
            cwd=self.outside,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def command(self, program: object, *arguments: object) -> list[str]:
        return [str(self.folder / "bin" / str(program)), *map(str, arguments)]

    @property
    def outside(self) -> Path:
        folder = self.folder.parent / "outside"
        folder.mkdir(exist_ok=True)
        return folder

    def variables(self) -> dict[str, str]:
        hidden = ("PYTHONPATH", "DFSERVE_SERVER_ENV", "VIRTUAL_ENV", "WEIGHTS_DIR")
        kept = {key: value for key, value in os.environ.items() if key not in hidden}
        return kept | {"XDG_CACHE_HOME": str(self.folder.parent / "cache"), "COLUMNS": "200"}


@dataclass(frozen=True)
class Environments:
    """Extra → its environment, which whoever asks waits for."""

    made: dict[str, Future[Environment]]

    def __getitem__(self, extra: str) -> Environment:
        return self.made[extra].result()


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """Built from what git knows of the checkout, so that no left-over file gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, names.stdout.decode().split("\0")):
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((PROJECT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--outdir", out, source], capture_output=True, text=True, check=True)
    return Distribution(next(out.glob("*.whl")), next(out.glob("*.tar.gz")))


@pytest.fixture(scope="session")
def packages(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of ours and of all that the extras ask for, fetched once: the environments are installed from them."""
    folder = tmp_path_factory.mktemp("packages")
    fetch = [*PIP, "wheel", "--wheel-dir", folder, "--find-links", folder, "-c", PROJECT / "constraints.txt"]
    if index := torch_index_url():
        subprocess.run([*fetch, "--no-deps", "--index-url", index, "torch"], check=True)
    extras = ",".join(filter(None, EXTRAS))
    subprocess.run([*fetch, f"dfserve[{extras}] @ {distribution.wheel.as_uri()}"], check=True)
    return folder


@pytest.fixture(scope="session")
def environments(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environments]:
    """Two are made at a time, while the tests go on with those that are there."""

    def make(folder: Path, extra: str) -> Environment:
        venv.create(folder, symlinks=True)  # without pip, which ours stands in for: it would take most of the time
        install = [*PIP, "--python", folder / "bin" / "python", "install", "--no-compile"]
        own = f"dfserve[{extra}]" if extra else "dfserve"
        constraints = ["-c", PROJECT / "constraints.txt"]
        subprocess.run([*install, "--no-index", "--find-links", packages, *constraints, own], check=True)
        return Environment(folder)

    pool = ThreadPoolExecutor(2)
    folders = {extra: tmp_path_factory.mktemp(extra or "base") / "venv" for extra in EXTRAS}
    yield Environments({extra: pool.submit(make, folder, extra) for extra, folder in folders.items()})
    pool.shutdown(cancel_futures=True)


def test_the_wheel_holds_every_module_of_every_room(distribution: Distribution):
    modules = {
        path.relative_to(PROJECT / root).as_posix() for root in ROOTS for path in (PROJECT / root).glob("df*/**/*.py")
    }
    assert {name for name in distribution.wheel_files() if name.endswith(".py")} == modules


def test_the_wheel_has_no_stray_package(distribution: Distribution):
    tops = {name.split("/")[0] for name in distribution.wheel_files()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "dfcontract",
        "dfclient",
        "dfexport",
        "dfeval",
        "dfpage",
        "dfdeploy",
    }


@pytest.mark.parametrize(
    "data",
    [
        *(f"dfdeploy/backends/{name}/model.py" for name in ("live", "onnxruntime", "openvino", "pytorch")),
        "dfdeploy/constraints-server.txt",
        "dfeval/report.html.j2",
        *(f"dfeval/notebooks/{name}.ipynb" for name in ("evaluation", "inference")),
        *(f"dfexport/recordings/{name}.flac" for name in LABELS),
        *(f"dfpage/static/{path.name}" for path in (PROJECT / "page/dfpage/static").iterdir()),
        *(f"{package}/py.typed" for package in ("dfcontract", "dfclient", "dfexport", "dfeval", "dfpage", "dfdeploy")),
    ],
)
def test_the_wheel_brings_its_data(distribution: Distribution, data: str):
    assert data in distribution.wheel_files()


def test_licences_travel_with_it(distribution: Distribution):
    names = {Path(name).name for name in distribution.wheel_files() if ".dist-info/licenses/" in name}
    assert names == {"LICENSE", "NOTICE"}


def test_the_source_archive_has_what_the_wheel_has(distribution: Distribution):
    with tarfile.open(distribution.sdist) as archive:
        inside = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    in_wheel = {name for name in distribution.wheel_files() if ".dist-info/" not in name}
    assert in_wheel <= {"/".join(name.split("/")[1:]) for name in inside}


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_command_has_its_help(environments: Environments, extra: str):
    """Whatever is not installed: help, of the program and of each of its commands, needs no room's furniture."""
    environment = environments[extra]
    for program in COMMANDS:
        main = environment.run(program, "--help")
        assert main.returncode == 0, main.stderr
        commands = re.findall(r"^    ([a-z]+)\b", main.stdout, flags=re.MULTILINE)
        assert commands or program == "dfpage"  # which does one thing
        each = environment.run("python", "-c", HELP, program, *commands)
        assert (each.stdout.splitlines(), each.stderr) == ([f"{command} 0 True" for command in commands], "")


@pytest.mark.parametrize(("extra", "command"), UNFURNISHED)
def test_a_missing_extra_is_one_line(environments: Environments, extra: str, command: list[str]):
    environment = environments[""]
    (environment.outside / "scores.csv").write_text("utt_id,score\na,1\nb,2\n")
    (environment.outside / "protocol.csv").write_text("utt_id,label\na,spoof\nb,bonafide\n")
    finished = environment.run(*command)
    assert finished.returncode == 1
    assert f"pip install 'dfserve[{extra}]'" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1


def test_the_base_install_never_brings_torch(environments: Environments):
    each = "from importlib.metadata import distributions as all; [print(f'{one.name}==') for one in all()]"
    listed = environments[""].run("python", "-c", each).stdout.lower()
    assert "tritonclient" in listed
    assert not re.search(
        r"^(torch|transformers|onnx|onnxruntime|scipy|pandas|scikit-learn)==", listed, flags=re.MULTILINE
    )


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_the_server_environment_is_made_in_the_cache_folder(environments: Environments):
    environment = environments["serve"]
    finished = environment.run("dfdeploy", "setup")
    assert finished.returncode == 0, finished.stderr
    cache = environment.folder.parent / "cache" / "dfserve"
    made = list(cache.glob("server-*/bin/python"))
    assert len(made) == 1
    said = finished.stdout.replace("\n", "")
    assert str(cache) in said
    assert re.search(r"\d+ [MG]B", said)


@pytest.fixture(scope="session")
def repository(environments: Environments) -> Path:
    """Built by the extra `export`, with random weights: what is proven is the way, not the scores."""
    environment = environments["export"]
    finished = environment.run("dfexport", "build", "aasist_l", "--weights", "random", "--repository", "models")
    assert finished.returncode == 0, finished.stderr
    return environment.outside / "models"


@pytest.fixture(scope="session")
def recordings(environments: Environments) -> Path:
    """The example recordings, as the wheel brings them."""
    where = "from importlib.resources import files; print(files('dfexport') / 'recordings')"
    folder = Path(environments["export"].run("python", "-c", where).stdout.strip())
    assert {path.stem for path in folder.glob("*.flac")} == set(LABELS)
    return folder


@pytest.fixture(scope="session")
def url(environments: Environments, repository: Path) -> Iterator[str]:
    """Served by the extra `serve`, after `dfdeploy setup`."""
    environment = environments["serve"]
    assert environment.run("dfdeploy", "setup").returncode == 0
    grpc, http, metrics = free_ports(3)
    ports = ["--grpc-port", grpc, "--http-port", http, "--metrics-port", metrics]
    log = environment.outside / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            environment.command("dfdeploy", "serve", "--repository", repository, *ports),
            cwd=environment.outside,
            env=environment.variables(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        address = f"127.0.0.1:{grpc}"
        deadline = time.monotonic() + 120
        while environments[""].run("dfclient", "health", "--url", address).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130), log.read_text()


def test_export_serve_score_metrics(environments: Environments, url: str, recordings: Path):
    """Each step in the environment of its own extra; files and a protocol are all that they share."""
    base, evaluation = environments[""], environments["eval"]
    scores = base.outside / "walk.csv"
    scored = base.run("dfclient", "score", recordings, "--model", "aasist_l", "--url", url, "--out", scores)
    assert scored.returncode == 0, scored.stderr
    rows = list(csv.DictReader(scores.open(newline="")))
    assert {row["utt_id"] for row in rows} == set(LABELS)
    assert {row["weights"] for row in rows} == {"random"}
    protocol = evaluation.outside / "protocol.csv"
    protocol.write_text("utt_id,label\n" + "".join(f"{utt_id},{label}\n" for utt_id, label in LABELS.items()))
    figures = evaluation.run("dfeval", "metrics", scores, "--protocol", protocol, "--protocol-format", "csv")
    assert figures.returncode == 0, figures.stderr
    assert "EER" in figures.stdout
    assert "random" in figures.stdout.lower()
