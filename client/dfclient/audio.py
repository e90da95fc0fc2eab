"""Recordings to waveforms: decode, downmix to mono by the mean of the channels, resample. Amplitude is never touched.

WAV, FLAC, OGG and MP3 are read by libsndfile (soundfile), whatever it does not know (m4a, mp4, webm …) by FFmpeg (PyAV,
the extra `containers`). Both are read block by block, so that memory holds only the mono waveform at the model's rate
(230 MB for an hour at 16 kHz) and a truncated OGG that claims to be 2**63 samples long does no harm.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfclient.errors import AudioError, InputError

BLOCK_SAMPLES = 1 << 18  # 5 s of 48 kHz audio
SHORT_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS: digital silence, dithered or not
LOUD_PEAK = 2.0  # MP3 decoders overshoot 1 a little; integers that nobody scaled overshoot by far
MAX_CHANNELS = 64
RATES_HZ = (1_000, 768_000)
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

Samples = npt.NDArray[np.float32]


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


class Resampler:
    """Mono blocks of any length at one rate in, blocks at another out; how it is cut into blocks changes nothing."""

    def __init__(self, source_rate_hz: int, rate_hz: int) -> None:
        self._stream: Any = None
        if source_rate_hz != rate_hz:
            import soxr

            self._stream = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """The samples that (n,) float32 `block` completes; with `last`, all that remain."""
        if self._stream is None:
            return block
        resampled: Samples = self._stream.resample_chunk(block, last=last)
        return resampled


def load(path: str | Path, rate_hz: int) -> Waveform:
    """Decode the file at `path` to mono at `rate_hz`.

    Raises:
        AudioError: it is missing, unreadable, empty, damaged or not audio, or holds NaN or infinity.
    """
    with decoded(Path(path)) as (source_rate_hz, channels, blocks):
        return _waveform(blocks, source_rate_hz, channels, rate_hz)


def from_array(waveform: npt.ArrayLike, source_rate_hz: int, rate_hz: int) -> Waveform:
    """Mono at `rate_hz` from an array: (samples,) or (samples, channels), floats in [-1, 1] or signed integer PCM.

    Raises:
        InputError: another shape, kind of number or an impossible rate.
        AudioError: no samples, or NaN or infinity among them.
    """
    frames = frames_of(waveform)
    return _waveform(iter([frames]), source_rate_hz, frames.shape[1], rate_hz)


def frames_of(waveform: npt.ArrayLike) -> Samples:
    """(frames, channels) float32 of an array as `from_array` takes it; InputError for another."""
    array = np.asarray(waveform)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MAX_CHANNELS):
        raise InputError(f"expected a waveform of shape (samples,) or (samples, channels), found {array.shape}")
    if array.dtype.kind not in "fi":
        raise InputError(f"expected a waveform of floats in [-1, 1] or signed integers, found {array.dtype}")
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    return (array[:, np.newaxis] if array.ndim == 1 else array).astype(np.float32)


def downmixed(frames: Samples) -> Samples:
    """(frames, channels) → (frames,): the mean of the channels."""
    return np.ascontiguousarray(frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32))


def checked_rate_hz(rate_hz: int) -> int:
    """The rate itself; AudioError when it is impossible."""
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise AudioError(f"expected a sample rate of {RATES_HZ[0]} to {RATES_HZ[1]} Hz, found {rate_hz}")
    return rate_hz


def warnings_of(waveform: Waveform, windows: list[Samples]) -> tuple[str, ...]:
    """What a reader of the score should know about the audio it was made from."""
    return warnings_from_peaks(waveform.duration_s, [peak_of(window) for window in windows])


def peak_of(window: Samples) -> float:
    """The largest amplitude of either sign."""
    return max(float(window.max()), -float(window.min()))


def warnings_from_peaks(duration_s: float, peaks: list[float]) -> tuple[str, ...]:
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


Decoded = tuple[int, int, Iterator[Samples]]  # sample rate, channels, blocks (frames, channels)


@contextlib.contextmanager
def decoded(path: Path) -> Iterator[Decoded]:
    """Open with libsndfile or, where that knows no better, FFmpeg; the one place that maps decoders' errors."""
    import soundfile

    try:
        if path.is_dir():
            raise AudioError("it is a folder, expected an audio file")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError("the file is empty (0 bytes)")
    except OSError as error:
        raise AudioError(f"cannot read it: {error.strerror or error}") from None
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        with _decoded_by_ffmpeg(path, _reason(error)) as decoded:
            yield decoded
        return
    with file:
        _require_whole(file)
        yield file.samplerate, file.channels, _blocks(file)


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
def _decoded_by_ffmpeg(path: Path, sndfile_says: str) -> Iterator[Decoded]:
    """Like `decoded`, through PyAV; `sndfile_says` why libsndfile would not."""
    try:
        import av
    except ImportError:
        hint = "for m4a, mp4 and other containers: pip install 'dfserve[containers]'"
        raise AudioError(f"not audio that libsndfile reads ({sndfile_says}); {hint}") from None
    try:
        with av.open(str(path)) as container:
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


def samples_of(seconds: float, rate_hz: int) -> int:
    """Seconds as the nearest whole number of samples."""
    if not math.isfinite(seconds):
        raise InputError(f"expected a number of seconds, found {seconds}")
    return round(seconds * rate_hz)
