"""The extent of an Ogg recording: pages with a checksum, which begin and end streams. See `extents.py`."""

import re
import zlib

from dfclient.audio.extents import Extent
from dfclient.audio.files import Reader
from dfclient.audio.flac import STREAM_INFO, frames_in_stream_info

PAGE = re.compile(b"OggS")
HEAD_BYTES = 27
BEGINS, ENDS = 2, 4  # flags of a page
REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))  # each byte with its bits in the other order


def walk_ogg(reader: Reader, start: int) -> Extent:
    """Ogg: a chained recording ends where a page begins a stream after pages of another one."""
    at = end = start
    has_body, cut = False, ""
    skipped = damaged = 0
    frames, flags = None, 0
    while at < reader.size:
        head = reader.at(at, HEAD_BYTES)
        lengths = reader.at(at + HEAD_BYTES, head[26]) if len(head) == HEAD_BYTES else b""
        if head[:4] != b"OggS":
            found = reader.find(at, PAGE)
            if found is None:
                break
            skipped, at = skipped + found - at, found
            continue
        n_bytes = HEAD_BYTES + len(lengths) + sum(lengths)
        if len(head) < HEAD_BYTES or at + n_bytes > reader.size:
            end, cut = reader.size, "it ends within a page"
            break
        if head[5] & BEGINS and has_body:
            break
        page = reader.at(at, n_bytes)
        if checksum(page) != int.from_bytes(head[22:26], "little"):
            damaged += 1
        has_body, flags = has_body or not head[5] & BEGINS, head[5]
        frames = frames or _flac_frames(page[HEAD_BYTES + len(lengths) :])
        end = at = at + n_bytes
    warnings = []
    if damaged:
        warnings.append(f"damaged: the checksum of {damaged} of its pages is wrong")
    if not flags & ENDS and not cut:
        warnings.append("its last page bears no end mark: it may have been cut short")
    return Extent(end, frames=frames, cut=cut, skipped_bytes=skipped, warnings=tuple(warnings))


def checksum(page: bytes) -> int:
    """Ogg's CRC-32 of a page: zlib's polynomial with the bits in the other order, from 0, over a zeroed checksum."""
    content = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    reversed_crc = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reversed_crc.to_bytes(4, "big").translate(REVERSED), "little")


def _flac_frames(body: bytes) -> int | None:
    """Samples a channel by the first packet of FLAC in Ogg."""
    if not body.startswith(b"\x7fFLAC") or not STREAM_INFO.match(body, 9):
        return None
    return frames_in_stream_info(body[17:51])
