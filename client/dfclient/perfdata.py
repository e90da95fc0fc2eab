"""Recordings as NVIDIA's perf_analyzer takes them (``--input-data``), so that a load test sends the audio of its user.

Format: "Input data" in perf_analyzer's guide; ``b64`` is a tensor's little-endian bytes, a quarter of a list's size.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from typing import TextIO

from dfclient import audio
from dfclient.audio import MIXED, AudioOptions
from dfclient.clips import Clip
from dfcontract.card import ModelCard
from dfcontract.tensors import WAVEFORM, Samples
from dfcontract.windows import Windowing


def windows_of(clip: Clip, card: ModelCard, windowing: Windowing, options: AudioOptions = MIXED) -> Iterator[Samples]:
    """The windows (window_samples,) that `dfclient score` would send of one recording.

    Raises:
        AudioError: it can't be decoded.
    """
    for waveform in audio.load_channels(clip.path, card.sample_rate_hz, options):
        for start in windowing.starts(len(waveform.samples)):
            yield windowing.cut(waveform.samples, start, card.pre_emphasis)


def write(windows: Iterable[Samples], file: TextIO) -> int:
    """Write windows as perf_analyzer's JSON, a request's content each, as they come; how many there were."""
    count = 0
    file.write('{"data": [')
    for count, window in enumerate(windows, start=1):
        content = {"b64": base64.b64encode(window.astype("<f4").tobytes()).decode()}
        file.write(",\n" if count > 1 else "\n")
        json.dump({WAVEFORM: {"content": content, "shape": [len(window)]}}, file)
    file.write("\n]}\n")
    return count
