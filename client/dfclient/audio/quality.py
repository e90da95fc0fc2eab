"""What a reader of a score should know about the audio that it was made from."""

from dfclient.audio.waveform import Waveform
from dfcontract.tensors import Samples

SHORT_S = 0.5
SILENCE_PEAK = 1e-4  # -80 dBFS: digital silence, dithered or not
LOUD_PEAK = 2.0  # MP3 decoders overshoot 1 a little; integers that nobody scaled overshoot by far


def warnings_of(waveform: Waveform, windows: list[Samples]) -> tuple[str, ...]:
    """What is to be said of the recording, and of the windows of it that were scored."""
    return waveform.warnings + warnings_from_peaks(waveform.duration_s, [peak_of(window) for window in windows])


def peak_of(window: Samples) -> float:
    """The largest amplitude of either sign."""
    return max(float(window.max()), -float(window.min()))


def warnings_from_peaks(duration_s: float, peaks: list[float]) -> tuple[str, ...]:
    """What is to be said of audio with these peaks, one a window."""
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
