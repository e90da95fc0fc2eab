"""A whole recording as one mono waveform at the model's rate, and what a reader of its score should know about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dfclient.audio.channels import downmixed, frames_of
from dfclient.audio.decode import decoded
from dfclient.audio.resample import Resampler, checked_rate_hz
from dfclient.errors import AudioError
from dfcontract.tensors import Samples

SHORT_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS: digital silence, dithered or not
LOUD_PEAK = 2.0  # MP3 decoders overshoot 1 a little; integers that nobody scaled overshoot by far


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono audio at a model's rate, and what it was before."""

    samples: Samples  # (n,) float32, raw amplitude
    rate_hz: int
    source_rate_hz: int
    source_channels: int
    source_frames: int

    @property
    def duration_s(self) -> float:
        """Length of the recording, from its own samples and rate."""
        return self.source_frames / self.source_rate_hz


def load(recording: str | Path | bytes | BinaryIO, rate_hz: int) -> Waveform:
    """Decode a recording to mono.

    Args:
        recording: a path, a file's content, or a file opened for reading bytes, which is read from where it stands.
        rate_hz: of the result.

    Raises:
        AudioError: it is missing, unreadable, empty, damaged or not audio, or holds NaN or infinity.
        InputError: a file opened for reading text.
    """
    with decoded(recording) as (source_rate_hz, channels, blocks):
        return _waveform(blocks, source_rate_hz, channels, rate_hz)


def from_array(waveform: npt.ArrayLike, source_rate_hz: int, rate_hz: int) -> Waveform:
    """Mono at `rate_hz` from an array: (samples,) or (samples, channels), floats in [-1, 1] or signed integer PCM.

    Raises:
        InputError: another shape, kind of number or an impossible rate.
        AudioError: no samples, or NaN or infinity among them.
    """
    frames = frames_of(waveform)
    return _waveform(iter([frames]), source_rate_hz, frames.shape[1], rate_hz)


def warnings_of(duration_s: float, windows: Sequence[Samples]) -> tuple[str, ...]:
    """What a reader of the score should know about the audio.

    Args:
        duration_s: of the recording.
        windows: those that were scored.
    """
    return warnings_from_peaks(duration_s, [peak_of(window) for window in windows])


def peak_of(window: Samples) -> float:
    """The largest amplitude of either sign."""
    return max(float(window.max()), -float(window.min()))


def warnings_from_peaks(duration_s: float, peaks: Sequence[float]) -> tuple[str, ...]:
    """Like `warnings_of`, from each window's peak."""
    found = []
    if duration_s < SHORT_S:
        found.append(f"short: {duration_s:.3f} s of audio, under {SHORT_S} s")
    silent = sum(peak < SILENCE_PEAK for peak in peaks)
    if silent == len(peaks):
        found.append("silence: all that was scored lies below -80 dBFS")
    elif silent:
        found.append(f"silence: {silent} of {len(peaks)} windows lie below -80 dBFS")
    if max(peaks) > LOUD_PEAK:
        found.append(f"loud: peak {max(peaks):.4g}, expected amplitudes in [-1, 1]")
    return tuple(found)


def _waveform(blocks: Iterator[Samples], source_rate_hz: int, channels: int, rate_hz: int) -> Waveform:
    """Downmix and resample blocks of (frames, channels) as they come."""
    resampler = Resampler(checked_rate_hz(source_rate_hz), rate_hz)
    parts, frames = [], 0
    for block in blocks:
        mono = downmixed(block)
        if not np.isfinite(mono).all():
            raise AudioError("its samples hold NaN or infinity")
        frames += len(mono)
        parts.append(resampler.push(mono))
    parts.append(resampler.push(np.empty(0, np.float32), last=True))
    samples = np.concatenate(parts)
    if len(samples) == 0:
        raise AudioError("it holds no samples")
    return Waveform(samples, rate_hz, source_rate_hz, channels, frames)
