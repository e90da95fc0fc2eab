"""Where live audio comes from: a recording on disk, or a pipe; chunks of frames, as they come.

Through a pipe comes raw PCM, or a container. A container is known by its first bytes and decoded while it comes, so
that its header is never heard as noise; one that can only be read back and forth is refused by its name.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dfclient.audio.channels import Mixer
from dfclient.audio.containers import container_of
from dfclient.audio.decode import decoded
from dfclient.audio.options import MIX, AudioOptions
from dfclient.audio.pipes import Replay, container_blocks, first_bytes, raw_samples
from dfclient.audio.resample import Resampler, checked_rate_hz
from dfclient.audio.samples import MAX_CHANNELS, Block
from dfclient.audio.waveform import MIXED
from dfclient.clips import Clip, clips_from
from dfclient.errors import AudioError, InputError
from dfclient.listings import is_listing
from dfcontract.live import ENCODINGS
from dfcontract.tensors import Samples

PIPE = "-"
CHUNK_S = 0.1


@dataclass(frozen=True)
class Source:
    """Audio that comes in chunks.

    Attributes:
        rate_hz: of the chunks.
        channels: of the recording, before they were mixed.
        outputs: one, or as many as channels where each is wanted.
        chunks: (frames, outputs) float32.
        warnings: what is to be said of the recording; complete when the chunks have ended.
    """

    rate_hz: int
    channels: int
    outputs: int
    chunks: Iterator[Samples]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RawFormat:
    """How raw samples lie in a pipe: interleaved channels, little-endian."""

    rate_hz: int
    channels: int
    encoding: str

    def __post_init__(self) -> None:
        """Refuse with InputError what can't be."""
        checked_rate_hz(self.rate_hz)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise InputError(f"expected 1 to {MAX_CHANNELS} channels, found {self.channels}")
        if self.encoding not in ENCODINGS:
            raise InputError(f"expected the encoding {', '.join(ENCODINGS)}, found {self.encoding!r}")


def one_clip(path: str) -> Clip:
    """The one recording at `path`; InputError where that is a folder, a list or a manifest."""
    if path.startswith("@") or os.path.isdir(path) or is_listing(path):  # noqa: PTH112  # takes any name
        raise InputError(f"{path}: expected one recording, or - for audio from a pipe")
    return clips_from([path])[0]


@contextmanager
def recording(clip: Clip, options: AudioOptions = MIXED) -> Iterator[Source]:
    """A recording, decoded while it is read; AudioError when that can't be done."""
    warnings: list[str] = []
    blocks = decoded(Path(clip.path), options, warnings.append)
    yield _source(blocks, options, warnings, gains=lambda: _gains(clip.path, options))


@contextmanager
def pipe(raw: RawFormat, options: AudioOptions = MIXED, stream: BinaryIO | None = None) -> Iterator[Source]:
    """What comes through a stream (else standard input): a container, or else raw samples as described.

    Raises:
        AudioError: a container that can't be decoded as it comes.
    """
    # Unbuffered: what has arrived is read at once, and no lock of a buffer is held when the program ends meanwhile.
    opened = stream or open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    head = first_bytes(opened)
    replay, warnings = Replay(head, opened), list[str]()
    if (container := container_of(head)) is not None:
        yield _source(container_blocks(replay, container, options, warnings), options, warnings)
    else:
        blocks = (Block(samples, raw.rate_hz) for samples in raw_samples(replay, raw.channels, raw.encoding))
        outputs = Mixer(options, raw.channels).outputs
        yield Source(raw.rate_hz, raw.channels, outputs, _mixed(blocks, raw.rate_hz, options, warnings, []), warnings)


def paced(source: Source) -> Iterator[Samples]:
    """Its chunks, each when its last sample would have been played."""
    started_s, frames = time.monotonic(), 0
    for chunk in source.chunks:
        frames += len(chunk)
        time.sleep(max(0.0, started_s + frames / source.rate_hz - time.monotonic()))
        yield chunk


def _source(
    blocks: Iterator[Block],
    options: AudioOptions,
    warnings: list[str],
    gains: Callable[[], list[float]] = list,
) -> Source:
    """A source of decoded blocks, the first of which says what they are; `gains`: see `_mixed`."""
    first = next(blocks, None)
    if first is None:
        raise AudioError("it holds no samples")
    rate_hz, channels = checked_rate_hz(first.rate_hz), first.samples.shape[1]
    known_gains = gains() if channels == 2 and options.channels == MIX else []
    mixed = _mixed(itertools.chain([first], blocks), rate_hz, options, warnings, known_gains)
    pieces = (piece for chunk in mixed for piece in _pieces(chunk, round(CHUNK_S * rate_hz)))
    outputs = Mixer(options, channels, first.layout).outputs
    return Source(rate_hz, channels, outputs, pieces, warnings)


def _gains(path: str, options: AudioOptions) -> list[float]:
    """What each stretch of a recording is to be multiplied by, as when it is scored as a whole."""
    gains = []
    for (_, channels, layout), stretch in itertools.groupby(decoded(Path(path), options, _ignore), _kind):
        mixer = Mixer(options, channels, layout)
        for block in stretch:
            mixer.push(block.samples)
        gains.append(mixer.gain)
    return gains


def _ignore(_warning: str) -> None:
    return


def _mixed(
    blocks: Iterator[Block], rate_hz: int, options: AudioOptions, warnings: list[str], gains: list[float]
) -> Iterator[Samples]:
    """Blocks of any rates as chunks of one; `gains`: of each stretch of one rate and layout, where known before."""
    outputs = 0
    kinds = itertools.groupby(blocks, _kind)
    for ((source_rate_hz, channels, layout), stretch), gain in itertools.zip_longest(kinds, gains):
        mixer = Mixer(options, channels, layout)
        if outputs not in (0, mixer.outputs):
            raise AudioError(f"expected {outputs} channels throughout, to score each, found {mixer.outputs}")
        outputs = mixer.outputs
        resamplers = [Resampler(checked_rate_hz(source_rate_hz), rate_hz) for _ in range(outputs)]
        for block in stretch:
            mixed = mixer.push(block.samples) * np.float32(gain or 1)
            yield _resampled(resamplers, mixed, last=False)
        yield _resampled(resamplers, np.empty((0, outputs), np.float32), last=True)
        warnings.extend(mixer.warnings())
        if (live := mixer.only_live) is not None:
            half = f"--channels {live} scores the other one" if gain is None else f"channel {live} was scored"
            warnings.append(f"channel {3 - live} of 2 is silent: {half}")


def _kind(block: Block) -> tuple[int, int, tuple[str, ...]]:
    return block.rate_hz, block.samples.shape[1], block.layout


def _resampled(resamplers: list[Resampler], mixed: Samples, *, last: bool) -> Samples:
    outputs = [
        resampler.push(np.ascontiguousarray(mixed[:, output]), last=last) for output, resampler in enumerate(resamplers)
    ]
    return np.stack(outputs, axis=1)


def _pieces(block: Samples, n_frames: int) -> Iterator[Samples]:
    for start in range(0, len(block), n_frames):
        yield block[start : start + n_frames]
