"""Where live audio comes from: a recording on disk, or raw samples through a pipe; chunks of frames, as they come."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dfclient import audio
from dfclient.errors import AudioError, InputError
from dfclient.inputs import Clip, clips_from

PIPE = "-"
SAMPLE_BYTES = {"int16": 2, "fp32": 4, "mulaw": 1, "alaw": 1}  # little-endian PCM; G.711 as telephone lines carry it
G711 = {"mulaw": "ULAW", "alaw": "ALAW"}  # libsndfile's names
PIPE_READ_BYTES = 1 << 16
CHUNK_S = 0.1
HEADERS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"ID3\x03": "MP3", b"ID3\x04": "MP3"}


@dataclass(frozen=True)
class Source:
    """Audio that comes in chunks of (frames, channels) float32."""

    clip: Clip
    rate_hz: int
    chunks: Iterator[audio.Samples]


@contextmanager
def recording(path: str) -> Iterator[Source]:
    """The one recording at `path`, decoded while it is read.

    Raises:
        InputError: it is a folder, a list or a manifest.
        AudioError: it can't be decoded.
    """
    clips = clips_from([path])
    if len(clips) != 1 or path.startswith("@") or path.lower().endswith(".csv"):
        raise InputError(f"{path}: expected one recording, or - for raw samples from a pipe")
    with audio.decoded(Path(path)) as (rate_hz, _, blocks):
        pieces = (piece for block in blocks for piece in _pieces(block, round(CHUNK_S * rate_hz)))
        yield Source(clips[0], rate_hz, pieces)


@contextmanager
def pipe(utt_id: str, rate_hz: int, channels: int, encoding: str, stream: BinaryIO | None = None) -> Iterator[Source]:
    """Raw interleaved samples from standard input, in pieces as they arrive."""
    if not 1 <= channels <= audio.MAX_CHANNELS:
        raise InputError(f"expected 1 to {audio.MAX_CHANNELS} channels, found {channels}")
    # Unbuffered: what has arrived is read at once, and no lock of a buffer is held when the program ends meanwhile.
    opened = stream or open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    chunks = _frames(opened, channels, encoding)
    yield Source(Clip("", utt_id), audio.checked_rate_hz(rate_hz), chunks)


def paced(source: Source) -> Iterator[audio.Samples]:
    """Its chunks, each when its last sample would have been played."""
    started_s, frames = time.monotonic(), 0
    for chunk in source.chunks:
        frames += len(chunk)
        time.sleep(max(0.0, started_s + frames / source.rate_hz - time.monotonic()))
        yield chunk


def _pieces(block: audio.Samples, n_frames: int) -> Iterator[audio.Samples]:
    for start in range(0, len(block), n_frames):
        yield block[start : start + n_frames]


def _frames(stream: BinaryIO, channels: int, encoding: str) -> Iterator[audio.Samples]:
    frame_bytes, rest, is_first = SAMPLE_BYTES[encoding] * channels, b"", True
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
            yield _decoded(rest[:whole], encoding).reshape(-1, channels)
            rest = rest[whole:]
    if rest:
        raise AudioError(f"standard input ends within a frame: {len(rest)} of {frame_bytes} bytes ({encoding})")


def _decoded(content: bytes, encoding: str) -> audio.Samples:
    if encoding == "fp32":
        return np.frombuffer(content, "<f4").astype(np.float32)
    if encoding == "int16":
        return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
    import soundfile

    samples: audio.Samples
    samples, _ = soundfile.read(
        io.BytesIO(content), format="RAW", subtype=G711[encoding], samplerate=8000, channels=1, dtype="float32"
    )
    return samples
