"""FFmpeg (PyAV, the extra `containers`): what libsndfile does not read, surround, and what comes through a pipe."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dfclient.audio.containers import CONTAINERS, HEADERLESS
from dfclient.audio.options import AudioOptions
from dfclient.audio.samples import MAX_CHANNELS, Block, Say
from dfclient.errors import AudioError
from dfcontract.tensors import Samples

BLOCK_FRAMES = 1 << 15
PLANES = 8  # of a frame with so many, PyAV reads one too many
# FFmpeg's sample formats as NumPy's numbers, and what is silence and what full scale in them. A p at the end: planar.
FORMATS = {
    "u8": (np.uint8, 128, 1 << 7),
    "s16": (np.int16, 0, 1 << 15),
    "s32": (np.int32, 0, 1 << 31),
    "flt": (np.float32, 0, 1),
    "dbl": (np.float64, 0, 1),
}
# Others may open further files, or addresses on a network, that a playlist names.
DEMUXERS = ",".join(sorted({*(container.demuxer for container in CONTAINERS), *HEADERLESS.values()} - {""}))


def is_available() -> bool:
    """Whether PyAV is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class Decoder:
    """One recording, opened: its blocks come from `blocks`, and `frames` says how many have come."""

    def __init__(self, file: Any, demuxer: str, *, live: bool = False) -> None:
        """Open a binary file: `demuxer` FFmpeg's name of its kind, "" to find out; `live`: as it comes, from a pipe.

        Raises:
            av.FFmpegError: it can't be opened.
        """
        import av

        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
        if live:  # begin to decode after half a second, rather than after five
            options |= {"analyzeduration": "500000", "probesize": "32768"}
        self._container: Any = av.open(
            file, format=demuxer or None, options=options, metadata_errors="replace", buffer_size=1 << 15
        )
        self.frames, self.rate_hz, self.end = 0, 0, 0

    def close(self) -> None:
        """Free what the decoder holds."""
        self._container.close()

    def blocks(self, options: AudioOptions, say: Say) -> Iterator[Block]:
        """Blocks of the chosen track, each of one rate and layout.

        Raises:
            AudioError: it holds no audio, or not the track that was asked for.
            av.FFmpegError: it is damaged.
        """
        stream = _track(self._container.streams.audio, options.track, say)
        gathered = _Gathered()
        damaged_packets = damaged_frames = 0
        for packet in self._container.demux(stream):
            if packet.pos is not None:
                self.end = max(self.end, packet.pos + packet.size)
            damaged_packets += packet.is_corrupt
            for frame in packet.decode():
                damaged_frames += frame.is_corrupt
                self.frames, self.rate_hz = self.frames + frame.samples, frame.sample_rate
                yield from gathered.push(frame)
        yield from gathered.rest()
        if damaged_packets or damaged_frames:
            say(f"damaged: FFmpeg calls {damaged_packets} of its packets and {damaged_frames} of its frames corrupt")


def _track(tracks: Any, wanted: str | int | None, say: Say) -> Any:
    """The track that is wanted, or the file's default."""
    if not tracks:
        raise AudioError("no audio in it: FFmpeg finds no audio track")
    default = next((track for track in tracks if track.disposition & track.disposition.default), tracks[0])
    names = [_track_name(number, track, track is default) for number, track in enumerate(tracks, 1)]
    chosen = default
    if wanted is not None:
        numbered = enumerate(tracks, 1)
        found = [track for number, track in numbered if wanted in (number, (track.language or "").lower())]
        if not found:
            raise AudioError(f"expected track {wanted}, found {', '.join(names)}")
        chosen = found[0]
    if chosen.codec_context is None:
        raise AudioError("FFmpeg knows no decoder for its audio track")
    if len(tracks) > 1:
        scored = names[[track is chosen for track in tracks].index(True)]
        say(f"{len(tracks)} audio tracks: {', '.join(names)}; scored was {scored.partition(' ')[0]}")
    return chosen


def _track_name(number: int, track: Any, is_default: bool) -> str:
    remarks = [*([track.language] if track.language else []), *(["default"] if is_default else [])]
    return f"{number} ({', '.join(remarks)})" if remarks else str(number)


class _Gathered:
    """Decoded frames of some 20 ms, gathered to blocks."""

    def __init__(self) -> None:
        self._parts: list[Samples] = []
        self._of: tuple[int, tuple[str, ...], int] | None = None  # rate, layout and channels of what is gathered
        self._frames = 0

    def push(self, frame: Any) -> Iterator[Block]:
        """One frame; what it completes."""
        samples = _samples(frame)
        layout = tuple(channel.name for channel in frame.layout.channels) if samples.shape[1] > 2 else ()
        kind = frame.sample_rate, layout, samples.shape[1]
        if self._of != kind:
            yield from self.rest()
        self._of = kind
        self._parts.append(samples)
        self._frames += len(samples)
        if self._frames >= BLOCK_FRAMES:
            yield from self.rest()

    def rest(self) -> Iterator[Block]:
        """All that was gathered."""
        if self._parts and self._of is not None:
            yield Block(np.concatenate(self._parts), self._of[0], self._of[1])
        self._parts, self._frames = [], 0


def _samples(frame: Any) -> Samples:
    """(frames, channels) float32, scaled as libsndfile does."""
    name = frame.format.name
    kind = FORMATS.get(name.removesuffix("p"))
    channels = len(frame.layout.channels) or frame.layout.nb_channels
    if kind is None or not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"expected up to {MAX_CHANNELS} channels of samples, found {channels} of format {name}")
    if frame.format.is_planar and channels >= PLANES:
        frame = _interleaved(frame)
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, channels)
    _, silence, full_scale = kind
    samples: Samples = np.ascontiguousarray(array, np.float32)
    return samples if full_scale == 1 else (samples - np.float32(silence)) * np.float32(1 / full_scale)


def _interleaved(frame: Any) -> Any:
    """The frame with its channels side by side, each sample as it is."""
    import av

    (interleaved,) = av.AudioResampler(format=frame.format.name.removesuffix("p")).resample(frame)
    return interleaved
