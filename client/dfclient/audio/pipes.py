"""Audio through a pipe: told apart by its first bytes, decoded while it comes."""

import io
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import numpy as np

from dfclient.audio import ffmpeg
from dfclient.audio.containers import HEAD_BYTES, Container, may_be_container
from dfclient.audio.decode import words_of
from dfclient.audio.options import AudioOptions
from dfclient.audio.samples import Block
from dfclient.errors import AudioError, DfclientError
from dfcontract.live import ENCODINGS, TELEPHONE_RATE_HZ
from dfcontract.tensors import Samples

G711 = {"mulaw": "ULAW", "alaw": "ALAW"}  # libsndfile's names
PIPE_READ_BYTES = 1 << 16


class Replay(io.RawIOBase):
    """A pipe whose first bytes were read already, from its beginning; it can't go back."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head, self._stream = head, stream
        self.position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """What has arrived, at most `size` bytes; empty at the end."""
        if self._head:
            size = len(self._head) if size < 0 else size
            content, self._head = self._head[:size], self._head[size:]
        else:
            content = self._stream.read(size) or b""
        self.position += len(content)
        return content


def first_bytes(stream: BinaryIO) -> bytes:
    """As many bytes as it takes to tell a container from samples."""
    head = b""
    while len(head) < HEAD_BYTES and may_be_container(head) and (content := stream.read(HEAD_BYTES - len(head))):
        head += content
    return head


def container_blocks(
    replay: Replay, container: Container, options: AudioOptions, warnings: list[str]
) -> Iterator[Block]:
    """Blocks of a container that comes through a pipe.

    Raises:
        AudioError: it can't be decoded as it comes.
    """
    hint = "give the file's path instead of -, or pipe raw samples (ffmpeg -f s16le, arecord -t raw)"
    if not container.is_live:
        raise AudioError(f"found {container.name} on standard input, which can't be decoded as it comes: {hint}")
    if not ffmpeg.is_available():
        raise AudioError(
            f"found {container.name} on standard input: to decode it, pip install 'dfserve[containers]'; or {hint}"
        )
    frames = 0
    try:
        with closing(ffmpeg.Decoder(replay, container.demuxer, live=True)) as decoder:
            for block in decoder.blocks(options, warnings.append):
                frames += len(block.samples)
                yield block
    except DfclientError:
        raise
    except Exception as error:
        if frames:
            raise AudioError(f"damaged: {words_of(error)}") from None
        said = f"not decoded as it comes ({words_of(error)})"
        raise AudioError(f"found {container.name} on standard input, {said}: {hint}") from None
    unread = 0
    while content := replay.read(PIPE_READ_BYTES):
        unread += len(content)
    if unread:
        warnings.append(f"its last {unread} bytes were not read: no audio that is known")


def raw_samples(stream: io.RawIOBase, channels: int, encoding: str) -> Iterator[Samples]:
    """(frames, channels) float32 of raw interleaved samples, as they arrive; AudioError where they end in a frame."""
    frame_bytes, rest = ENCODINGS[encoding] * channels, b""
    while content := stream.read(PIPE_READ_BYTES):
        rest += content
        whole = len(rest) - len(rest) % frame_bytes
        if whole:
            yield _decoded(rest[:whole], encoding).reshape(-1, channels)
            rest = rest[whole:]
    if rest:
        raise AudioError(f"standard input ends within a frame: {len(rest)} of {frame_bytes} bytes ({encoding})")


def _decoded(content: bytes, encoding: str) -> Samples:
    if encoding == "fp32":
        return np.frombuffer(content, "<f4").astype(np.float32)
    if encoding == "int16":
        return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
    import soundfile

    samples: Samples
    samples, _ = soundfile.read(
        io.BytesIO(content),
        format="RAW",
        subtype=G711[encoding],
        samplerate=TELEPHONE_RATE_HZ,
        channels=1,
        dtype="float32",
    )
    return samples
