"""Extents of recordings that are made of frames without an index: MPEG audio, ADTS and AMR. See `extents.py`."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dfclient.audio.extents import UNSTATED, WRONG_HEADER_LENGTH, Extent, Walk, begins_another
from dfclient.audio.files import Reader
from dfclient.audio.tags import tags_end

RESYNC_BYTES = 1 << 16  # so far the next frame is searched for behind something that is none
HEAD_BYTES = 56  # of a frame: enough for what says how long a recording is
SYNC = re.compile(b"\xff")
RUN_FRAMES = (64, 8, 1)  # of each run, in the order in which they are tried
MANY = sys.maxsize
TS_PACKET_BYTES, TS_PACKETS_AT_ONCE = 188, 64
TS_PACKETS = re.compile(b"(?:G.{%d}){1,%d}" % (TS_PACKET_BYTES - 1, TS_PACKETS_AT_ONCE), re.DOTALL)
TTA_HEADER_BYTES = 22
VOC_HEADER_BYTES = 26
WAVPACK_INITIAL_BLOCK, WAVPACK_UNKNOWN_TOTAL = 1 << 11, 0xFFFFFFFF
LONGEST_HEAD = 7  # bytes that a frame's head itself takes

Kind = tuple[int, ...]  # what stays the same within a recording: rate, layer, mono or not …


@dataclass(frozen=True)
class Frame:
    """What one frame's head says."""

    n_bytes: int
    kind: Kind


@dataclass(frozen=True)
class Run:
    """Sound frames of one kind, one behind the other."""

    pattern: re.Pattern[bytes]
    n_frames: int
    most_bytes: int  # that so many can take


FrameAt = Callable[[bytes], Frame | None]  # the first bytes of a frame → what they say; None: no frame begins so


_ADTS_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AMR_BYTES = {  # of a frame by its type: speech, comfort noise, nothing
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 6, 6, 6, 1, 1, 1, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}


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
    runs_of: Callable[[Kind], Sequence[Run]] | None = None,
    is_damaged: Callable[[bytes, Kind], bool] | None = None,
) -> Walk:
    """The walk of recordings made of such frames.

    `runs_of` gives patterns of many sound frames of a kind, the longest first: to look at each takes longer.
    `is_damaged` says of one by its first bytes that no decoder can decode it.

    One ends where frames of another kind begin, where another tag stands (a frame of its own, the first, which says how
    many follow), or after as many frames as its tag says.
    """

    def walk(reader: Reader, start: int) -> Extent:
        at = end = end_as_promised = start
        kind: Kind | None = None
        count = skipped = 0
        promised = damaged = 0
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
            damaged += is_damaged is not None and is_damaged(head, kind)
            end = at = at + frame.n_bytes
            if runs_of:
                at, n_frames = _passed_over(reader, runs_of(kind), at, promised - count if promised else MANY)
                end, count = at, count + n_frames
            if count == promised:
                end_as_promised = end
            if promised and count > promised + 1:
                break
        warnings = ("its last frame is incomplete: it may have been cut short",) if end > reader.size else ()
        if damaged:
            warnings = (*warnings, f"damaged: {damaged} of its frames can't be decoded")
        if promised and count > promised + 1:  # some encoders count the tag's own frame, too
            return Extent(end_as_promised, skipped_bytes=skipped, warnings=warnings)
        whole = count - (end > reader.size)
        share = min(1.0, whole / promised) if promised else 1.0
        return Extent(min(end, reader.size), share, skipped_bytes=skipped, warnings=warnings)

    return walk


def _passed_over(reader: Reader, runs: Sequence[Run], at: int, most: int) -> tuple[int, int]:
    """Where the sound frames that begin at `at` end, and how many they are, of which no more than `most` are wanted."""
    passed = 0
    for run in runs:
        while passed + run.n_frames <= most and at < reader.size:
            after = reader.match_end(run.pattern, at, run.most_bytes)
            if after is None:
                break
            at, passed = after, passed + run.n_frames
    return at, passed


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


def walk_amr(reader: Reader, start: int) -> Extent:
    """AMR: after a line that names it, frames whose first byte gives their length."""
    magic = next(magic for magic in _AMR_BYTES if reader.at(start, len(magic)) == magic)
    at = start + len(magic)
    while (head := reader.at(at, 1)) and not begins_another(reader, at):
        if head[0] & 0x83:  # padding bits, always 0
            return Extent(at)
        at += _AMR_BYTES[magic][head[0] >> 3 & 15]
    if at > reader.size:
        return Extent(reader.size, warnings=("its last frame is incomplete: it may have been cut short",))
    return Extent(at)


def walk_ts(reader: Reader, start: int) -> Extent:
    """MPEG-TS: packets of one size, and nothing that says how many."""
    end = start
    while (after := reader.match_end(TS_PACKETS, end, TS_PACKETS_AT_ONCE * TS_PACKET_BYTES)) is not None:
        end = after
    if not begins_another(reader, end):
        end = reader.size
    left = (end - start) % TS_PACKET_BYTES
    warnings = ("its last packet is incomplete: it may have been cut short",) if left else ()
    return Extent(end, warnings=warnings)


def walk_wavpack(reader: Reader, start: int) -> Extent:
    """WavPack: blocks, whose heads say how many bytes follow, where their first sample stands, and how many there are.

    In the head (WavPack 4 file format) block_index stands at byte 16, block_samples at 20, flags at 24. Several blocks
    of one index hold the channels of one stretch, of which the first is marked.
    """
    at, total = start, reader.number(start + 12, 4)
    while reader.at(at, 4) == b"wvpk" and (size := reader.number(at + 4, 4)) is not None:
        index, samples, flags = (reader.number(at + offset, 4) or 0 for offset in (16, 20, 24))
        if at > start and index == 0 and samples and flags & WAVPACK_INITIAL_BLOCK:
            break
        at += 8 + size
    cut = "it ends within a block" if at > reader.size else ""
    if total == WAVPACK_UNKNOWN_TOTAL:
        return Extent(min(at, reader.size), cut=cut, warnings=(UNSTATED,))
    return Extent(min(at, reader.size), frames=total, cut=cut)


def walk_voc(reader: Reader, start: int) -> Extent:
    """Creative Voice: blocks, each with its kind and size, to one of kind 0, which has no size.

    They begin behind a header of 26 bytes, whatever length of its own that states: there libsndfile looks for them, and
    FFmpeg refuses another length.
    """
    is_right = reader.number(start + 20, 2) == VOC_HEADER_BYTES
    at = start + VOC_HEADER_BYTES
    while (kind := reader.number(at, 1)) and (size := reader.number(at + 1, 3)) is not None:
        at += 4 + size
    cut = "it ends within a block" if at > reader.size else ""
    warnings = () if is_right else (WRONG_HEADER_LENGTH,)
    return Extent(min(at + (kind == 0), reader.size), cut=cut, warnings=warnings)


def walk_tta(reader: Reader, start: int) -> Extent:
    """True Audio: a header with rate and number of samples, a table of the frames' sizes, a checksum, the frames."""
    rate_hz, samples = reader.number(start + 10, 4) or 0, reader.number(start + 14, 4) or 0
    frame_samples = 256 * rate_hz // 245
    if not frame_samples:
        return Extent(reader.size)
    n_frames = -(-samples // frame_samples)
    table = reader.at(start + TTA_HEADER_BYTES, 4 * n_frames)
    end = start + TTA_HEADER_BYTES + 4 * n_frames + 4 + int(np.frombuffer(table[: len(table) & ~3], "<u4").sum())
    return Extent(min(end, reader.size), frames=samples)
