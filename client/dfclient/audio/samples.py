"""What decoders give: blocks of samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfclient.errors import InputError
from dfcontract.tensors import Samples

MAX_CHANNELS = 64

Say = Callable[[str], None]  # takes a warning about a recording


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive samples of a recording, (frames, channels) float32 of raw amplitude."""

    samples: Samples
    rate_hz: int
    layout: tuple[str, ...] = ()  # the channels' places, in FFmpeg's names: ("FL", "FR", …); empty: not known


def frames_of(waveform: npt.ArrayLike) -> Samples:
    """(frames, channels) float32 of an array: (samples,) or (samples, channels), floats in [-1, 1] or signed integers.

    Raises:
        InputError: another shape or kind of number.
    """
    array = np.asarray(waveform)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MAX_CHANNELS):
        raise InputError(f"expected a waveform of shape (samples,) or (samples, channels), found {array.shape}")
    if array.dtype.kind not in "fi":
        raise InputError(f"expected a waveform of floats in [-1, 1] or signed integers, found {array.dtype}")
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    return (array[:, np.newaxis] if array.ndim == 1 else array).astype(np.float32)
