"""Processes that measure what this one must not import: the server's own ONNX Runtime, and the exporter's PyTorch.

Each reads a question a line and answers with a line of JSON.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from dfcontract.tensors import WARMUP_FILE
from dfdeploy import environment
from dfdeploy.bench import direct_worker
from dfdeploy.errors import DeployError
from dfdeploy.repository import parameters, read_config


class NotMeasured(DeployError):
    """A figure that can't be had here; says why."""


class Worker:
    """One such process, as a context manager.

    Args:
        what: it is, for errors.
        command: that starts it.
        variables: its environment; this process's unless given.
    """

    def __init__(self, what: str, command: list[str], variables: Mapping[str, str] | None = None) -> None:
        self.what, self._last_error = what, ""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def ask(self, **question: object) -> dict[str, Any]:
        """Its answer.

        Raises:
            NotMeasured: it can't answer, or has died.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise NotMeasured(f"{self.what} has no pipes")
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # what it said before it ended is still to be read
            pass
        line = self.process.stdout.readline()
        if not line:
            died = f"{self.what} has died (exit status {self.process.wait()}); its words are above"
            raise NotMeasured(self._last_error or died)
        answer: dict[str, Any] = json.loads(line)
        self._last_error = str(answer.get("error", ""))
        if self._last_error:
            raise NotMeasured(self._last_error)
        return answer


def is_onnx(model_dir: Path) -> bool:
    """Whether ONNX Runtime serves a model."""
    return bool(read_config(model_dir).backend == "onnxruntime")


@contextmanager
def direct(model_dir: Path, profile: str, environment_dir: Path | None) -> Iterator[Worker]:
    """The backend's own runner on a model's newest version, in the server's environment but without a server."""
    found = environment.find(environment_dir)
    versions = sorted((folder for folder in model_dir.iterdir() if folder.name.isdecimal()), key=lambda f: int(f.name))
    precision = parameters(model_dir).get("precision", "fp32")
    with tempfile.TemporaryDirectory(prefix="dfserve-bench-") as folder:
        found.write_backends(Path(folder))
        packages_dir, python = Path(folder) / "onnxruntime", found.folder / "bin" / "python"
        options = (packages_dir, versions[-1], model_dir / WARMUP_FILE, profile, precision)
        command = [str(part) for part in (python, direct_worker.__file__, *options)]
        with Worker("the session without a server", command, found.variables()) as worker:
            yield worker


def pytorch(model_dir: Path, device: str = "cpu") -> Worker:
    """PyTorch on the detector that a model was built from.

    Raises:
        NotMeasured: the room that has PyTorch is not installed.
    """
    if importlib.util.find_spec("dfexport") is None or importlib.util.find_spec("torch") is None:
        raise NotMeasured("PyTorch is not installed: pip install 'dfserve[bench]'")
    command = [sys.executable, "-m", "dfexport.speed", str(model_dir), f"--device={device}"]
    return Worker("PyTorch's process", command)
