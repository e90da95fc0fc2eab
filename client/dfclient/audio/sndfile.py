"""libsndfile (soundfile): WAV, FLAC, Ogg, MP3 and their relatives; the reference for what is lossless."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dfclient.audio.extents import Extent
from dfclient.audio.files import Reader, Section
from dfclient.audio.promises import keep_promise
from dfclient.audio.samples import MAX_CHANNELS, Block
from dfclient.errors import AudioError

BLOCK_SAMPLES = 1 << 18  # of all channels together
LEAST_FRAMES = 1 << 12  # asked for where the length is an estimate: the read that finds the end needs little memory
# Formats whose length libsndfile knows once it has opened them. MP3's is an estimate, a truncated OGG's is nonsense.
KNOWN_LENGTHS = frozenset({"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "RF64", "W64", "NIST"})
UNKNOWN_FRAMES = (1 << 63) - 1  # of FLAC that was written to a pipe
# Formats that `containers` knows by their first bytes: a file that does not begin so and is read as one is damaged.
KNOWN_BEGINNINGS = KNOWN_LENGTHS | {"OGG", "MP3"}


class NotForSndfile(Exception):
    """libsndfile does not read it; its text is libsndfile's reason."""


def opened(reader: Reader, start: int, extent: Extent) -> Any:
    """A SoundFile of the recording that lies in `extent`; NotForSndfile when it can't be read so."""
    import soundfile

    whole = start == 0 and extent.end == reader.size and not extent.patches
    try:
        if whole and (descriptor := reader.descriptor()) is not None:
            return soundfile.SoundFile(descriptor, closefd=False)
        return soundfile.SoundFile(Section(reader, start, extent.end + extent.slack_bytes, extent.patches))
    except soundfile.LibsndfileError as error:
        raise NotForSndfile(_reason(error)) from None


def blocks(file: Any, extent: Extent) -> Iterator[Block]:
    """The recording's blocks; an early end is damage where its header states a length.

    Raises:
        AudioError: it is damaged, cut short or has too many channels.
    """
    import soundfile

    rate_hz, channels = file.samplerate, file.channels
    if channels > MAX_CHANNELS:
        raise AudioError(f"expected 1 to {MAX_CHANNELS} channels, found {channels}")
    is_stated = file.format in KNOWN_LENGTHS and file.frames < UNKNOWN_FRAMES
    stated: int | None = file.frames if is_stated else None
    if stated is not None:
        keep_promise(extent, stated, rate_hz)
    file.seekable = _never  # soundfile seeks after each read, to where it is; in a damaged FLAC that fails
    frames, most = 0, BLOCK_SAMPLES // channels
    try:
        while wanted := min(most, max(file.frames - frames, LEAST_FRAMES if stated is None else 0)):
            samples = np.empty((wanted, channels), np.float32)
            found = file.buffer_read_into(samples, "float32")
            if not found:
                break
            frames += found
            yield Block(samples[:found], rate_hz)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"damaged: {_reason(error)}, after {frames / rate_hz:.2f} s") from None
    keep_promise(extent, frames, rate_hz, frames_stated=stated)


def _never() -> bool:
    return False


def _reason(error: Any) -> str:
    """libsndfile's own words, without the path that soundfile puts before them."""
    return str(error.error_string).strip().rstrip(".")
