"""Where live audio comes from: a recording on disk, or raw samples through a pipe; chunks of frames, as they come."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dfclient.audio.channels import MAX_CHANNELS
from dfclient.audio.decode import decoded
from dfclient.audio.resample import checked_rate_hz
from dfclient.clips import Clip, clips_from
from dfclient.errors import AudioError, InputError
from dfcontract.live import ENCODINGS, TELEPHONE_RATE_HZ
from dfcontract.tensors import Samples

PIPE = "-"
G711 = {"mulaw": "ULAW", "alaw": "ALAW"}  # libsndfile's names
PIPE_READ_BYTES = 1 << 16
CHUNK_S = 0.1
HEADERS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"ID3\x03": "MP3", b"ID3\x04": "MP3"}


@dataclass(frozen=True)
class Source:
    """Audio that comes in chunks of (frames, channels) float32."""

    clip: Clip
    rate_hz: int
    chunks: Iterator[Samples]


@dataclass(frozen=True)
class RawFormat:
    """How raw samples lie in a pipe: interleaved channels, little-endian."""

    rate_hz: int
    channels: int
    encoding: str

    def __post_init__(self) -> None:
        """Refuse with InputError what can't be."""
        checked_rate_hz(self.rate_hz)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise InputError(f"expected 1 to {MAX_CHANNELS} channels, found {self.channels}")
        if self.encoding not in ENCODINGS:
            raise InputError(f"expected the encoding {', '.join(ENCODINGS)}, found {self.encoding!r}")


def one_clip(path: str) -> Clip:
    """The one recording at `path`; InputError where that is a folder, a list or a manifest."""
    clips = clips_from([path])
    if len(clips) != 1 or path.startswith("@") or path.lower().endswith(".csv"):
        raise InputError(f"{path}: expected one recording, or - for raw samples from a pipe")
    return clips[0]


@contextmanager
def recording(clip: Clip) -> Iterator[Source]:
    """A recording, decoded while it is read; AudioError when that can't be done."""
    with decoded(clip.path) as (rate_hz, _, blocks):
        pieces = (piece for block in blocks for piece in _pieces(block, round(CHUNK_S * rate_hz)))
        yield Source(clip, checked_rate_hz(rate_hz), pieces)


@contextmanager
def pipe(clip: Clip, raw: RawFormat, stream: BinaryIO | None = None) -> Iterator[Source]:
    """Raw samples from a stream (else standard input), in pieces as they arrive."""
    # Unbuffered: what has arrived is read at once, and no lock of a buffer is held when the program ends meanwhile.
    opened = stream or open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    yield Source(clip, raw.rate_hz, _frames(opened, raw))


def paced(source: Source) -> Iterator[Samples]:
    """Its chunks, each when its last sample would have been played."""
    started_s, frames = time.monotonic(), 0
    for chunk in source.chunks:
        frames += len(chunk)
        time.sleep(max(0.0, started_s + frames / source.rate_hz - time.monotonic()))
        yield chunk


def _pieces(block: Samples, n_frames: int) -> Iterator[Samples]:
    for start in range(0, len(block), n_frames):
        yield block[start : start + n_frames]


def _frames(stream: BinaryIO, raw: RawFormat) -> Iterator[Samples]:
    frame_bytes, rest, is_first = ENCODINGS[raw.encoding] * raw.channels, b"", True
    while content := stream.read(PIPE_READ_BYTES):
        rest += content
        whole = len(rest) - len(rest) % frame_bytes
        if is_first and (name := HEADERS.get(rest[:4])):
            raise InputError(
                f"expected raw samples on standard input, found a {name} file: give its path instead of -, or make "
                "the recorder write none (arecord -t raw, ffmpeg -f s16le)"
            )
        is_first = False
        if whole:
            yield _samples_of(rest[:whole], raw.encoding).reshape(-1, raw.channels)
            rest = rest[whole:]
    if rest:
        raise AudioError(f"standard input ends within a frame: {len(rest)} of {frame_bytes} bytes ({raw.encoding})")


def _samples_of(content: bytes, encoding: str) -> Samples:
    if encoding == "fp32":
        return np.frombuffer(content, "<f4").astype(np.float32)
    if encoding == "int16":
        return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
    import soundfile

    samples: Samples
    samples, _ = soundfile.read(
        io.BytesIO(content),
        format="RAW",
        subtype=G711[encoding],
        samplerate=TELEPHONE_RATE_HZ,
        channels=1,
        dtype="float32",
    )
    return samples
