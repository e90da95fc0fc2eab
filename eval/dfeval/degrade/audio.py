"""Recordings in and out: what libsndfile reads, else FFmpeg where PyAV is installed; FLAC of 16 bits, mono, 16 kHz."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from dfcontract.tensors import SAMPLE_RATE_HZ
from dfeval.degrade.codecs import HINT, decoded_of
from dfeval.degrade.effects import resampled
from dfeval.errors import EvalError
from dfeval.metrics.eer import Floats

FULL_SCALE = 1 << 15
# FFmpeg's names of the containers that a recording may come in. A playlist's would open further files, or addresses.
DEMUXERS = "aac,ac3,aiff,amr,amrnb,amrwb,asf,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,wav,webm,w64"


def read(path: Path) -> Floats:
    """A recording as (n_samples,) at 16 kHz, its channels' mean.

    Raises:
        EvalError: it can't be decoded, is empty, or holds NaN or infinity.
    """
    try:
        samples, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
        waveform = samples.mean(axis=1)
    except soundfile.LibsndfileError as error:
        waveform, rate_hz = _read_by_ffmpeg(path, str(error))
    except OSError as error:
        raise EvalError(f"can't be read: {error.strerror or error}") from None
    if not waveform.size:
        raise EvalError("expected audio, found a recording without samples")
    if not np.isfinite(waveform).all():
        raise EvalError("expected numbers, found NaN or infinity among the samples")
    return resampled(waveform, rate_hz, SAMPLE_RATE_HZ)


def write(path: Path, waveform: Floats) -> bool:
    """Write a recording; True where it was too loud for the format, hence turned down as a whole.

    A recording of 16 bits at 16 kHz comes out as it went in. OSError where it can't be written.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    is_too_loud = peak > 1.0
    scaled = waveform / peak if is_too_loud else waveform
    samples = np.clip(np.rint(scaled * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.getvalue())
    return is_too_loud


def _read_by_ffmpeg(path: Path, reason: str) -> tuple[Floats, int]:
    try:
        import av
    except ImportError:
        raise EvalError(f"libsndfile can't decode it ({reason}); for what FFmpeg reads: {HINT}") from None
    options: Any = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:
        with av.open(str(path), options=options, metadata_errors="replace") as container:
            return decoded_of(container)
    except (av.FFmpegError, ValueError) as error:
        raise EvalError(f"neither libsndfile nor FFmpeg can decode it: {reason}; {error}") from None
