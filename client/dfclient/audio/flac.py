"""The extent of a FLAC recording: it states its number of samples, but not of bytes. See `extents.py`."""

import re
from functools import cache
from itertools import islice

from dfclient.audio.extents import UNSTATED, Extent
from dfclient.audio.files import Reader

STREAM_INFO = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the mark and the head of the block that must come first
STREAM_INFO_BYTES = 4 + 4 + 34
LEAST_BLOCK = 16  # samples: fewer are allowed in the last one alone
MAX_FRAME_BYTES = 1 << 17  # where the header does not say
READ_AHEAD_BYTES = 1 << 13  # libFLAC reads so many at once: so much may follow unseen where its decoder has stopped
TAIL_BYTES = 1 << 14  # enough for the last frame, of most recordings
SYNCS = (b"\xff\xf8", b"\xff\xf9")
SYNC = re.compile(b"|".join(SYNCS))
MAX_TRIES = 200  # a sync code may stand within a frame by chance, once in 32 KB
MAX_ZEROS = 8  # so many behind what may be the last frame's end may be its own: they change no remainder
CRC_POLYNOMIAL = 0x8005


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
    if _ends_with_frame(reader.at(tail_at, limit - tail_at)):
        return Extent(limit, frames=frames, warnings=_warnings_of(info))
    end = _last_frame_end(reader, first, limit, longest)
    behind = reader.at(end, MAX_ZEROS)
    slack_bytes = len(behind) - len(behind.lstrip(b"\0"))
    return Extent(end, frames=frames, slack_bytes=slack_bytes, warnings=_warnings_of(info))


def _warnings_of(info: bytes) -> tuple[str, ...]:
    """What is to be said of a STREAMINFO block, which libFLAC itself does not check."""
    fewest, most = int.from_bytes(info[:2], "big"), int.from_bytes(info[2:4], "big")
    is_possible = LEAST_BLOCK <= fewest <= most
    damage = () if is_possible else (f"damaged: its header states blocks of {fewest} to {most} samples",)
    return damage if frames_in_stream_info(info) else (*damage, UNSTATED)


def glance_flac(reader: Reader, start: int) -> Extent | None:
    """FLAC in a file that libsndfile reads by itself: it stops after as many samples as the header states.

    How far it has read then says whether there is more, and spares a search through all of the file. None where the
    header states no number, where FFmpeg is to read it (surround), or where the file does not end with a whole frame.
    """
    info = reader.at(start, STREAM_INFO_BYTES)[8:]
    frames = frames_in_stream_info(info)
    if frames is None or info[12] >> 1 & 7 > 1 or reader.descriptor() is None:
        return None
    if not _ends_with_frame(_tail(reader, start)):
        return None
    return Extent(reader.size, frames=frames, warnings=_warnings_of(info))


def is_flac_over(reader: Reader, start: int) -> bool:
    """Whether libsndfile has read all of a file that was glanced at, and nothing begins in what it has read last."""
    return reader.decoder_position >= reader.size and _tail(reader, start).find(b"fLaC", -READ_AHEAD_BYTES) < 0


def _tail(reader: Reader, start: int) -> bytes:
    at = max(start + STREAM_INFO_BYTES, reader.size - TAIL_BYTES)
    return reader.at(at, reader.size - at)


def _ends_with_frame(content: bytes) -> bool:
    """Whether the last of these bytes are a whole frame, from a sync code on."""
    for sync in SYNCS:
        at = len(content)
        for _ in range(MAX_TRIES):
            at = content.rfind(sync, 0, at + 1)
            if at < 0:
                break
            if is_frame(content[at:]):
                return not content.endswith(b"\0" * 3)  # zeros behind a frame change no remainder; two may be its own
    return False


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
        starts = [sync.start() for sync in islice(SYNC.finditer(block, 1), MAX_TRIES)]
        size = next((n for n in starts if is_frame(block[:n])), None)
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


def is_frame(content: bytes) -> bool:
    """Whether `content` ends with its own CRC-16, as a whole frame does: its polynomial divides it.

    x^16 + x^15 + x^2 + 1 is (x + 1)(x^15 + x + 1). The first divides what has an even number of bits set. By the second
    x^15 is as good as x + 1, hence x^(15·2^k) as x^(2^k) + 1: so the bits from there on are folded down, k by k.
    """
    bits = int.from_bytes(content, "big")
    if bits.bit_count() % 2:
        return False
    for k in reversed(range((bits.bit_length() // 15).bit_length())):
        while high := bits >> (15 << k):
            bits ^= high << (15 << k) ^ high << (1 << k) ^ high
    return bits == 0


def crc16_step(remainder: int, byte: int) -> int:
    """The CRC-16 of one more byte."""
    return (remainder << 8 & 0xFF00) ^ _byte_table()[remainder >> 8 ^ byte]


@cache
def _byte_table() -> list[int]:
    """The CRC-16 of each single byte."""
    table = []
    for value in range(256):
        remainder = value << 8
        for _ in range(8):
            remainder = (remainder << 1 ^ (CRC_POLYNOMIAL if remainder & 0x8000 else 0)) & 0xFFFF
        table.append(remainder)
    return table
