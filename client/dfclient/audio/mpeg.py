"""MPEG audio, layers 1 to 3: its frames, the tags among them that count them, and those that can't be decoded."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cache

from dfclient.audio.frames import RUN_FRAMES, Frame, Kind, Run


def _mpeg_frames(*, is_mono: bool) -> dict[bytes, Frame]:
    """By every valid second and third byte of an MPEG audio frame (ISO 11172-3, 13818-3 and the 2.5 extension)."""
    kbits = {  # by (is version 1, layer)
        (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
        (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
        (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
        (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
        (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    }
    rates_hz = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
    frames = {}
    for second in range(0xE0, 0x100):
        version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
        for third in range(0x100):
            bitrate, rate, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
            if version not in rates_hz or layer == 4 or rate == 3 or bitrate in (0, 15):
                continue
            bits_s, rate_hz = 1000 * kbits[version == 3, layer][bitrate - 1], rates_hz[version][rate]
            if layer == 1:
                n_bytes = (12 * bits_s // rate_hz + padding) * 4
            else:
                n_bytes = (72 if layer == 3 and version != 3 else 144) * bits_s // rate_hz + padding
            frames[bytes([second, third])] = Frame(n_bytes, (rate_hz, version, layer, is_mono))
    return frames


_MPEG = _mpeg_frames(is_mono=False), _mpeg_frames(is_mono=True)
_MPEG_TAG = re.compile(b"VBRI|Xing|Info")
VBRI_AT = 36
HIGHEST_BIG_VALUES = 288  # pairs of a granule's 576 lines


def mpeg_frame(head: bytes) -> Frame | None:
    """MPEG audio, layers 1 to 3 (not of free bit rate)."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    return _MPEG[head[3] >> 6 == 3].get(head[1:3])


def mpeg_count_in_tag(head: bytes) -> int | None:
    """How many frames follow, as an Info, Xing or VBRI tag says (0: it does not); None without a tag."""
    if (found := _MPEG_TAG.search(head)) is None:
        return None
    if found.group() == b"VBRI":
        return int.from_bytes(head[50:54], "big") if found.start() == VBRI_AT else None
    frame, at = mpeg_frame(head), found.start()
    if frame is None or at not in _tag_places(frame.kind):
        return None
    return int.from_bytes(head[at + 8 : at + 12], "big") if head[at + 7] & 1 else 0


def _tag_places(kind: Kind) -> tuple[int, int]:
    """Where an Info or Xing tag stands in a frame: behind the side information, without and with a checksum."""
    _, version, _, is_mono = kind
    at = 4 + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[version == 3, bool(is_mono)]
    return at, at + 2


def is_mpeg_damaged(head: bytes, kind: Kind) -> bool:
    """Whether a frame's side information holds what no decoder can decode: see `_impossible`."""
    return _impossible_pattern(kind).match(head) is not None


@cache
def _impossible_pattern(kind: Kind) -> re.Pattern[bytes]:
    return re.compile(_impossible(kind), re.DOTALL)


def _impossible(kind: Kind) -> bytes:
    """A pattern of the first bytes of layer 3's frames whose side information says the impossible.

    For each granule and channel that is more big values than there are lines, or switched windows of the type that
    stands for none.
    """
    _, version, layer, is_mono = kind
    if layer != 3:
        return b"(?!)"
    channels, is_first = 1 if is_mono else 2, version == 3
    begin = (18 if is_mono else 20) if is_first else (9 if is_mono else 10)
    size, window_at = (59, 33) if is_first else (63, 38)
    found = []
    for at in range(begin, begin + size * channels * (2 if is_first else 1), size):
        found.append(_bits(at + 12, 9, range(HIGHEST_BIG_VALUES + 1, 1 << 9)))
        found.append(_bits(at + window_at, 3, (0b100,)))
    values = b"|".join(found)
    with_checksum, without = (_one_of(range(bit, 256, 2)) for bit in (0, 1))
    return b"\\xff(?:%s..(?:%s)|%s....(?:%s))" % (without, values, with_checksum, values)


def _bits(at: int, n_bits: int, values: Collection[int]) -> bytes:
    """A pattern of bytes in which `n_bits` bits from the `at`-th on, within two bytes, are one of these numbers."""
    shift = 16 - at % 8 - n_bits
    seconds_of: dict[int, set[int]] = defaultdict(set)  # by the field's bits in the first byte: in the second, shifted
    for value in values:
        seconds_of[value << shift >> 8].add(value << shift & 255)
    mask = (1 << 8 - at % 8) - 1
    spare = (1 << shift) - 1
    firsts_of: dict[frozenset[int], set[int]] = defaultdict(set)
    for first, seconds in seconds_of.items():
        firsts_of[frozenset(seconds)] |= {byte for byte in range(256) if byte & mask & ~(spare >> 8) == first}
    return b"|".join(
        b".{%d}%s%s" % (at // 8, _one_of(firsts), _one_of(byte for byte in range(256) if byte & ~spare in seconds))
        for seconds, firsts in firsts_of.items()
    )


@cache
def mpeg_runs(kind: Kind) -> tuple[Run, ...]:
    """Sound frames of one kind, none of them a tag's, for most of a recording in a hurry."""
    by_size: dict[int, list[bytes]] = defaultdict(list)
    for head, frame in _MPEG[kind[3]].items():
        if frame.kind == kind:
            by_size[frame.n_bytes].append(head)
    last = b"[\xc0-\xff]" if kind[3] else b"[\x00-\xbf]"
    sizes = b"|".join(
        _one_of(head[1] for head in heads) + last + b".{%d}" % (size - 4) for size, heads in by_size.items()
    )
    seconds = _one_of(head[0] for heads in by_size.values() for head in heads)
    tags = b"|".join(b".{%d}(?:Xing|Info)" % at for at in _tag_places(kind))
    one = b"(?!%s|.{%d}VBRI|%s)\xff%s(?:%s)" % (tags, VBRI_AT, _impossible(kind), seconds, sizes)
    return tuple(
        Run(re.compile(b"(?:%s){%d}" % (one, n_frames), re.DOTALL), n_frames, n_frames * max(by_size))
        for n_frames in RUN_FRAMES
    )


def _one_of(values: Iterable[int]) -> bytes:
    return b"[%s]" % b"".join(b"\\x%02x" % value for value in sorted(set(values)))
