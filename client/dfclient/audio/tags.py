"""Tags that stand before, between or after audio and are no part of it: ID3, APE, Lyrics3."""

import re

from dfclient.audio.files import Reader


def tags_end(reader: Reader, at: int) -> int:
    """Where the tags that begin at `at` end: `at` itself where none does."""
    while length := _tag_bytes(reader, at):
        at += length
    return at


def _tag_bytes(reader: Reader, at: int) -> int:
    head = reader.at(at, 16)
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 0x80:
        has_footer = bool(head[5] & 0x10)
        return 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) + 10 * has_footer
    if head.startswith(b"TAG"):
        return 128 if at + 128 <= reader.size else 0
    if head.startswith(b"APETAGEX"):
        return 32 + int.from_bytes(head[12:16], "little")
    if head.startswith(b"LYRICSBEGIN"):
        found = reader.find(at, re.compile(b"LYRICS200"))
        return 0 if found is None else found + 9 - at
    return 0
