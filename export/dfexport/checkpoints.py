"""From a checkpoint on disk to a state dict; a stranger's file is data, never code."""

import pickle
import re
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
from dfexport.licence import show_and_ask
from dfexport.spec import DetectorSpec, Weights
from dfexport.state import State
from dfexport.wrapping import Unwrapped, once_each, unwrap

RANDOM_DIGEST = "random"
PICKLE = b"\x80"  # how torch.save's files began before they were zip archives
MAX_SAFETENSORS_HEADER_BYTES = 100_000_000  # the format's own limit
_WEB_PAGE = (
    "a web page, not a checkpoint: the download stopped at a confirmation or error page. Delete it and download the "
    "file in a browser."
)
# How a file begins, in lower case → what it is.
OTHER_KINDS = {
    b"<!doctype": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"version https://git-lfs": "a Git LFS pointer, not the checkpoint: run git lfs pull where it was cloned, or "
    "download the file itself",
}
# How a name inside a zip archive ends → what the archive is.
OTHER_ARCHIVES = {
    "/constants.pkl": "a TorchScript archive, a program and not weights alone",
    "/models/model.json": "a program of torch.export, not weights alone",
    ".npy": "a NumPy archive, not a PyTorch checkpoint",
}
# Where a pickled object's class comes from → what the object is.
OBJECTS = {
    "numpy.": "a NumPy value",
    "torch.nn.": "a whole network",
    "argparse.": "command-line arguments",
}


@dataclass(frozen=True)
class LoadedWeights:
    """A state dict and where it came from.

    Attributes:
        state: published key → tensor.
        kind: ``pretrained``, ``custom`` or ``random``.
        sha256: digest of the file or files (``averaging.digest_of``), or ``random``.
        source: page or path.
        notes: what was taken off or chosen when it was read, for the user.
    """

    state: State
    kind: Weights
    sha256: str
    source: str
    notes: tuple[str, ...] = ()


def published(spec: DetectorSpec, folder: Path, *, accept_licence: bool = False) -> LoadedWeights:
    """Take the authors' weights from ``folder``, else download them into it, with their licence shown first.

    Args:
        spec: whose.
        folder: where to.
        accept_licence: whether the user has agreed to a licence that restricts the use.

    Raises:
        LicenceNotAccepted: they have not.
        CheckpointMissing: not there, and not to be downloaded.
        CheckpointInvalid: another file than the published one, or one that can't be read.
    """
    paths = []
    for remote in spec.checkpoint.files:
        path = folder / remote.name
        if not path.exists():
            if remote.url is not None:
                show_and_ask(spec, accepted=accept_licence)
            path = download(remote, spec.checkpoint, folder)
        refuse_other_kinds(path)
        verify(path, remote)
        paths.append(path)
    read = load_files(paths)
    return LoadedWeights(read.state, "pretrained", digest_of(paths), spec.checkpoint.page, read.notes)


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
    read = load_files(files)
    return LoadedWeights(read.state, "custom", digest_of(files), path.name, read.notes)


def load_files(files: Sequence[Path]) -> Unwrapped:
    """Read a checkpoint; of several files, their average."""
    notes: list[str] = []

    def state_of(file: Path) -> dict[str, Tensor]:
        unwrapped = load_state(file)
        notes.extend(unwrapped.notes)
        return unwrapped.state

    state = state_of(files[0]) if len(files) == 1 else average((file.name, state_of(file)) for file in files)
    return Unwrapped(state, once_each(notes))


def load_state(path: Path) -> Unwrapped:
    """Read a state dict: ``torch.save`` (weights only, never a pickle's code) or safetensors, whatever their name.

    Raises:
        CheckpointInvalid: a truncated file, one of another kind, or one that wants to run code.
    """
    refuse_other_kinds(path)
    content = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    try:
        return unwrap(content)
    except CheckpointInvalid as error:
        raise CheckpointInvalid(f"{path}: {error}") from None


def refuse_other_kinds(path: Path) -> None:
    """Say what a file is that only stands where a checkpoint should be.

    Raises:
        CheckpointInvalid: it is such a file.
    """
    head = _head(path, 512).lstrip().lower()
    for beginning, what in OTHER_KINDS.items():
        if head.startswith(beginning):
            raise CheckpointInvalid(f"{path} is {what}")


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _is_safetensors(path: Path) -> bool:
    """By its beginning: a header's length in eight bytes, then that header, in JSON; else by a true name."""
    head = _head(path, 9)
    begins_so = head[8:] == b"{" and int.from_bytes(head[:8], "little") <= MAX_SAFETENSORS_HEADER_BYTES
    is_torchs = head.startswith(PICKLE) or zipfile.is_zipfile(path)
    return begins_so or (path.suffix == ".safetensors" and not is_torchs)


def _read_torch(path: Path) -> Any:
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _check_archive(path)
    try:
        if path.suffix == ".safetensors":  # torch goes by the name of a file that it opens itself
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        # A file that can be mapped is read where it lies: a gigabyte of weights is not copied.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except OSError as error:
        raise CheckpointInvalid(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # bytes of another format can end the unpickler in any way
        # torch's own words are not passed on: they advise loading with weights_only=False.
        refused = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is None:
            size = f"{path.stat().st_size:,} bytes"
            raise CheckpointInvalid(f"{path} ({size}) is truncated or not a PyTorch checkpoint") from None
        raise CheckpointInvalid(
            f"{path} holds more than weights, {_object_of(refused[1])}, and was not opened, since unpickling that "
            "could run code; save the network's state_dict() alone, where it was made"
        ) from None


def _object_of(name: str) -> str:
    kind = next((what for module, what in OBJECTS.items() if name.startswith(module)), "an object")
    return f"{kind} ({name})"


def _check_archive(path: Path) -> None:
    """Compare the checksums that ``torch.save`` wrote, since loading doesn't.

    Raises:
        CheckpointInvalid: one differs, or a record is packed, as only other programs write it: a small file could
            then fill the memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_other_archives(path, archive.namelist())
            packed = next((info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED), None)
            if packed is not None:
                raise CheckpointInvalid(f"{path}: {packed.filename} is compressed; save it with torch.save")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointInvalid(f"{path} ({path.stat().st_size:,} bytes) is truncated or damaged: {error}") from None
    if damaged is not None:
        raise CheckpointInvalid(f"{path}: {damaged} is damaged, its checksum does not fit; get the file again")


def _refuse_other_archives(path: Path, names: Sequence[str]) -> None:
    for ending, what in OTHER_ARCHIVES.items():
        if any(f"/{name}".endswith(ending) for name in names):
            raise CheckpointInvalid(f"{path} is {what}; save the network's state_dict() with torch.save")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointInvalid(f"{path} is truncated or not a safetensors file: {error}") from None
