"""From any sample rate to the model's."""

from typing import Any

from dfclient.errors import AudioError
from dfcontract.tensors import Samples

RATES_HZ = (1_000, 768_000)


class Resampler:
    """Mono blocks of any length at one rate in, blocks at another out; how it is cut into blocks changes nothing."""

    def __init__(self, source_rate_hz: int, rate_hz: int) -> None:
        self._stream: Any = None
        if source_rate_hz != rate_hz:
            import soxr

            self._stream = soxr.ResampleStream(source_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """The samples that (n,) float32 `block` completes; with `last`, all that remain."""
        if self._stream is None:
            return block
        resampled: Samples = self._stream.resample_chunk(block, last=last)
        return resampled


def checked_rate_hz(rate_hz: int) -> int:
    """The rate itself; AudioError when it is impossible."""
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise AudioError(f"expected a sample rate of {RATES_HZ[0]} to {RATES_HZ[1]} Hz, found {rate_hz}")
    return rate_hz
