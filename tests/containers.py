"""Containers for the tests: the engine and the image that the environment names, and what is asked of one that runs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENGINE = os.environ.get("ENGINE") or next(filter(shutil.which, ("docker", "podman")), "")
TAG = os.environ.get("TAG", "dfserve:cpu")


@dataclass
class Running:
    """A container of an image, and where it is reached."""

    name: str
    ports: dict[str, int]

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.ports['grpc']}"

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ENGINE, "exec", self.name, *command], capture_output=True, text=True, check=False)


def engine(*arguments: str) -> str:
    finished = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@contextmanager
def detached(command: list[str], name: str, ports: dict[str, int]) -> Iterator[Running]:
    """`docker run …` in the background, while the `with` lasts."""
    subprocess.run([*command[:2], f"--name={name}", "--detach", *command[2:]], check=True, capture_output=True)
    try:
        yield Running(name, ports)
    finally:
        subprocess.run([ENGINE, "rm", "--force", name], check=False, capture_output=True)


def make_readable(folder: Path) -> None:
    """For the container's user, who is another one."""
    for path in (folder, *folder.parents[:3], *folder.glob("*")):
        path.chmod(0o755)
