"""Where things lie: what this package brings, and what `dfdeploy setup` installs."""

import os
import shutil
from pathlib import Path

import dfcontract
from dfdeploy import backends

BACKENDS = Path(backends.__file__).parent
CONTRACT = Path(dfcontract.__file__).parent
CONSTRAINTS = Path(__file__).with_name("constraints-server.txt")


def backend_names() -> list[str]:
    """Our backends: folders with a ``model.py``."""
    return sorted(model.parent.name for model in BACKENDS.glob("*/model.py"))


def backend_content(name: str) -> dict[str, Path]:
    """What a server's folder of one backend holds: path within the folder → file or folder of ours.

    Each has the whole contract and all backends' modules, so that none needs to know what another one shares.
    """
    return {"model.py": BACKENDS / name / "model.py", "dfcontract": CONTRACT, "dfdeploy/backends": BACKENDS}


def write_backend(name: str, folder: Path) -> None:
    """Copy one of our backends into Triton's backend directory, as ``<folder>/<name>``: Triton refuses links."""
    for place, source in backend_content(name).items():
        target = folder / name / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)


def cache() -> Path:
    """The user's folder for what can be made again: XDG_CACHE_HOME/dfserve, usually ``~/.cache/dfserve``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dfserve"


def checkout() -> Path | None:
    """The project's folder, where this package is run from its source; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "deploy").is_dir() else None


def server_environment(python_version: str) -> Path:
    """DFSERVE_SERVER_ENV, else ``.venv-server`` in the project, or without the project in the user's cache folder."""
    if chosen := os.environ.get("DFSERVE_SERVER_ENV"):
        return Path(chosen)
    root = checkout()
    return root / ".venv-server" if root else cache() / f"server-{python_version}"


def perf_analyzer() -> Path:
    """DFSERVE_PERF_ANALYZER, else a folder in the user's cache folder."""
    return Path(os.environ.get("DFSERVE_PERF_ANALYZER") or cache() / "perf_analyzer")
