"""A model's settings for a CPU: as tuned, or again as it was built.

They are in two files: ``configs/cpu.pbtxt``, which our servers read, and ``configs/nvidia_cpu.pbtxt``, which NVIDIA's
image reads. Beside each that was tuned lies what dfexport wrote, ``<file>.built``, so that it undoes a tuning.
"""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from dfdeploy.backends.common.options import THREADS_PARAMETER
from dfdeploy.repository import read_config, read_config_file

CPU, NVIDIA_CPU = (Path("configs") / f"{profile}.pbtxt" for profile in ("cpu", "nvidia_cpu"))
NOTE = "tuned"  # a parameter of the configuration: when and where, and what came of it
HEADER = "# Written by dfdeploy tune; undo it with dfdeploy tune {name} --undo\n"


def as_built(folder: Path) -> Any:
    """The configuration that our servers read, as dfexport wrote it; Triton's ``ModelConfig`` message.

    Raises:
        RepositoryUnusable: it can't be read.
    """
    return read_config_file(_built(folder, CPU))


def write(folder: Path, *, threads: int | None, max_batch_size: int, note: str) -> None:
    """Write the configurations: as they were built, but for these.

    Args:
        folder: the model's.
        threads: of one inference; None for all cores, wherever the repository is served.
        max_batch_size: clips of one inference, where a configuration allows as many.
        note: for a reader of the configuration.
    """
    for file in _files(folder):
        built = _built(folder, file)
        config = read_config_file(built)
        _replace(_kept(folder, file), built.read_text(encoding="utf-8"))
        config.max_batch_size = min(max_batch_size, config.max_batch_size)
        config.parameters[NOTE].string_value = note
        if threads is not None:
            config.parameters[THREADS_PARAMETER[config.backend]].string_value = str(threads)
        _replace(folder / file, HEADER.format(name=folder.name) + text_format.MessageToString(config))


def undo(folder: Path) -> bool:
    """Write the configurations as they were built; whether that changed anything."""
    tuned = [file for file in _files(folder) if _is_tuned(folder, file)]
    for file in tuned:
        _replace(folder / file, _built(folder, file).read_text(encoding="utf-8"))
        _kept(folder, file).unlink(missing_ok=True)
    return bool(tuned)


def _files(folder: Path) -> list[Path]:
    """Those that there are; a model that was built by an earlier version has none for NVIDIA's image."""
    return [CPU, *(file for file in (NVIDIA_CPU,) if (folder / file).is_file())]


def _is_tuned(folder: Path, file: Path) -> bool:
    return NOTE in read_config(folder, file.stem).parameters


def _built(folder: Path, file: Path) -> Path:
    """What dfexport wrote into a file."""
    if (kept := _kept(folder, file)).is_file():
        return kept
    # Earlier versions kept it in config.pbtxt alone.
    return folder / "config.pbtxt" if _is_tuned(folder, file) or not (folder / file).is_file() else folder / file


def _kept(folder: Path, file: Path) -> Path:
    return folder / f"{file}.built"


def _replace(target: Path, text: str) -> None:
    """In one step: a server that starts meanwhile reads the old file or the new one."""
    target.parent.mkdir(exist_ok=True)
    written = target.with_name(f"{target.name}.new")
    written.write_text(text, encoding="utf-8")
    written.replace(target)
