"""The files of a checkpoint, and the average of several, as XLSR-Mamba's authors score with it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from dfexport.download import sha256_of
from dfexport.errors import CheckpointInvalid, CheckpointMissing, ExportError, listed

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]  # key → shape and type


def checkpoint_files(path: Path, averaged: Sequence[str] = ()) -> tuple[Path, ...]:
    """Which files a checkpoint is made of: the file itself, or what a folder holds.

    A folder holds the files that a family averages, all of them, or one safetensors file, as a download from the hub
    does, or one ``.pth`` file.

    Args:
        path: a file or a folder.
        averaged: the family's `Family.averaged_files`.

    Raises:
        CheckpointMissing: nothing there, or a folder without them.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise CheckpointMissing(f"no checkpoint at {path}")
    found = [name for name in averaged if (path / name).is_file()]
    kinds = [tuple(path.glob("*.safetensors")), tuple(path.glob("*.pth"))]
    if found and len(found) == len(averaged):
        return tuple(path / name for name in averaged)
    single = next((files for files in kinds if files), ())
    if not found and len(single) == 1:
        return single
    several = f"{averaged[0]} … {averaged[-1]}, or " if averaged else ""
    expected = f"{path}: expected {several}one .safetensors file, or one .pth file; found "
    if found:
        missing = ", ".join(name for name in averaged if name not in found)
        raise CheckpointMissing(f"{expected}no {missing}: the average needs all of them")
    counts = f"{len(kinds[0])} .safetensors and {len(kinds[1])} .pth files"
    raise CheckpointMissing(f"{expected}{counts}; name a file instead")


def digest_of(files: Sequence[Path]) -> str:
    """A file's sha256; for several, the sha256 of their listing, as ``sha256sum FILES | sha256sum`` prints it."""
    if len(files) == 1:
        return sha256_of(files[0])
    listing = "".join(f"{sha256_of(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def average(states: Iterable[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Mean of every floating tensor, taken in float64; integers, which are counters, are those of the first state.

    Args:
        states: name (for errors) and state dict of each checkpoint, at least one; let a generator load them, so that
            few are in memory at a time.

    Raises:
        CheckpointInvalid: they are not of one network.
    """
    named = iter(states)
    first_name, first = next(named)
    layout = _layout_of(first)
    counters = {key: value for key, value in first.items() if not value.is_floating_point()}
    totals = {key: value.to(torch.float64, copy=True) for key, value in first.items() if key not in counters}
    del first
    count = 1
    for name, state in named:
        _require_one_network(first_name, layout, name, _layout_of(state))
        for key, total in totals.items():
            total.add_(state[key])
        count += 1
        del state
    means = {key: (totals.pop(key) / count).to(layout[key][1]) for key in tuple(totals)}
    return {key: means[key] if key in means else counters[key] for key in layout}


def _layout_of(state: Mapping[str, Tensor]) -> Layout:
    return {key: (tuple(value.shape), value.dtype) for key, value in state.items()}


def _require_one_network(first_name: str, first: Layout, name: str, other: Layout) -> None:
    differing = [key for key in first | other if first.get(key) != other.get(key)]
    if differing:
        raise CheckpointInvalid(
            f"{name} can't be averaged with {first_name}, it is of another network: "
            + listed({"missing in one of them, or of another shape or type": differing})
        )


def require_safetensors(path: Path) -> Path:
    """Refuse a name that says another format than the one that is written.

    Raises:
        ExportError: another suffix than ``.safetensors``.
    """
    if path.suffix != ".safetensors":
        raise ExportError(f"{path}: expected a name that ends in .safetensors")
    return path


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict as safetensors, whole or not at all.

    Raises:
        ExportError: another suffix than ``.safetensors``, or it can't be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    require_safetensors(path)
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in state.items()}, part)
        part.chmod(0o644)  # safetensors makes a file for its owner alone; a server may run as someone else
        part.rename(path)
    except (OSError, SafetensorError) as error:
        raise ExportError(f"{path}: cannot write it: {error}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
