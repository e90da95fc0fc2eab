"""Recordings to blocks of frames; the one place where decoders' errors become ours.

WAV, FLAC, OGG and MP3 are read by libsndfile (soundfile), whatever it does not know (m4a, mp4, webm …) by FFmpeg (PyAV,
the extra `containers`). Both are read block by block, so that memory holds only the mono waveform at the model's rate
(230 MB for an hour at 16 kHz) and a truncated OGG that claims to be 2**63 samples long does no harm.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dfclient.errors import AudioError, InputError
from dfcontract.tensors import Samples

BLOCK_SAMPLES = 1 << 18  # 5 s of 48 kHz audio
# Formats whose header states the true length. MP3's is an estimate, and a truncated OGG's is nonsense.
EXACT_LENGTH_FORMATS = frozenset({"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "RF64", "W64"})
# What libsndfile notes of a WAV or AIFF whose samples end before its header says; it then reads what there is.
CUT_SHORT = re.compile(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)$", re.MULTILINE)
# A recorder that writes to a pipe can't know its length, and promises the most that fits.
UNKNOWN_BYTES = (1 << 31) - (1 << 16)
MISSING_S = 0.1  # sloppy writers miscount by a few bytes

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf"}  # libsndfile
    | {".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".amr"}  # FFmpeg
)

Decoded = tuple[int, int, Iterator[Samples]]  # sample rate, channels, blocks (frames, channels)
Opened = Path | io.BytesIO  # what both decoders can read, and read again


@contextlib.contextmanager
def decoded(recording: str | Path | bytes | BinaryIO) -> Iterator[Decoded]:
    """Open a path, a file's content or an opened file: with libsndfile, or FFmpeg where that does not know the format.

    Raises:
        AudioError: it can't be read, or is not audio; also while the blocks are read.
        InputError: a file opened for reading text.
    """
    import soundfile

    opened = _opened(recording)
    try:
        # As bytes, a name that is not UTF-8 can be opened, too.
        file = soundfile.SoundFile(os.fsencode(opened) if isinstance(opened, Path) else opened)
    except soundfile.LibsndfileError as error:
        with _decoded_by_ffmpeg(opened, _reason(error)) as decoded:
            yield decoded
        return
    with file:
        _require_whole(file)
        yield file.samplerate, file.channels, _blocks(file)


def _opened(recording: str | Path | bytes | BinaryIO) -> Opened:
    if isinstance(recording, str | Path):
        path = Path(recording)
        _require_content(path)
        return path
    content = recording if isinstance(recording, bytes) else recording.read()
    if not isinstance(content, bytes):
        raise InputError("expected a file opened for reading bytes (mode 'rb'), found one for text")
    if not content:
        raise AudioError("there are no bytes in it, or none from where the file stands: seek(0) begins anew")
    return io.BytesIO(content)


def _require_content(path: Path) -> None:
    try:
        if path.is_dir():
            raise AudioError("it is a folder, expected an audio file")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError("the file is empty (0 bytes)")
    except OSError as error:
        raise AudioError(f"cannot read it: {error.strerror or error}") from None
    except ValueError as error:  # a name with a NUL in it
        raise AudioError(f"cannot read it: {error}") from None


def _reason(error: Any) -> str:
    """libsndfile's own words, without the path that soundfile puts before them."""
    return str(error.error_string).strip().rstrip(".")


def _require_whole(file: Any) -> None:
    """AudioError for a WAV or AIFF that was cut short, as by a broken copy."""
    if (noted := CUT_SHORT.search(file.extra_info)) is None:
        return
    promised_bytes, found_bytes = map(int, noted.groups())
    found_s = file.frames / file.samplerate
    if promised_bytes < UNKNOWN_BYTES and found_bytes:
        promised_s = found_s * promised_bytes / found_bytes
        if promised_s - found_s > MISSING_S:
            raise _cut_short(promised_s, found_s)


def _cut_short(promised_s: float, found_s: float) -> AudioError:
    return AudioError(f"damaged: its header promises {promised_s:.2f} s, only {found_s:.2f} s can be decoded")


def _blocks(file: Any) -> Iterator[Samples]:
    """Blocks of (frames, channels) until the decoder has no more; an early end is damage where the length is exact."""
    import soundfile

    frames = 0
    try:
        while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            frames += len(block)
            yield block
    except soundfile.LibsndfileError as error:  # here, not where it was opened: blocks may be read in another thread
        raise AudioError(f"damaged: {_reason(error)}") from None
    if file.format in EXACT_LENGTH_FORMATS and frames < file.frames:
        raise _cut_short(file.frames / file.samplerate, frames / file.samplerate)


@contextlib.contextmanager
def _decoded_by_ffmpeg(opened: Opened, sndfile_says: str) -> Iterator[Decoded]:
    """Like `decoded`, through PyAV; `sndfile_says` is why libsndfile could not, for the error's text."""
    try:
        import av
    except ImportError:
        hint = "for m4a, mp4 and other containers: pip install 'dfserve[containers]'"
        raise AudioError(f"not audio that libsndfile reads ({sndfile_says}); {hint}") from None
    if isinstance(opened, io.BytesIO):
        opened.seek(0)  # libsndfile has looked at it
    try:
        with av.open(str(opened) if isinstance(opened, Path) else opened) as container:
            if not container.streams.audio or not container.streams.audio[0].rate:
                raise AudioError(f"no audio in it (libsndfile: {sndfile_says}; FFmpeg: no audio stream)")
            stream = container.streams.audio[0]
            yield stream.rate, stream.channels, _ffmpeg_blocks(container, stream)
    except av.FFmpegError as error:
        text = f"not readable as audio (libsndfile: {sndfile_says}; FFmpeg: {error.strerror})"
        raise AudioError(text) from None


def _ffmpeg_blocks(container: Any, stream: Any) -> Iterator[Samples]:
    from av import AudioResampler

    as_planar_float = AudioResampler(format="fltp")  # changes the sample format only, neither rate nor channels
    for frame in container.decode(stream):
        for converted in as_planar_float.resample(frame):
            yield np.ascontiguousarray(converted.to_ndarray().T)
