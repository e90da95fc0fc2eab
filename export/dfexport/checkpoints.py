"""From a checkpoint on disk to a state dict; a stranger's file is data, never code."""

import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfexport.averaging import average, checkpoint_files, digest_of
from dfexport.download import download, verify
from dfexport.errors import CheckpointInvalid
from dfexport.spec import DetectorSpec, Weights
from dfexport.state import State

RANDOM_DIGEST = "random"


@dataclass(frozen=True)
class LoadedWeights:
    """A state dict and where it came from.

    Attributes:
        state: published key → tensor.
        kind: ``pretrained``, ``custom`` or ``random``.
        sha256: digest of the file or files (``averaging.digest_of``), or ``random``.
        source: page or path.
    """

    state: State
    kind: Weights
    sha256: str
    source: str


def published(spec: DetectorSpec, folder: Path) -> LoadedWeights:
    """Take the authors' weights from ``folder``, else download them into it.

    Raises:
        CheckpointMissing: not there, and not to be downloaded.
        CheckpointInvalid: another file than the published one, or one that can't be read.
    """
    paths = []
    for remote in spec.checkpoint.files:
        path = folder / remote.name
        if not path.exists():
            path = download(remote, spec.checkpoint, folder)
        refuse_web_page(path)
        verify(path, remote)
        paths.append(path)
    return LoadedWeights(load_files(paths), "pretrained", digest_of(paths), spec.checkpoint.page)


def custom(path: Path, averaged: Sequence[str] = ()) -> LoadedWeights:
    """Take a user's own weights of a known architecture.

    Args:
        path: a file, or a folder (see ``averaging.checkpoint_files``).
        averaged: the files that the family averages.

    Raises:
        CheckpointMissing: no such file, or a folder without a checkpoint.
        CheckpointInvalid: a file that can't be read, or files that are not of one network.
    """
    files = checkpoint_files(path, averaged)
    return LoadedWeights(load_files(files), "custom", digest_of(files), path.name)


def load_files(files: Sequence[Path]) -> dict[str, Tensor]:
    """Read a checkpoint; of several files, their average."""
    if len(files) == 1:
        return load_state(files[0])
    return average((file.name, load_state(file)) for file in files)


def refuse_web_page(path: Path) -> None:
    """Say so when a download stopped at a confirmation or error page.

    Raises:
        CheckpointInvalid: it did.
    """
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html")):
        raise CheckpointInvalid(
            f"{path} is a web page, not a checkpoint: the download stopped at a confirmation or error page. "
            "Delete it and download the file in a browser."
        )


def load_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: ``torch.save`` (weights only, never a pickle's code) or safetensors.

    ``DataParallel``'s ``module.`` prefix is stripped, and a training checkpoint's ``state_dict`` or ``model`` entry is
    taken.

    Raises:
        CheckpointInvalid: a web page, a truncated or foreign file, or one that wants to run code.
    """
    refuse_web_page(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise CheckpointInvalid(f"{path}: expected a state dict (name → tensor), found {type(content).__name__}")
    return {key.removeprefix("module."): value for key, value in content.items()}


def _read_torch(path: Path) -> Any:
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _check_archive(path)
    try:
        # A file that can be mapped is read where it lies: a gigabyte of weights is not copied.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise CheckpointInvalid(
            f"{path} holds more than weights and was not opened, since unpickling it could run code; "
            f"save the model's state_dict() alone. ({str(error).splitlines()[0]})"
        ) from None
    except OSError as error:
        raise CheckpointInvalid(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # bytes of another format can end the unpickler in any way
        raise CheckpointInvalid(
            f"{path} ({path.stat().st_size:,} bytes) is truncated or not a PyTorch checkpoint: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None


def _check_archive(path: Path) -> None:
    """Compare the checksums that ``torch.save`` wrote, since loading doesn't.

    Raises:
        CheckpointInvalid: one differs, or a record is packed, as only other programs write it: a small file could
            then fill the memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = next((info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED), None)
            if packed is not None:
                raise CheckpointInvalid(f"{path}: {packed.filename} is compressed; save it with torch.save")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointInvalid(f"{path} ({path.stat().st_size:,} bytes) is truncated or damaged: {error}") from None
    if damaged is not None:
        raise CheckpointInvalid(f"{path}: {damaged} is damaged, its checksum does not fit; get the file again")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointInvalid(f"{path} is truncated or not a safetensors file: {error}") from None
