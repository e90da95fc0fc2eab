"""The extent of a FLAC recording: it states its number of samples, but not of bytes. See `extents.py`."""

import re
from functools import cache

import numpy as np
import numpy.typing as npt

from dfclient.audio.extents import Extent
from dfclient.audio.files import Reader

STREAM_INFO = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the mark and the head of the block that must come first
STREAM_INFO_BYTES = 4 + 4 + 34
MAX_FRAME_BYTES = 1 << 17  # where the header does not say
SYNC = re.compile(rb"\xff[\xf8\xf9]")
CRC_POLYNOMIAL = 0x8005
ROW_BYTES = 64
COLUMN_STARTS = np.arange(ROW_BYTES) * 256


def frames_in_stream_info(info: bytes) -> int | None:
    """Samples a channel by the 34 bytes of a STREAMINFO block; None: its writer did not know."""
    return (int.from_bytes(info[10:18], "big") & ((1 << 36) - 1)) or None if len(info) >= 18 else None


def walk_flac(reader: Reader, start: int) -> Extent:
    """FLAC: a recording ends where another begins, or after its last whole frame."""
    info = reader.at(start, STREAM_INFO_BYTES)[8:]
    frames = frames_in_stream_info(info)
    first = _first_frame(reader, start)
    limit = reader.find(first, STREAM_INFO) or reader.size
    longest = int.from_bytes(info[7:10], "big") or MAX_FRAME_BYTES
    tail_at = max(first, limit - longest)
    tail = reader.at(tail_at, limit - tail_at)
    if any(crc16(tail[start:]) == 0 for start in reversed([sync.start() for sync in SYNC.finditer(tail)])):
        return Extent(limit, frames=frames)
    return Extent(_last_frame_end(reader, first, limit, longest), frames=frames)


def _first_frame(reader: Reader, start: int) -> int:
    """Where the metadata blocks end; each says whether it is the last, and its length in 24 bits."""
    at = start + 4
    while len(head := reader.at(at, 4)) == 4:
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return min(at, reader.size)


def _last_frame_end(reader: Reader, first: int, limit: int, longest: int) -> int:
    """The end of the last whole frame: each begins with a sync code, and its checksum is the remainder 0."""
    at = end = first
    while at < limit:
        block = reader.at(at, min(longest + 2, limit - at))
        starts = [sync.start() for sync in SYNC.finditer(block) if sync.start() > 0]
        size = next((n for n in starts if crc16(block[:n]) == 0), None)
        if size is None:  # the last one, which no frame follows
            size = _shortest_remainder_0(block)
            return at + size if size else end
        at = end = at + size
    return end


def _shortest_remainder_0(block: bytes) -> int | None:
    """The fewest bytes that end with their own checksum, from those of a frame's head and an empty subframe on."""
    remainder = 0
    for n_bytes, byte in enumerate(block, 1):
        remainder = crc16_step(remainder, byte)
        if remainder == 0 and n_bytes >= 10:
            return n_bytes
    return None


def crc16(content: bytes) -> int:
    """FLAC's CRC-16 of `content`: 0 for a frame with its own checksum at the end.

    NumPy takes the remainder of each row of bytes by a table for each column; only the rows are joined one by one.
    """
    columns, high, low = _tables()
    padded = bytes(-len(content) % ROW_BYTES) + content  # zeros in front change nothing
    places = np.frombuffer(padded, np.uint8).reshape(-1, ROW_BYTES) + COLUMN_STARTS
    remainder = 0
    for row in np.bitwise_xor.reduce(columns.take(places), axis=1).tolist():
        remainder = high[remainder >> 8] ^ low[remainder & 255] ^ row
    return remainder


def crc16_step(remainder: int, byte: int) -> int:
    """The CRC-16 of one more byte."""
    return (remainder << 8 & 0xFF00) ^ _byte_table()[remainder >> 8 ^ byte]


@cache
def _byte_table() -> list[int]:
    """The CRC-16 of each single byte."""
    values = np.arange(256, dtype=np.uint32) << 8
    for _ in range(8):
        values = np.where(values & 0x8000, values << 1 ^ CRC_POLYNOMIAL, values << 1) & 0xFFFF
    return [int(value) for value in values]


@cache
def _tables() -> tuple[npt.NDArray[np.uint16], list[int], list[int]]:
    """The CRC-16 of each byte in each column of a row, column by column, and the first two columns again.

    The remainder of the rows before is as good as added to a row's first two bytes.
    """
    by_byte = np.array(_byte_table(), np.uint16)
    columns = [by_byte]
    for _ in range(ROW_BYTES - 1):  # one column to the left is one more byte of zeros behind
        columns.insert(0, (columns[0] << 8) ^ by_byte[columns[0] >> 8])
    return np.concatenate(columns), columns[0].tolist(), columns[1].tolist()
