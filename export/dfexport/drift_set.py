"""Recordings that a build in fewer bits is judged on: a folder of the user's, or the three in this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import soundfile

from dfcontract.tensors import SAMPLE_RATE_HZ, Samples
from dfcontract.text_table import ID_NAMES, rows_of
from dfexport.errors import ExportError

SUFFIXES = (".flac", ".wav")
LABELS = ("bonafide", "spoof")


@dataclass(frozen=True)
class DriftSet:
    """What drift is judged on.

    Attributes:
        name: for the report.
        waveforms: a recording's name → its samples at 16 kHz, of any length.
        labels: name → ``bonafide`` or ``spoof``, where they are known.
    """

    name: str
    waveforms: Mapping[str, Samples]
    labels: Mapping[str, str] = field(default_factory=dict)


def example_set() -> DriftSet:
    """The example recordings, without labels: three are too few for an error rate."""
    with as_file(files("dfexport") / "recordings") as folder:
        return DriftSet("examples", read_recordings(folder))


def read_recordings(folder: Path) -> dict[str, Samples]:
    """Name without suffix → samples of every FLAC and WAV file below a folder.

    Raises:
        ExportError: none there, two of one name, or one that is not 16 kHz mono.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ExportError(f"{folder}: expected recordings ({', '.join(SUFFIXES)}), found none")
    by_name = {path.stem: path for path in paths}
    doubled = next((path for path in paths if by_name[path.stem] != path), None)
    if doubled is not None:
        raise ExportError(f"{doubled}: another recording in {folder} is called {doubled.stem!r}, too; rename one")
    return {name: _read(path) for name, path in by_name.items()}


def read_labels(path: Path) -> dict[str, str]:
    """A table with the columns ``utt_id`` (a recording's name without suffix) and ``label``.

    Raises:
        ExportError: it can't be read, or lacks a column, or has another label, or two labels for one recording.
        TextTableError: it is no table.
    """
    try:
        layout, rows = rows_of(path.read_bytes(), str(path))
    except OSError as error:
        raise ExportError(f"{path}: cannot read it: {error.strerror or error}") from None
    utt_id, label = layout.column(ID_NAMES), layout.column(["label"])
    if utt_id is None or label is None:
        raise ExportError(f"{path}: expected the columns utt_id,label, found {','.join(layout.first)}")
    labels: dict[str, str] = {}
    for row in list(rows)[1:]:
        if len(row.fields) <= max(utt_id, label) or row.fields[label] not in LABELS:
            found = ",".join(row.fields)
            raise ExportError(f"{path}, line {row.number}: expected {' or '.join(LABELS)} as label, found {found}")
        name, own = row.fields[utt_id], row.fields[label]
        if labels.setdefault(name, own) != own:
            raise ExportError(f"{path}, line {row.number}: {name} is {own} here, and {labels[name]} above")
    return labels


def _read(path: Path) -> Samples:
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ExportError(f"{path}: cannot read it: {error}") from None
    if rate_hz != SAMPLE_RATE_HZ or samples.shape[1] != 1 or len(samples) == 0:
        raise ExportError(
            f"{path}: expected {SAMPLE_RATE_HZ} Hz mono, found {rate_hz} Hz, {samples.shape[1]} channels, "
            f"{len(samples)} samples; convert it: ffmpeg -i {path.name} -ac 1 -ar {SAMPLE_RATE_HZ} converted.flac"
        )
    mono: Samples = samples[:, 0]
    return mono
