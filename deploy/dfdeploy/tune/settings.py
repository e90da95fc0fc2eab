"""A model's settings for a CPU: ``configs/cpu.pbtxt`` as tuned, or again as it was built.

``config.pbtxt`` holds what dfexport wrote into ``configs/cpu.pbtxt`` and is never touched, so that it undoes a tuning.
"""

from pathlib import Path

from google.protobuf import text_format

from dfdeploy.backends.common.options import THREADS_PARAMETER
from dfdeploy.repository import read_config

PROFILE = Path("configs") / "cpu.pbtxt"
BUILT = "config.pbtxt"
NOTE = "tuned"  # a parameter of the configuration: when and where, and what came of it
HEADER = "# Written by dfdeploy tune; undo it with dfdeploy tune {name} --undo\n"


def write(folder: Path, *, threads: int | None, max_batch_size: int, note: str) -> None:
    """Write the profile: as it was built, but for these.

    Args:
        folder: the model's.
        threads: of one inference; None for all cores, wherever the repository is served.
        max_batch_size: clips of one inference.
        note: for a reader of the configuration.
    """
    config = read_config(folder)
    config.max_batch_size = max_batch_size
    config.parameters[NOTE].string_value = note
    if threads is not None:
        config.parameters[THREADS_PARAMETER[config.backend]].string_value = str(threads)
    _replace(folder, HEADER.format(name=folder.name) + text_format.MessageToString(config))


def undo(folder: Path) -> bool:
    """Write the profile as it was built; whether that changed anything."""
    built = (folder / BUILT).read_text(encoding="utf-8")
    if (folder / PROFILE).is_file() and (folder / PROFILE).read_text(encoding="utf-8") == built:
        return False
    _replace(folder, built)
    return True


def _replace(folder: Path, text: str) -> None:
    """In one step: a server that starts meanwhile reads the old file or the new one."""
    target = folder / PROFILE
    target.parent.mkdir(exist_ok=True)
    written = target.with_suffix(".pbtxt.new")
    written.write_text(text, encoding="utf-8")
    written.replace(target)
