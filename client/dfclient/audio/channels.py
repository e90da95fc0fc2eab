"""Arrays to frames of channels, and channels to one."""

import numpy as np
import numpy.typing as npt

from dfclient.errors import InputError
from dfcontract.tensors import Samples

MAX_CHANNELS = 64


def frames_of(waveform: npt.ArrayLike) -> Samples:
    """(frames, channels) float32 of an array.

    Args:
        waveform: (samples,) or (samples, channels); floats in [-1, 1] or signed integer PCM.

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


def downmixed(frames: Samples) -> Samples:
    """(frames, channels) → (frames,): the mean of the channels."""
    return np.ascontiguousarray(frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32))
