"""What a user may choose about a recording: which of its channels are scored, and which of its tracks."""

from dataclasses import dataclass
from typing import Self

from dfclient.audio.samples import MAX_CHANNELS
from dfclient.errors import InputError

MIX, EACH = "mix", "each"


@dataclass(frozen=True)
class AudioOptions:
    """Which part of a recording is scored.

    Attributes:
        channels: `mix`, all of them as one; `each`, every one by itself; or the number of one, from 1 on.
        track: of several audio tracks, the number of one, from 1 on, or its language as the file names it (`deu`);
            None: the one that the file marks as its default.
    """

    channels: str | int = MIX
    track: str | int | None = None

    def __post_init__(self) -> None:
        """Refuse what names no channel or track.

        Raises:
            InputError: it does.
        """
        is_number = isinstance(self.channels, int) and 1 <= self.channels <= MAX_CHANNELS
        if self.channels not in (MIX, EACH) and not is_number:
            raise InputError(
                f"expected channels {MIX}, {EACH} or a number from 1 to {MAX_CHANNELS}, found {self.channels!r}"
            )
        if self.track is not None and (self.track == "" or (isinstance(self.track, int) and self.track < 1)):
            raise InputError(f"expected a track's number, from 1 on, or its language, found {self.track!r}")

    @classmethod
    def parsed(cls, channels: str = MIX, track: str | None = None) -> Self:
        """From a command line's words.

        Raises:
            InputError: they name no channel or track.
        """
        return cls(_number_or_word(channels), None if track is None else _number_or_word(track))


def _number_or_word(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdecimal() else text.lower()
