"""Extents of recordings that are made of frames without an index: MPEG audio, ADTS and AMR. See `extents.py`."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from dfclient.audio.extents import Extent, Walk
from dfclient.audio.files import Reader
from dfclient.audio.tags import tags_end

RESYNC_BYTES = 1 << 16  # so far the next frame is searched for behind something that is none
HEAD_BYTES = 56  # of a frame: enough for what says how long a recording is
SYNC = re.compile(b"\xff")
LONGEST_FRAME = 2881  # of MPEG audio: layer 2, 160 kbit/s, 8 kHz
RUN_FRAMES = 8
VBRI_AT = 36
LONGEST_HEAD = 7  # bytes that a frame's head itself takes

Kind = tuple[int, ...]  # what stays the same within a recording: rate, layer, mono or not …


@dataclass(frozen=True)
class Frame:
    """What one frame's head says."""

    n_bytes: int
    kind: Kind


FrameAt = Callable[[bytes], Frame | None]  # the first bytes of a frame → what they say; None: no frame begins so


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
_ADTS_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AMR_BYTES = {  # of a frame by its type: speech, comfort noise, nothing
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 6, 6, 6, 1, 1, 1, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}


def mpeg_frame(head: bytes) -> Frame | None:
    """MPEG audio, layers 1 to 3 (not of free bit rate)."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    return _MPEG[head[3] >> 6 == 3].get(head[1:3])


def adts_frame(head: bytes) -> Frame | None:
    """AAC in ADTS."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_ADTS_RATES_HZ):
        return None
    n_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return Frame(n_bytes, ()) if n_bytes >= 7 else None


def begins_with_frames(frame_at: FrameAt, head: bytes) -> bool | None:
    """Whether `head` begins with three frames of one kind; None where it may, but is too short to tell."""
    at, kind = 0, None
    for _ in range(3):
        frame = frame_at(head[at : at + HEAD_BYTES])
        if frame is None or (kind is not None and frame.kind != kind):
            return None if len(head) - at < LONGEST_HEAD else False
        at, kind = at + frame.n_bytes, frame.kind
    return True


def walk_frames(
    frame_at: FrameAt,
    count_in_tag: Callable[[bytes], int | None] | None = None,
    run_of: Callable[[Kind], re.Pattern[bytes]] | None = None,
) -> Walk:
    """The walk of recordings made of such frames.

    `run_of` gives a pattern that matches RUN_FRAMES frames of a kind at once, which spares looking at each of them.

    One ends where frames of another kind begin, where another tag stands (a frame of its own, the first, which says how
    many follow), or after as many frames as its tag says.
    """

    def walk(reader: Reader, start: int) -> Extent:
        at = end = end_as_promised = start
        kind: Kind | None = None
        count = skipped = 0
        promised = 0
        while (frame := frame_at(head := reader.at(at, HEAD_BYTES))) is not None or at < reader.size:
            tag = count_in_tag(head) if frame and count_in_tag else None
            is_another = frame is not None and kind is not None and (frame.kind != kind or tag is not None)
            if frame is None or (is_another and not _is_followed(reader, frame_at, at, frame)):
                found = _resynchronised(reader, frame_at, tags_end(reader, at) if frame is None else at + 1)
                if found is None:
                    break
                skipped += found - tags_end(reader, end)
                at = found
                continue
            if is_another:
                break
            if kind is None:
                kind, promised = frame.kind, tag or 0
                count = 0 if tag is not None else 1
            else:
                count += 1
            end = at = at + frame.n_bytes
            while run_of and (count + RUN_FRAMES < promised or not promised) and at < reader.size:
                after = reader.match_end(run_of(kind), at, RUN_FRAMES * LONGEST_FRAME)
                if after is None:
                    break
                end, at, count = after, after, count + RUN_FRAMES
            if count == promised:
                end_as_promised = end
            if promised and count > promised + 1:  # some encoders count the tag's own frame, too
                return Extent(end_as_promised, skipped_bytes=skipped)
        warnings = ("its last frame is incomplete: it may have been cut short",) if end > reader.size else ()
        whole = count - (end > reader.size)
        share = min(1.0, whole / promised) if promised else 1.0
        return Extent(min(end, reader.size), share, skipped_bytes=skipped, warnings=warnings)

    return walk


def _is_followed(reader: Reader, frame_at: FrameAt, at: int, frame: Frame) -> bool:
    """Whether another frame of its kind follows the frame at `at`, or the end of the file."""
    following = frame_at(reader.at(at + frame.n_bytes, HEAD_BYTES))
    return at + frame.n_bytes == reader.size or (following is not None and following.kind == frame.kind)


def _resynchronised(reader: Reader, frame_at: FrameAt, at: int) -> int | None:
    """Where the next frame that another one follows begins, not far behind `at`; None where none does."""
    last = at + RESYNC_BYTES
    while (found := reader.find(at, SYNC)) is not None and found < last:
        frame = frame_at(reader.at(found, HEAD_BYTES))
        if frame is not None and _is_followed(reader, frame_at, found, frame):
            return found
        at = found + 1
    return None


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


@cache
def mpeg_run(kind: Kind) -> re.Pattern[bytes]:
    """RUN_FRAMES whole frames of one kind, none of them a tag's: for most of a recording in a hurry."""
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
    one = b"(?!%s|.{%d}VBRI)\xff%s(?:%s)" % (tags, VBRI_AT, seconds, sizes)
    return re.compile(b"(?:%s){%d}" % (one, RUN_FRAMES), re.DOTALL)


def _one_of(values: Iterable[int]) -> bytes:
    return b"[%s]" % b"".join(b"\\x%02x" % value for value in sorted(set(values)))


def walk_amr(reader: Reader, start: int) -> Extent:
    """AMR: after a line that names it, frames whose first byte gives their length."""
    magic = next(magic for magic in _AMR_BYTES if reader.at(start, len(magic)) == magic)
    at = start + len(magic)
    while (head := reader.at(at, len(magic))) and not head.startswith(b"#!AMR"):
        if head[0] & 0x83:  # padding bits, always 0
            return Extent(at)
        at += _AMR_BYTES[magic][head[0] >> 3 & 15]
    if at > reader.size:
        return Extent(reader.size, warnings=("its last frame is incomplete: it may have been cut short",))
    return Extent(at)
