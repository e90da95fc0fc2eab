"""Recordings of any kind to waveforms: decoded, brought to one channel and to the model's rate.

files       bytes at any offset: of a path, an open file, or memory
containers  the kinds of file that are known, one row each
extents     where a recording ends, and whether all of it is there: chunks; frames, mpeg, flac, ogg: the others
sndfile, ffmpeg   the two decoders
decode      a recording's blocks by whichever reads it; the one place that maps decoders' errors
channels    which channels are scored, and how they are mixed
resample    to the model's rate
waveform    all of that: load, from_array
quality     what to warn of
sources     live: a recording or a pipe, in chunks (not imported here)
"""

from dfclient.audio.channels import downmixed
from dfclient.audio.containers import AUDIO_SUFFIXES
from dfclient.audio.files import Recording
from dfclient.audio.options import EACH, MIX, AudioOptions
from dfclient.audio.quality import peak_of, warnings_from_peaks, warnings_of
from dfclient.audio.resample import Resampler, checked_rate_hz
from dfclient.audio.samples import MAX_CHANNELS, frames_of
from dfclient.audio.waveform import MIXED, Waveform, channels_from_array, from_array, load, load_channels

__all__ = [
    "AUDIO_SUFFIXES",
    "EACH",
    "MAX_CHANNELS",
    "MIX",
    "MIXED",
    "AudioOptions",
    "Recording",
    "Resampler",
    "Waveform",
    "channels_from_array",
    "checked_rate_hz",
    "downmixed",
    "frames_of",
    "from_array",
    "load",
    "load_channels",
    "peak_of",
    "warnings_from_peaks",
    "warnings_of",
]
