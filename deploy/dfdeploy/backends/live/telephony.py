"""Chunks of bytes → samples at the detector's rate: PCM as it is, telephone codecs decoded and taken from 8 to 16 kHz.

G.711 (ITU-T, 11/88): µ-law and A-law, a byte a sample, in the sign, exponent, mantissa form of its Tables 1a to 2b.

The resampler doubles the rate with a linear-phase FIR of 201 taps (Kaiser window, 80 dB; flat to 3.6 kHz, silent from
4 kHz), in step with the recording: sample 2k is the input's sample k, filtered, and n samples give exactly 2n. It must
see 50 input samples ahead, so answers come 6.25 ms later than without it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dfcontract.live import ENCODINGS, TELEPHONE_RATE_HZ
from dfcontract.tensors import Samples
from dfdeploy.backends.live.errors import bad_stream

REACH_SAMPLES = 50  # of the filter, in input samples to either side
KAISER_BETA = 7.857  # 80 dB
CUTOFF_HZ = 3_800  # middle of the transition band


def mulaw_table() -> Samples:
    """Amplitude in [-1, 1] of each µ-law byte, (256,); G.711, Table 2."""
    code = ~np.arange(256) & 0xFF
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = ((2 * mantissa + 33) << exponent) - 33  # 0 … 8031, of 14 bits
    return (np.where(code & 0x80, -magnitude, magnitude) / 8192).astype(np.float32)


def alaw_table() -> Samples:
    """Amplitude in [-1, 1] of each A-law byte, (256,); G.711, Table 1."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = np.where(exponent == 0, 2 * mantissa + 1, (2 * mantissa + 33) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 4096).astype(np.float32)  # 1 … 4032, of 13 bits


TABLES = {"mulaw": mulaw_table(), "alaw": alaw_table()}


def doubling_filters() -> npt.NDArray[np.float64]:
    """(2, taps): what makes the even and the odd output samples out of input samples in reverse order."""
    reach = 2 * REACH_SAMPLES
    position = np.arange(-reach, reach + 1)
    cutoff = CUTOFF_HZ / TELEPHONE_RATE_HZ  # as a fraction of the output's Nyquist frequency
    taps = 2 * cutoff * np.sinc(cutoff * position) * np.kaiser(2 * reach + 1, KAISER_BETA)
    even, odd = taps[0::2], np.append(taps[1::2], 0.0)
    return np.stack([even / even.sum(), odd / odd.sum()])  # a constant stays a constant


class Doubler:
    """8 kHz in, 16 kHz out, in chunks; how the input is cut changes nothing beyond float32's last bit."""

    filters = doubling_filters()

    def __init__(self) -> None:
        self.history: npt.NDArray[np.float64] = np.zeros(REACH_SAMPLES)

    def push(self, samples: npt.NDArray[np.floating[Any]]) -> Samples:
        """What (n,) input samples complete."""
        history = np.concatenate([self.history, samples])
        if len(history) <= 2 * REACH_SAMPLES:
            self.history = history
            return np.empty(0, np.float32)
        self.history = history[-2 * REACH_SAMPLES :]
        doubled = np.stack([np.convolve(history, taps, "valid") for taps in self.filters], axis=1).ravel()
        return doubled.astype(np.float32)

    def flush(self) -> Samples:
        """The rest, once the input has ended."""
        return self.push(np.zeros(REACH_SAMPLES))


class Decoder:
    """Bytes of one encoding, cut anywhere, even within a sample → float32 samples at the detector's rate.

    Raises:
        StreamError: an unknown encoding, or a telephone's for a detector that does not run at 16 kHz.
    """

    def __init__(self, encoding: str, rate_hz: int) -> None:
        if encoding not in ENCODINGS:
            raise bad_stream(f"encoding: expected {', '.join(ENCODINGS)}, found {encoding!r}")
        if encoding in TABLES and rate_hz != 2 * TELEPHONE_RATE_HZ:
            raise bad_stream(
                f"encoding {encoding}: expected a detector at {2 * TELEPHONE_RATE_HZ} Hz, this one runs at {rate_hz}: "
                "send fp32"
            )
        self.encoding = encoding
        self.sample_bytes = ENCODINGS[encoding]
        self.doubler = Doubler() if encoding in TABLES else None
        self.rest = b""

    def push(self, chunk: npt.NDArray[np.uint8]) -> Samples:
        """Samples that (m,) bytes complete; StreamError for NaN or infinity."""
        content = self.rest + chunk.tobytes()
        whole = len(content) - len(content) % self.sample_bytes
        self.rest = content[whole:]
        samples = self.decode(content[:whole])
        return samples if self.doubler is None else self.doubler.push(samples)

    def flush(self) -> Samples:
        """The samples that waited for more audio; StreamError when the last sample is not whole."""
        if self.rest:
            raise bad_stream(f"the stream ends within a sample: {len(self.rest)} of {self.sample_bytes} bytes")
        return np.empty(0, np.float32) if self.doubler is None else self.doubler.flush()

    def decode(self, content: bytes) -> Samples:
        """Whole samples as amplitudes."""
        if self.doubler is not None:
            return TABLES[self.encoding][np.frombuffer(content, np.uint8)]
        if self.encoding == "int16":
            return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
        samples: Samples = np.frombuffer(content, "<f4")
        if not np.isfinite(samples).all():
            raise bad_stream("fp32: expected finite samples, found NaN or infinity; check the recording's decoder")
        return samples
