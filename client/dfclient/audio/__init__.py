"""Recordings to waveforms: decode, downmix to mono, resample. Amplitude is never touched.

One file a step: `decode` (files and bytes to blocks of frames), `channels` (arrays and frames to mono), `resample`,
`waveform` (all of it at once, and what to warn of), `sources` (the same while it plays).
"""

from dfclient.audio.channels import downmixed, frames_of
from dfclient.audio.decode import AUDIO_SUFFIXES
from dfclient.audio.resample import Resampler, checked_rate_hz
from dfclient.audio.waveform import Waveform, from_array, load, warnings_of

__all__ = [
    "AUDIO_SUFFIXES",
    "Resampler",
    "Waveform",
    "checked_rate_hz",
    "downmixed",
    "frames_of",
    "from_array",
    "load",
    "warnings_of",
]
