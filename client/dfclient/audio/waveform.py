"""Recordings to waveforms: decoded, brought to one channel and to the model's rate. Amplitude is never touched.

Memory holds only the mono waveform at the model's rate, 230 MB for an hour at 16 kHz: all else goes block by block.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dfclient.audio.channels import Mixer
from dfclient.audio.decode import decoded
from dfclient.audio.files import Recording
from dfclient.audio.options import EACH, AudioOptions
from dfclient.audio.resample import Resampler, checked_rate_hz
from dfclient.audio.samples import Block, frames_of
from dfclient.errors import AudioError, InputError
from dfcontract.tensors import Samples

MIXED = AudioOptions()


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono audio at a model's rate, and what it was before."""

    samples: Samples  # (n,) float32, raw amplitude
    rate_hz: int
    source_rate_hz: int  # of its beginning, where it changes
    source_channels: int
    source_frames: int
    duration_s: float  # of the recording, from its own samples and rates
    channel: int | None = None  # of those of the recording, from 1 on, where each is scored by itself
    warnings: tuple[str, ...] = ()  # what a reader of the score should know about the recording


def load(recording: Recording, rate_hz: int, options: AudioOptions = MIXED) -> Waveform:
    """Decode a recording (a path, the bytes of a file, or an open binary file) to mono at `rate_hz`.

    Raises:
        AudioError: it is missing, unreadable, empty, damaged or not audio, or holds NaN or infinity.
        InputError: `recording` is none, or `options` ask for more than one waveform.
    """
    if options.channels == EACH:
        raise InputError(f"channels {EACH!r} gives several waveforms: use load_channels")
    return load_channels(recording, rate_hz, options)[0]


def load_channels(recording: Recording, rate_hz: int, options: AudioOptions = MIXED) -> tuple[Waveform, ...]:
    """Like `load`: a waveform for each channel where `options` say `each`, else one."""
    warnings: list[str] = []
    return _waveforms(decoded(recording, options, warnings.append), rate_hz, options, warnings)


def from_array(waveform: npt.ArrayLike, source_rate_hz: int, rate_hz: int, options: AudioOptions = MIXED) -> Waveform:
    """Mono at `rate_hz` from an array: (samples,) or (samples, channels), floats in [-1, 1] or signed integer PCM.

    Raises:
        InputError: another shape, kind of number or an impossible rate.
        AudioError: no samples, or NaN or infinity among them.
    """
    if options.channels == EACH:
        raise InputError(f"channels {EACH!r} gives several waveforms: use channels_from_array")
    return channels_from_array(waveform, source_rate_hz, rate_hz, options)[0]


def channels_from_array(
    waveform: npt.ArrayLike, source_rate_hz: int, rate_hz: int, options: AudioOptions = MIXED
) -> tuple[Waveform, ...]:
    """Like `from_array`: a waveform for each channel where `options` say `each`, else one."""
    return _waveforms([Block(frames_of(waveform), source_rate_hz)], rate_hz, options, [])


@dataclass
class _Stretch:
    """Consecutive blocks of one rate and layout."""

    mixer: Mixer
    resamplers: list[Resampler]
    rate_hz: int
    layout: tuple[str, ...]
    frames: int = 0
    parts: list[list[Samples]] = field(default_factory=list)  # of each output

    def push(self, samples: Samples) -> None:
        """More of it: (frames, channels)."""
        mixed = self.mixer.push(samples)
        # Both are passed on by the extremes, which take half as long as to look at each sample.
        if not (math.isfinite(mixed.min(initial=0)) and math.isfinite(mixed.max(initial=0))):
            raise AudioError("its samples hold NaN or infinity")
        self.frames += len(mixed)
        self._resample(mixed, last=False)

    def finish(self, warnings: list[str]) -> None:
        """No more of it will come."""
        self._resample(np.empty((0, len(self.resamplers)), np.float32), last=True)
        warnings.extend(self.mixer.warnings())
        if (live := self.mixer.only_live) is not None:
            warnings.append(f"channel {3 - live} of 2 is silent: channel {live} was scored")
            self.parts = [[part * np.float32(self.mixer.gain) for part in parts] for parts in self.parts]

    def _resample(self, mixed: Samples, *, last: bool) -> None:
        for output, resampler in enumerate(self.resamplers):
            part = resampler.push(np.ascontiguousarray(mixed[:, output]), last=last)
            if len(part):
                self.parts[output].append(part)


def _waveforms(
    blocks: Iterable[Block], rate_hz: int, options: AudioOptions, warnings: list[str]
) -> tuple[Waveform, ...]:
    stretches: list[_Stretch] = []
    for block in blocks:
        channels = block.samples.shape[1]
        last = stretches[-1] if stretches else None
        if last is None or (last.rate_hz, last.mixer.channels, last.layout) != (block.rate_hz, channels, block.layout):
            if last is not None:
                last.finish(warnings)
            stretches.append(_begun(block, rate_hz, options))
            _require_same_outputs(stretches)
        stretches[-1].push(block.samples)
    if not stretches or not any(stretch.frames for stretch in stretches):
        raise AudioError("it holds no samples")
    stretches[-1].finish(warnings)
    rates = list(dict.fromkeys(f"{stretch.rate_hz} Hz" for stretch in stretches))
    if len(rates) > 1:
        warnings.append(f"its sample rate changes: {', then '.join(rates)}")
    return tuple(_joined(stretches, output, rate_hz, options, warnings) for output in range(stretches[0].mixer.outputs))


def _begun(block: Block, rate_hz: int, options: AudioOptions) -> _Stretch:
    mixer = Mixer(options, block.samples.shape[1], block.layout)
    source_rate_hz = checked_rate_hz(block.rate_hz)
    resamplers = [Resampler(source_rate_hz, rate_hz) for _ in range(mixer.outputs)]
    return _Stretch(mixer, resamplers, source_rate_hz, block.layout, parts=[[] for _ in resamplers])


def _require_same_outputs(stretches: list[_Stretch]) -> None:
    before, now = stretches[0].mixer, stretches[-1].mixer
    if before.outputs != now.outputs:
        raise AudioError(
            f"expected as many channels throughout, to score each, found {before.channels}, then {now.channels}"
        )


def _joined(
    stretches: list[_Stretch], output: int, rate_hz: int, options: AudioOptions, warnings: list[str]
) -> Waveform:
    parts = [part for stretch in stretches for part in stretch.parts[output]]
    if not parts:
        raise AudioError("it holds no samples")
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Waveform(
        samples=samples,
        rate_hz=rate_hz,
        source_rate_hz=stretches[0].rate_hz,
        source_channels=stretches[0].mixer.channels,
        source_frames=sum(stretch.frames for stretch in stretches),
        duration_s=sum(stretch.frames / stretch.rate_hz for stretch in stretches),
        channel=output + 1 if options.channels == EACH else None,
        warnings=tuple(dict.fromkeys(warnings)),
    )
