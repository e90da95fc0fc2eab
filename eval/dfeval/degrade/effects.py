"""What happens to a waveform between a mouth and a detector, codecs aside (`codecs`).

Waveforms are float64 of shape (n_samples,), mono, 16 kHz, full scale 1; an effect returns one of its own and leaves its
argument alone. What is drawn by chance comes from the generator that is handed in.
"""

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfiltfilt

from dfcontract.tensors import SAMPLE_RATE_HZ
from dfeval.errors import EvalError
from dfeval.metrics.eer import Floats

TELEPHONE_RATE_HZ = 8_000
TELEPHONE_BAND_HZ = (300.0, 3_400.0)
TELEPHONE_ORDER = 4
PACKET_SAMPLES = SAMPLE_RATE_HZ // 50  # 20 ms, what telephony packs
DIRECT_TO_LATE_DB = 0.0  # of a made-up room: the direct sound has the energy of all that follows it
FIRST_ECHO_S = 0.0025  # of a made-up room: sound of a wall some 40 cm behind


def resampled(waveform: Floats, from_hz: int, to_hz: int) -> Floats:
    """Another rate, by soxr's linear-phase filter: nothing moves in time."""
    return np.asarray(soxr.resample(waveform, from_hz, to_hz, quality="VHQ"), dtype=np.float64)


def through_rate(waveform: Floats, rate_khz: float, _random: Generator) -> Floats:
    """Down to a lower rate and back: all above half of it is gone."""
    rate_hz = round(1000 * rate_khz)
    return fitted(resampled(resampled(waveform, SAMPLE_RATE_HZ, rate_hz), rate_hz, SAMPLE_RATE_HZ), len(waveform))


def telephone_band(waveform: Floats) -> Floats:
    """What a telephone line passes, at 8 kHz: a Butterworth band-pass, 300 to 3,400 Hz, run both ways, so no delay."""
    narrow = resampled(waveform, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    sections = butter(TELEPHONE_ORDER, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_RATE_HZ, output="sos")
    return np.asarray(sosfiltfilt(sections, narrow, padlen=0), dtype=np.float64)


def white_noise(waveform: Floats, snr_db: float, random: Generator) -> Floats:
    """Noise of the same power at every frequency, `snr_db` below the recording's mean power."""
    return _with_noise(waveform, random.standard_normal(len(waveform)), snr_db)


def pink_noise(waveform: Floats, snr_db: float, random: Generator) -> Floats:
    """Noise whose power falls with 1/frequency from 20 Hz on, `snr_db` below the recording's mean power."""
    spectrum = np.fft.rfft(random.standard_normal(len(waveform)))
    frequencies_hz = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies_hz, 20.0)), len(waveform))
    return _with_noise(waveform, noise, snr_db)


def made_up_room(waveform: Floats, rt60_s: float, random: Generator) -> Floats:
    """The recording in a room that is made up: Polack's model, Gaussian noise that decays by 60 dB in `rt60_s`.

    (Polack, "La transmission de l'énergie sonore dans les salles", 1988: the late part of a real room's response looks
    like that; early reflections, which tell rooms apart, it has none.)
    """
    n_samples = round(1.2 * rt60_s * SAMPLE_RATE_HZ)
    times_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    late = random.standard_normal(n_samples) * np.exp(-np.log(1000) * times_s / rt60_s)
    late[times_s < FIRST_ECHO_S] = 0.0
    late *= 10 ** (-DIRECT_TO_LATE_DB / 20) / np.sqrt(np.sum(late**2))
    late[0] = 1.0
    return in_room(waveform, late)


def in_room(waveform: Floats, response: Floats) -> Floats:
    """The recording convolved with a room's response, as loud as before and cut to its length.

    What comes before the response's highest peak, the direct sound's way to the microphone, is cut off.
    """
    onset = int(np.abs(response).argmax())
    wet = fftconvolve(waveform, response[onset:])[: len(waveform)]
    power = np.mean(wet**2)
    return np.asarray(wet * np.sqrt(np.mean(waveform**2) / power) if power > 0 else wet, dtype=np.float64)


def packet_loss(waveform: Floats, percent: float, random: Generator) -> Floats:
    """Packets of 20 ms lost, each with the same chance and apart from the others; silence in their place."""
    n_packets = -(-len(waveform) // PACKET_SAMPLES)
    is_lost = np.repeat(random.random(n_packets) < percent / 100, PACKET_SAMPLES)[: len(waveform)]
    return np.where(is_lost, 0.0, waveform)


def trimmed(waveform: Floats, below_db: float, _random: Generator) -> Floats:
    """Without the silence at both ends: frames of 20 ms that are `below_db` or more below the loudest."""
    _check_sounds(waveform)
    power = _frame_power(waveform)
    loud = np.flatnonzero(power > power.max() * 10 ** (-below_db / 10))
    return waveform[loud[0] * PACKET_SAMPLES : (loud[-1] + 1) * PACKET_SAMPLES].copy()


def fitted(waveform: Floats, n_samples: int) -> Floats:
    """Cut to a length, or filled up with silence."""
    return np.pad(waveform[:n_samples], (0, max(n_samples - len(waveform), 0)))


def _with_noise(waveform: Floats, noise: Floats, snr_db: float) -> Floats:
    _check_sounds(waveform)
    gain = np.sqrt(np.mean(waveform**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return np.asarray(waveform + gain * noise, dtype=np.float64)


def _frame_power(waveform: Floats) -> NDArray[np.float64]:
    starts = np.arange(0, len(waveform), PACKET_SAMPLES)
    lengths = np.minimum(PACKET_SAMPLES, len(waveform) - starts)
    return np.asarray(np.add.reduceat(waveform**2, starts) / lengths, dtype=np.float64)


def _check_sounds(waveform: Floats) -> None:
    if not np.any(waveform):
        raise EvalError("expected sound, found digital silence alone")
