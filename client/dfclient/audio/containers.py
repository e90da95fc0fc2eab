"""Which containers are known: how each begins, what its files are called, which decoders read it, where it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dfclient.audio import extents
from dfclient.audio.extents import (
    Extent,
    Walk,
    walk_aiff,
    walk_au,
    walk_avi,
    walk_chunks,
    walk_ebml,
    walk_flv,
    walk_nist,
)
from dfclient.audio.files import Reader
from dfclient.audio.flac import glance_flac, is_flac_over, walk_flac
from dfclient.audio.frames import (
    TS_PACKET_BYTES,
    adts_frame,
    begins_with_frames,
    walk_amr,
    walk_frames,
    walk_ts,
    walk_tta,
    walk_voc,
    walk_wavpack,
)
from dfclient.audio.mpeg import is_mpeg_damaged, mpeg_count_in_tag, mpeg_frame, mpeg_runs
from dfclient.audio.ogg import walk_ogg
from dfclient.audio.tags import tags_end

ANY = ord("?")
HEAD_BYTES = 8192  # enough for three frames of MPEG audio or AAC

Matches = Callable[[bytes], bool | None]  # a file's first bytes → whether it is one; None: too few to tell


@dataclass(frozen=True)
class Container:
    """One kind of file.

    Attributes:
        name: as users know it.
        matches: whether a file begins so.
        suffixes: of its files' names, for folders.
        demuxer: FFmpeg's name for it; "" where FFmpeg does not read it.
        walk: finds its extent; None where that is left to the decoder.
        is_sndfile: whether libsndfile may read it.
        is_live: whether it can be decoded while it comes through a pipe.
        is_doubted: whether libsndfile reads it however damaged, so that FFmpeg is asked, too; that takes as long again.
        glance: where the walk reads all of the file: its extent if nothing follows it; None where only the walk tells.
        is_over: once it is decoded as glanced: whether nothing follows indeed.
    """

    name: str
    matches: Matches
    suffixes: tuple[str, ...]
    demuxer: str
    walk: Walk | None = None
    is_sndfile: bool = False
    is_live: bool = True
    is_doubted: bool = False
    glance: Callable[[Reader, int], Extent | None] | None = None
    is_over: Callable[[Reader, int], bool] | None = None


def _begins(*magics: bytes) -> Matches:
    """Whether a file begins with one of these bytes, in which ???? stands for any four."""
    longest = max(map(len, magics))
    parts = [magic.partition(b"????") for magic in magics]
    placed = [(before, len(before) + len(between), after) for before, between, after in parts]

    def matches(head: bytes) -> bool | None:
        for before, at, after in placed:
            if head.startswith(before) and head.startswith(after, at):
                return True
        is_open = len(head) < longest and any(_may_become(head, magic) for magic in magics)
        return None if is_open else False

    return matches


def _may_become(head: bytes, magic: bytes) -> bool:
    return all(want in (found, ANY) for want, found in zip(magic, head, strict=False))


def _frames(frame_at: Callable[[bytes], object]) -> Matches:
    return partial(begins_with_frames, frame_at)  # type: ignore[arg-type]


def _never(_head: bytes) -> bool:
    return False


def _transport_stream(head: bytes) -> bool | None:
    """MPEG-TS: a byte 0x47 every 188 bytes."""
    if any(byte != 0x47 for byte in head[: TS_PACKET_BYTES * 4 : TS_PACKET_BYTES]):
        return False
    return True if len(head) > TS_PACKET_BYTES * 3 else None


def _walk_avi(reader: Reader, start: int) -> Extent:
    """As `walk_avi`; where no recording follows, FFmpeg finds the audio in all there is, whatever size was stated."""
    extent = walk_avi(reader, start)
    at = tags_end(reader, extent.end)
    if at >= reader.size or recognised(reader, at)[0] is not None:
        return extent
    left = reader.size - extent.end
    return Extent(reader.size, warnings=(f"its header does not count its last {left} bytes: read to its end",))


CONTAINERS = (
    Container("WAV", _begins(b"RIFF????WAVE"), (".wav", ".wave"), "wav", walk_chunks(extents.WAV), True),
    Container("FLAC", _begins(b"fLaC"), (".flac",), "flac", walk_flac, True, glance=glance_flac, is_over=is_flac_over),
    Container("RIFX", _begins(b"RIFX????WAVE"), (), "wav", walk_chunks(extents.RIFX), True),
    Container(
        "RF64",
        _begins(b"RF64????WAVE", b"BW64????WAVE"),
        (".rf64", ".bwf"),
        "wav",
        walk_chunks(extents.WAV),
        True,
        is_doubted=True,
    ),
    Container("W64", _begins(extents.W64_RIFF), (".w64",), "w64", walk_chunks(extents.W64), True, is_doubted=True),
    Container(
        "AIFF",
        _begins(b"FORM????AIFF", b"FORM????AIFC"),
        (".aiff", ".aif", ".aifc"),
        "aiff",
        walk_aiff,
        True,
    ),
    Container("AU", _begins(b".snd"), (".au", ".snd"), "au", walk_au, True),
    Container(
        "CAF", _begins(b"caff\0\1"), (".caf",), "caf", walk_chunks(extents.CAF), True, is_live=False, is_doubted=True
    ),
    Container("NIST", _begins(b"NIST_1A\n"), (".sph", ".nist"), "nistsphere", walk_nist, True, is_doubted=True),
    Container("Ogg", _begins(b"OggS"), (".ogg", ".oga", ".opus", ".spx", ".ogv"), "ogg", walk_ogg, True),
    Container(
        "MP3",
        _frames(mpeg_frame),
        (".mp3", ".mp2", ".mpga"),
        "mp3",
        walk_frames(mpeg_frame, mpeg_count_in_tag, mpeg_runs, is_mpeg_damaged),
        True,
    ),
    Container("ADTS", _frames(adts_frame), (".aac", ".adts"), "aac", walk_frames(adts_frame)),
    Container(
        "MP4",
        _begins(*(b"????" + atom for atom in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))),
        (".m4a", ".mp4", ".mov", ".3gp", ".3g2", ".m4b", ".m4v", ".qt"),
        "mov",
        walk_chunks(extents.MP4),
    ),
    Container("Matroska", _begins(extents.EBML), (".webm", ".mka", ".mkv"), "matroska", walk_ebml),
    Container("ASF", _begins(extents.ASF_HEADER), (".wma", ".asf", ".wmv"), "asf", walk_chunks(extents.ASF)),
    Container("AMR", _begins(b"#!AMR\n", b"#!AMR-WB\n"), (".amr", ".awb"), "amr", walk_amr),
    Container("AVI", _begins(b"RIFF????AVI "), (".avi",), "avi", _walk_avi, is_live=False),
    Container("FLV", _begins(b"FLV\x01"), (".flv",), "flv", walk_flv),
    Container("MPEG-TS", _transport_stream, (".ts", ".mts", ".m2ts"), "mpegts", walk_ts),
    Container("WavPack", _begins(b"wvpk"), (".wv",), "wv", walk_wavpack),
    Container("TTA", _begins(b"TTA1"), (".tta",), "tta", walk_tta, is_live=False),
    Container("Monkey's Audio", _begins(b"MAC "), (".ape",), "ape", is_live=False),
    Container("VOC", _begins(b"Creative Voice File\x1a"), (".voc",), "voc", walk_voc, is_sndfile=True),
    Container("audio behind an ID3 tag", _begins(b"ID3"), (), ""),  # as it comes: in a file tags are stepped over
    # Told apart by the decoders themselves.
    Container("AC-3", _never, (".ac3",), "ac3"),
    Container("E-AC-3", _never, (".eac3", ".ec3"), "eac3"),
    Container("DTS", _never, (".dts",), "dts"),
    Container("GSM 06.10", _never, (".gsm",), "gsm"),
    Container("MPEG-PS", _never, (".mpg", ".mpeg", ".vob"), "mpeg"),
    Container("IRCAM", _never, (".sf", ".ircam"), "ircam", is_sndfile=True),
    Container("PVF", _never, (".pvf",), "pvf", is_sndfile=True),
    Container("PAF", _never, (".paf",), "paf", is_sndfile=True),
    Container("AVR", _never, (".avr",), "avr", is_sndfile=True),
    Container("SVX", _never, (".iff", ".svx", ".8svx"), "iff", is_sndfile=True),
    Container("HTK", _never, (".htk",), "", is_sndfile=True),
)
# Samples without any header: the file's name tells their kind, and that their rate. FFmpeg's demuxers.
HEADERLESS = {".g722": "g722", ".sln": "sln"}
AUDIO_SUFFIXES = frozenset(HEADERLESS) | {suffix for container in CONTAINERS for suffix in container.suffixes}


def recognised(reader: Reader, at: int) -> tuple[Container | None, int]:
    """The container that begins at `at`, behind tags, and where; None where none is known."""
    at = tags_end(reader, at)
    return container_of(reader.at(at, HEAD_BYTES)), at


def container_of(head: bytes) -> Container | None:
    """The container that begins with these bytes; None where none is known."""
    return next((container for container in CONTAINERS if container.matches(head)), None)


def may_be_container(head: bytes) -> bool:
    """Whether so few bytes can't yet tell that they begin a container."""
    return any(container.matches(head) is None for container in CONTAINERS)
