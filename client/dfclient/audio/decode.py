"""A recording's blocks, by whichever decoder reads it: all recordings that its file holds, one after the other.

libsndfile comes first. What it does not read goes to FFmpeg, and so does surround, of which only FFmpeg says where the
channels belong. Both read block by block. Whatever they raise, for whatever file, becomes an AudioError here.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from dfclient.audio import ffmpeg, sndfile
from dfclient.audio.containers import HEADERLESS, Container, recognised
from dfclient.audio.extents import UNCHECKED, Extent
from dfclient.audio.files import Reader, Recording, Section, opened
from dfclient.audio.options import MIX, AudioOptions
from dfclient.audio.promises import keep_promise
from dfclient.audio.samples import Block, Say
from dfclient.audio.tags import tags_end
from dfclient.errors import AudioError, DfclientError

MAX_RECORDINGS = 10_000  # in one file


@dataclass(frozen=True)
class Piece:
    """One of the recordings that a file holds."""

    container: Container | None  # None: not known from its first bytes
    start: int
    extent: Extent
    headerless: str = ""  # FFmpeg's demuxer of samples without a header

    @property
    def demuxer(self) -> str:
        """FFmpeg's name of its kind; "": it is to find out."""
        return self.container.demuxer if self.container else self.headerless


def decoded(recording: Recording, options: AudioOptions, say: Say) -> Iterator[Block]:
    """Blocks of all that a file holds; warnings go to `say`.

    Raises:
        AudioError: it is missing, unreadable, empty, damaged or not audio.
        InputError: `recording` is neither a path, bytes nor a binary file.
    """
    with audio_errors(), opened(recording) as reader:
        for piece in _pieces(reader, recording, say):
            for warning in piece.extent.warnings:
                say(warning)
            yield from _blocks(reader, piece, options, say)


@contextlib.contextmanager
def audio_errors() -> Iterator[None]:
    """Whatever a decoder raises becomes an AudioError: damage can't be told from a decoder's own faults."""
    try:
        yield
    except DfclientError:
        raise
    except MemoryError:
        raise AudioError("damaged: to decode it takes more memory than there is") from None
    except Exception as error:
        raise AudioError(f"damaged: {words_of(error)}") from None


def words_of(error: Exception) -> str:
    """A decoder's own words, without the path that it puts around them."""
    words = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
    return str(words).strip().rstrip(".") or type(error).__name__


def _headerless_kind(recording: Recording) -> str:
    """FFmpeg's demuxer of samples without a header, by the name of their file; "" for a name that says nothing."""
    return HEADERLESS.get(PurePath(recording).suffix.lower(), "") if isinstance(recording, str | PurePath) else ""


def _pieces(reader: Reader, recording: Recording, say: Say) -> Iterator[Piece]:
    """The file's recordings: each is to be decoded before the next is asked for. What is none of them `say` is told."""
    count = at = skipped = 0
    while at < reader.size and count < MAX_RECORDINGS:
        container, body = recognised(reader, at)
        if container is None and count:
            break
        headerless = _headerless_kind(recording) if container is None else ""
        if headerless:
            say(f"no header: read as {headerless} because its name says so")
        glanced = container.glance(reader, body) if container and container.glance and count == 0 else None
        piece = Piece(container, at, glanced or _walked(reader, container, body, headerless), headerless)
        at = _next_start(reader, piece.extent.end)
        if count == 0 and at >= reader.size > piece.extent.end and not piece.extent.patches:
            # The only one. Decoders step over the tags themselves, and read a whole file faster than a part of it.
            piece = replace(piece, extent=replace(piece.extent, end=reader.size))
        yield piece
        if glanced and container and container.is_over and not container.is_over(reader, body):
            piece = replace(piece, extent=_walked(reader, container, body))
            at = _next_start(reader, piece.extent.end)
        skipped += piece.extent.skipped_bytes
        count += 1
    if count > 1:
        say(f"{count} recordings follow one another in this file: all of them were read")
    if skipped:
        say(f"{skipped} bytes within it were not read: no audio that is known")
    if at < reader.size:
        say(f"its last {reader.size - at} bytes were not read: no audio that is known")


def _walked(reader: Reader, container: Container | None, body: int, headerless: str = "") -> Extent:
    """The extent of a recording whose first byte behind tags is at `body`."""
    if container and container.walk:
        return container.walk(reader, body)
    return Extent(reader.size, warnings=() if headerless else (UNCHECKED,))


def _next_start(reader: Reader, end: int) -> int:
    """Where the next recording would begin behind one that ends at `end`."""
    at = tags_end(reader, end)
    return at + _padding(reader, at)


def _padding(reader: Reader, at: int) -> int:
    """1 where a zero fills up to an even offset, as chunks want it, and no other bytes than a recording follow."""
    is_zero = at % 2 == 1 and reader.at(at, 1) == b"\0"
    return int(is_zero and (at + 1 == reader.size or recognised(reader, at + 1)[0] is not None))


def _blocks(reader: Reader, piece: Piece, options: AudioOptions, say: Say) -> Iterator[Block]:
    """One recording's blocks."""
    reason = "not a format of its"
    if piece.container is None or piece.container.is_sndfile:
        try:
            file = sndfile.opened(reader, piece.start, piece.extent)
        except sndfile.NotForSndfile as refusal:
            reason = str(refusal)
        else:
            with file:
                if not _does_ffmpeg_better(file, piece, options):
                    _refuse_other_tracks(options)
                    yield from sndfile.blocks(file, piece.extent)
                    reader.note_position()
                    if piece.container is None and file.format in sndfile.KNOWN_BEGINNINGS:
                        say(f"damaged: it does not begin as {file.format} does, which it was read as")
                    if piece.container and piece.container.is_doubted and ffmpeg.is_available():
                        _say_what_ffmpeg_says(reader, piece, say)
                    return
    if piece.container and piece.container.glance:  # FFmpeg would read on into what follows
        piece = replace(piece, extent=_walked(reader, piece.container, tags_end(reader, piece.start)))
    yield from _ffmpeg_blocks(reader, piece, options, say, reason)


def _does_ffmpeg_better(file: Any, piece: Piece, options: AudioOptions) -> bool:
    """Whether it is surround to be mixed, of which FFmpeg knows the layout, or of a codec whose damage FFmpeg sees."""
    is_surround = file.channels > 2 and options.channels == MIX
    is_lax = file.subtype in ("MS_ADPCM", "IMA_ADPCM")  # libsndfile decodes it to something, however damaged
    return (is_surround or is_lax) and piece.demuxer != "" and ffmpeg.is_available()


def _refuse_other_tracks(options: AudioOptions) -> None:
    if options.track not in (None, 1):
        raise AudioError(f"expected track {options.track}, found 1 audio track")


def _ffmpeg_blocks(reader: Reader, piece: Piece, options: AudioOptions, say: Say, reason: str) -> Iterator[Block]:
    if not ffmpeg.is_available():
        hint = "for m4a, mp4 and other containers: pip install 'dfserve[containers]'"
        raise AudioError(f"not audio that libsndfile reads ({reason}); {hint}")
    try:
        decoder = ffmpeg.Decoder(_section(reader, piece), piece.demuxer)
    except Exception as error:
        raise AudioError(f"not readable as audio (libsndfile: {reason}; FFmpeg: {words_of(error)})") from None
    with contextlib.closing(decoder):
        yield from decoder.blocks(options, say)
        keep_promise(piece.extent, decoder.frames, decoder.rate_hz)


def _say_what_ffmpeg_says(reader: Reader, piece: Piece, say: Say) -> None:
    """Have FFmpeg decode what libsndfile has decoded without a word, of kinds that it reads however damaged."""
    try:
        with contextlib.closing(ffmpeg.Decoder(_section(reader, piece), piece.demuxer)) as decoder:
            for _ in decoder.blocks(AudioOptions(), say):
                pass
    except Exception as error:
        say(f"damaged: FFmpeg does not read it to its end ({words_of(error)}), libsndfile does")


def _section(reader: Reader, piece: Piece) -> Section:
    return Section(reader, piece.start, piece.extent.end + piece.extent.slack_bytes, piece.extent.patches)
