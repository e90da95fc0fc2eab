"""Where a recording ends among the bytes of its file, and whether all is there that its header promises.

Decoders stop at the end that a header states and believe a file that ends before it. So what follows (a recording that
was appended, by a recorder that pauses or a service that concatenates) and what is missing are found here.
This module knows containers made of chunks that state their size; `frames.py` those made of frames or pages.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dfclient.audio.files import Reader

# A recorder that writes to a pipe can't know the length, and promises the most that fits.
UNKNOWN_BYTES = (1 << 31) - (1 << 16)
UNKNOWN_64 = (1 << 63) - 1  # at least: -1 as an unsigned number

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
FLV_HEADER_BYTES, FLV_TAG_HEAD_BYTES = 9, 11
FLV_TAGS = (b"\x08", b"\x09", b"\x12")  # audio, video, script
EBML = b"\x1aE\xdf\xa3"
EBML_SEGMENT = b"\x18S\x80g"

# Of a recording whose header has a place for its length, and leaves it open: whether it is whole can't be known.
UNSTATED = "its header does not say how long it is: read to its end"
# Of rare kinds, whose decoders stop at the end of the first recording, or read on through whatever follows.
UNCHECKED = "of this kind of file it is not checked whether it is whole, or whether another recording follows in it"
WRONG_HEADER_LENGTH = "damaged: its header states a wrong length of its own"
NO_AUDIO_FOUND = "damaged: the sizes in its header lead to no audio"

# What the next recording may begin with. MP4 has its own rule, since its first four bytes are a size.
STARTS = (
    *(b"RIFF", b"RF64", b"BW64", b"FORM", b"caff", b"fLaC", b"OggS", b"#!AMR", b".snd", b"NIST_1A"),
    *(b"wvpk", b"FLV\x01", b"TTA1", b"MAC ", b"Creative Voice File", EBML, W64_RIFF, ASF_HEADER),
)


@dataclass(frozen=True)
class Extent:
    """One recording's place in a file.

    Attributes:
        end: offset of the first byte after it.
        share: how much of what its header promises is there: 1 for all, or where nothing is promised.
        frames: samples a channel that its header promises; None where it does not say.
        cut: how it can be seen that it was cut short, where that is certain and no amount known.
        patches: bytes of the header to replace by offset, where it is wrong in a way that can be put right.
        slack_bytes: behind `end` that may be the recording's own.
        skipped_bytes: of it that are no audio and were stepped over.
        warnings: what the reader of a score should know.
    """

    end: int
    share: float = 1.0
    frames: int | None = None
    cut: str = ""
    patches: Mapping[int, bytes] = field(default_factory=dict)
    slack_bytes: int = 0
    skipped_bytes: int = 0
    warnings: tuple[str, ...] = ()


Walk = Callable[[Reader, int], Extent]  # (file, where the recording begins) → its extent


@dataclass(frozen=True)
class Chunks:
    """How a container writes its chunks.

    Attributes:
        header_bytes: before the first chunk.
        audio_id: of the chunks that hold the samples.
        id_bytes, size_bytes, order: of each chunk's head: its name, and how long it is.
        counts_head: whether the size counts the head.
        align: chunks begin at multiples of it, counted from the recording's start.
        size_first: whether the size stands before the name.
        total_at: offset and bytes of the recording's size in the header, and what to add; None where none is stated.
        least_bytes: of the chunk that holds the samples, of which some are no samples.
        mends_zero: whether a size of 0 with samples behind it can be put right (a recorder that crashed).
    """

    header_bytes: int
    audio_id: bytes
    id_bytes: int = 4
    size_bytes: int = 4
    order: str = "little"
    counts_head: bool = False
    align: int = 1
    size_first: bool = False
    total_at: tuple[int, int, int] | None = None
    least_bytes: int = 0
    mends_zero: bool = False

    @property
    def head_bytes(self) -> int:
        """Of a chunk's name and size."""
        return self.id_bytes + self.size_bytes


WAV = Chunks(12, b"data", align=2, total_at=(4, 4, 8), mends_zero=True)
RIFX = Chunks(12, b"data", order="big", align=2, total_at=(4, 4, 8), mends_zero=True)
AIFF = Chunks(12, b"SSND", order="big", align=2, total_at=(4, 4, 8), least_bytes=8)
CAF = Chunks(8, b"data", size_bytes=8, order="big")
W64 = Chunks(40, W64_DATA, 16, 8, counts_head=True, align=8, total_at=(16, 8, 0), mends_zero=True)
ASF = Chunks(0, ASF_DATA, 16, 8, counts_head=True)
MP4 = Chunks(0, b"mdat", order="big", counts_head=True, size_first=True)


@dataclass
class _Chunk:
    name: bytes
    size_at: int
    size_bytes: int
    body: int
    size: int | None  # of the body; None: it reaches to the end, however far that is


def walk_chunks(chunks: Chunks) -> Walk:
    """The walk of a container that is written as `chunks` says."""

    def walk(reader: Reader, start: int) -> Extent:
        at, promised, found, has_audio = start + chunks.header_bytes, 0, 0, False
        patches: dict[int, bytes] = {}
        warnings: tuple[str, ...] = ()
        while at < reader.size and not (has_audio and begins_another(reader, at)):
            chunk = _chunk_at(reader, chunks, start, at)
            if chunk is None:
                break
            left = reader.size - chunk.body
            is_audio = chunk.name == chunks.audio_id
            if is_audio and chunk.size == 0 and chunks.mends_zero and _holds_samples(reader, chunks, start, chunk):
                chunk.size = left
                size = left + (chunks.head_bytes if chunks.counts_head else 0)
                limit = (1 << 8 * chunk.size_bytes) - 1
                order = "little" if chunks.order == "little" else "big"
                patches[chunk.size_at] = min(size, limit).to_bytes(chunk.size_bytes, order)  # type: ignore[arg-type]
                warnings = (f"its header says 0 bytes of audio, as after a crash: the {left} bytes there were read",)
            if is_audio and chunk.size is not None and chunk.size < chunks.least_bytes:
                warnings = (f"damaged: its header says {chunk.size} bytes of audio",)
            if chunk.size is None:
                chunk.size = _until_another(reader, chunk.body) - chunk.body
                warnings = (UNSTATED,) if is_audio else warnings
            if is_audio:
                promised, found, has_audio = promised + chunk.size, found + min(chunk.size, left), True
            elif chunk.size > left:  # junk that looks like a chunk, or one that was cut
                break
            at = _after(reader, chunks, start, chunk.body + chunk.size)
        end = min(at, reader.size) if has_audio else reader.size
        stated_end = _stated_end(reader, chunks, start)
        if end < stated_end <= reader.size and not patches:
            if (left := stated_end - end) >= chunks.head_bytes and not warnings:  # the size of its audio may be wrong
                warnings = (f"damaged: {left} bytes behind what its header calls audio are in no chunk",)
            end = stated_end
        if not has_audio:
            warnings = (NO_AUDIO_FOUND,)
        return _shared(end, found, promised, patches, warnings)

    return walk


def _stated_end(reader: Reader, chunks: Chunks, start: int) -> int:
    """Where a recording ends by the size in its header; 0 where that states none."""
    if chunks.total_at is None:
        return 0
    at, n_bytes, more = chunks.total_at
    total = reader.number(start + at, n_bytes, chunks.order)
    return start + total + more if total else 0


def _chunk_at(reader: Reader, chunks: Chunks, start: int, at: int) -> _Chunk | None:
    """The chunk whose head is at `at`; None where there is none."""
    size_at, name_at = (at, at + chunks.size_bytes) if chunks.size_first else (at + chunks.id_bytes, at)
    name = reader.at(name_at, chunks.id_bytes)
    size = reader.number(size_at, chunks.size_bytes, chunks.order)
    if len(name) < chunks.id_bytes or size is None or (len(name) == 4 and not re.fullmatch(rb"[ -~]{4}", name)):
        return None
    chunk = _Chunk(name, size_at, chunks.size_bytes, at + chunks.head_bytes, size)
    if chunks is MP4 and size == 1:  # the size did not fit
        chunk.size_at, chunk.size_bytes, chunk.body = at + 8, 8, at + 16
        size = reader.number(at + 8, 8, "big") or 0
    if chunks is MP4 and size == 0:
        chunk.size = None
        return chunk
    if name == chunks.audio_id and size >= UNKNOWN_BYTES:
        if reader.at(start, 4) in (b"RF64", b"BW64") and (size_64 := reader.number(start + 28, 8)) is not None:
            chunk.size_at, chunk.size_bytes, size = start + 28, 8, size_64
        elif chunks.size_bytes == 4 and chunks is not MP4:
            size = UNKNOWN_64
    if chunks.counts_head:
        size -= chunk.body - at
    is_unknown = size >= UNKNOWN_64 - chunks.head_bytes
    chunk.size = None if is_unknown else size
    return None if size < 0 or (is_unknown and name != chunks.audio_id) else chunk


def _holds_samples(reader: Reader, chunks: Chunks, start: int, chunk: _Chunk) -> bool:
    """Whether what follows a chunk of size 0 is samples rather than further chunks."""
    if chunk.body >= reader.size:
        return False
    following = _chunk_at(reader, chunks, start, chunk.body)
    return following is None or following.size is None or following.body + following.size > reader.size


def _after(reader: Reader, chunks: Chunks, start: int, end: int) -> int:
    """Where the chunk after one that ends at `end` begins; sloppy writers leave the padding out."""
    padded = end + -(end - start) % chunks.align
    return end if padded != end and begins_another(reader, end) else padded


def begins_another(reader: Reader, at: int) -> bool:
    """Whether a recording of a container that can be told by its first bytes begins at `at`."""
    head = reader.at(at, 16)
    return head.startswith(STARTS) or head[4:8] == b"ftyp"


def _until_another(reader: Reader, at: int) -> int:
    """The end of samples whose number nobody stated: the next WAV's start, or the end of the file."""
    while (found := reader.find(at, re.compile(b"WAVEfmt "))) is not None:
        if reader.at(found - 8, 4) in (b"RIFF", b"RF64") and found - 8 >= at:
            return found - 8
        at = found + 1
    return reader.size


def walk_au(reader: Reader, start: int) -> Extent:
    """Sun and NeXT: the header states where the samples begin and how many bytes there are."""
    offset, size = reader.number(start + 4, 4, "big") or 0, reader.number(start + 8, 4, "big") or 0
    if size == 0 or size >= UNKNOWN_BYTES:
        return Extent(reader.size, warnings=(UNSTATED,))
    return _stated(reader, start + offset, size)


def walk_nist(reader: Reader, start: int) -> Extent:
    """NIST SPHERE: a header of lines, `sample_count -i 16000`."""
    head = reader.at(start, 1024)
    fields = dict(re.findall(rb"^(\w+) -\w+ (\S+)", head, re.MULTILINE))
    if b"," in fields.get(b"sample_coding", b""):  # 'pcm,embedded-shorten-…': compressed
        return Extent(reader.size, warnings=(UNCHECKED,))
    try:
        header_bytes = int(head.split(b"\n")[1])
        names = (b"sample_count", b"sample_n_bytes", b"channel_count")
        samples, sample_bytes, channels = (int(fields[name]) for name in names)
    except (ValueError, KeyError, IndexError):
        return Extent(reader.size, warnings=(UNSTATED,))
    return _stated(reader, start + header_bytes, samples * sample_bytes * channels)


def walk_flv(reader: Reader, start: int) -> Extent:
    """FLV: after a header, of 9 bytes in every version, tags of audio, video and script, each with its size."""
    is_right = reader.number(start + 5, 4, "big") == FLV_HEADER_BYTES
    warnings = () if is_right else (WRONG_HEADER_LENGTH,)
    end = at = start + FLV_HEADER_BYTES + 4  # behind each tag stands its size once more, behind the header a 0
    while reader.at(at, 1) in FLV_TAGS and (size := reader.number(at + 1, 3, "big")) is not None:
        end = at = at + FLV_TAG_HEAD_BYTES + size + 4
    if end > reader.size:
        warnings = (*warnings, "its last tag is incomplete: it may have been cut short")
    return Extent(min(end, reader.size), warnings=warnings)


def walk_aiff(reader: Reader, start: int) -> Extent:
    """AIFF: chunks; FFmpeg refuses one that states no size of the whole, or no possible number of samples."""
    extent = walk_chunks(AIFF)(reader, start)
    stated = [reader.number(start + 4, 4, "big") or 0]
    if reader.at(start + 12, 4) == b"COMM":
        stated.append(reader.number(start + 22, 4, "big") or 0)
    if UNSTATED in extent.warnings or all(0 < number < max(UNKNOWN_BYTES, reader.size) for number in stated):
        return extent
    return replace(extent, warnings=(*extent.warnings, UNSTATED))


def walk_avi(reader: Reader, start: int) -> Extent:
    """AVI: a RIFF that states its size, and further ones (AVIX) where that would be more than 1 GB."""
    at = start
    while (size := reader.number(at + 4, 4)) and size < UNKNOWN_BYTES:
        at += 8 + size + size % 2
        if reader.at(at, 4) != b"RIFF" or reader.at(at + 8, 4) != b"AVIX":
            missing = at - reader.size
            cut = f"the last {missing} bytes that its header promises are missing" if missing > 1 else ""  # 1: padding
            return Extent(min(at, reader.size), cut=cut)
    return Extent(reader.size, warnings=(UNSTATED,))


def walk_ebml(reader: Reader, start: int) -> Extent:
    """Matroska and WebM: a header and a segment, each with its size; a live one's segment states none."""
    at, body, size = start, start, 0
    for name in (EBML, EBML_SEGMENT):
        while reader.at(at, 1) == b"\xec":  # padding
            at = _ebml_body(reader, at, 1)[0] + (_ebml_body(reader, at, 1)[1] or 0)
        if reader.at(at, 4) != name:
            return Extent(reader.size, warnings=(NO_AUDIO_FOUND,))
        body, stated = _ebml_body(reader, at, 4)
        if stated is None:
            return Extent(reader.find(body, re.compile(re.escape(EBML))) or reader.size, warnings=(UNSTATED,))
        size = stated
        at = body + size
    return _stated(reader, body, size)


def _ebml_body(reader: Reader, at: int, id_bytes: int) -> tuple[int, int | None]:
    """Where an element's body begins, and its size: a number of 1 to 8 bytes, whose first set bit says how many."""
    first = reader.number(at + id_bytes, 1) or 1
    n_bytes = 9 - first.bit_length()
    size = reader.number(at + id_bytes, n_bytes, "big") or 0
    value_mask = (1 << 7 * n_bytes) - 1
    return at + id_bytes + n_bytes, None if size & value_mask == value_mask else size & value_mask


def _stated(reader: Reader, body: int, size: int) -> Extent:
    return _shared(min(body + size, reader.size), max(0, min(size, reader.size - body)), size)


def _shared(
    end: int, found: int, promised: int, patches: Mapping[int, bytes] | None = None, warnings: tuple[str, ...] = ()
) -> Extent:
    """The extent of a recording with `found` of the bytes of audio that its header promises."""
    if found < promised:  # enough of them, and it is refused
        warnings = (*warnings, f"cut short: the last {promised - found} bytes that its header promises are missing")
    return Extent(end, found / promised if promised else 1.0, patches=patches or {}, warnings=warnings)
