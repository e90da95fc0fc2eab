"""Whether as much was decoded as a recording's header promises."""

from dfclient.audio.extents import Extent
from dfclient.errors import AudioError

MISSING_S = 0.1  # sloppy writers miscount by a few bytes


def keep_promise(extent: Extent, frames: int, rate_hz: int, *, frames_stated: int | None = None) -> None:
    """Refuse a recording that was cut short, as by a broken copy or upload.

    Args:
        extent: what its bytes say.
        frames: samples a channel that can be decoded.
        rate_hz: of them; 0 where nothing was decoded.
        frames_stated: what the decoder said that there would be, where it knows.

    Raises:
        AudioError: there should be more.
    """
    if extent.cut:
        raise AudioError(f"damaged: cut short: {extent.cut}, after {frames / (rate_hz or 1):.2f} s")
    if not rate_hz:
        return
    if frames_stated is not None and frames < frames_stated:
        raise _cut_short(frames_stated, frames, rate_hz)
    promised = extent.frames or 0
    if 0 < extent.share < 1:
        promised = max(promised, round(frames / extent.share))
    if promised - frames > MISSING_S * rate_hz:
        raise _cut_short(promised, frames, rate_hz)


def _cut_short(promised: int, found: int, rate_hz: int) -> AudioError:
    return AudioError(
        f"damaged: cut short: its header promises {promised / rate_hz:.2f} s, "
        f"only {found / rate_hz:.2f} s can be decoded"
    )
