"""Audio through a pipe: told apart by its first bytes, decoded while it comes."""

import io
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import numpy as np

from dfclient.audio import ffmpeg
from dfclient.audio.containers import HEAD_BYTES, Container, may_be_container, recognised
from dfclient.audio.decode import words_of
from dfclient.audio.extents import UNCHECKED
from dfclient.audio.files import Reader
from dfclient.audio.options import AudioOptions
from dfclient.audio.promises import keep_promise
from dfclient.audio.samples import Block
from dfclient.errors import AudioError, DfclientError
from dfcontract.live import ENCODINGS, TELEPHONE_RATE_HZ
from dfcontract.tensors import Samples

G711 = {"mulaw": "ULAW", "alaw": "ALAW"}  # libsndfile's names
PIPE_READ_BYTES = 1 << 16
KEPT_BYTES = 1 << 26  # of what has come; a recording's header states its length within them
TOO_LONG_TO_CHECK = (
    f"more than {KEPT_BYTES >> 20} MiB came through the pipe: it is not checked whether it is whole, or whether "
    "another recording follows in it"
)


class NotKept(Exception):
    """Bytes of a pipe are asked for again that were let go."""


class Replay(io.RawIOBase):
    """A pipe whose first bytes were read already, from its beginning; it can't go back.

    Attributes:
        position: how many bytes have been read.
        kept: the first of them, up to KEPT_BYTES.
    """

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head, self._stream = head, stream
        self.position = 0
        self.kept = bytearray()

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
        self.kept += content[: KEPT_BYTES - len(self.kept)]
        return content


class Passed(io.BytesIO):
    """What has come through a pipe, as a file of that length; NotKept where a part is read that was let go."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay.kept)
        self._total_bytes = replay.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file of that length."""
        return super().seek(self._total_bytes + offset) if whence == io.SEEK_END else super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        """As of any file."""
        content = super().read(size)
        if not content and size and self.tell() < self._total_bytes:
            raise NotKept
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
        AudioError: it can't be decoded as it comes, or has ended before its header says so.
    """
    hint = "give the file's path instead of -, or pipe raw samples (ffmpeg -f s16le, arecord -t raw)"
    if not container.is_live:
        raise AudioError(f"found {container.name} on standard input, which can't be decoded as it comes: {hint}")
    if not ffmpeg.is_available():
        raise AudioError(
            f"found {container.name} on standard input: to decode it, pip install 'dfserve[containers]'; or {hint}"
        )
    has_samples = False
    try:
        with closing(ffmpeg.Decoder(replay, container.demuxer, live=True)) as decoder:
            for block in decoder.blocks(options, warnings.append):
                has_samples = True
                yield block
    except DfclientError:
        raise
    except Exception as error:
        if has_samples:
            _check_end(replay, decoder, warnings)  # a frame that was cut is damaged, but here is the cause
            raise AudioError(f"damaged: {words_of(error)}") from None
        said = f"not decoded as it comes ({words_of(error)})"
        raise AudioError(f"found {container.name} on standard input, {said}: {hint}") from None
    if unread := _read_on(replay):
        warnings.append(f"its last {unread} bytes were not read: no audio that is known")
    _check_end(replay, decoder, warnings)


def _read_on(replay: Replay) -> int:
    """Read to the end of the pipe; how many bytes that were."""
    unread = 0
    while content := replay.read(PIPE_READ_BYTES):
        unread += len(content)
    return unread


def _check_end(replay: Replay, decoder: ffmpeg.Decoder, warnings: list[str]) -> None:
    """Find out whether as much has come as the header promises, by the same code as for a file.

    Raises:
        AudioError: it has not.
    """
    _read_on(replay)
    reader = Reader(Passed(replay))
    try:
        container, start = recognised(reader, 0)
        if container is None or container.walk is None:
            warnings.append(UNCHECKED)
            return
        extent = container.walk(reader, start)
    except NotKept:
        warnings.append(TOO_LONG_TO_CHECK)
        return
    warnings.extend(extent.warnings)
    keep_promise(extent, decoder.frames, decoder.rate_hz)


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
