"""The tensors of a served detector: names, types and shapes, the same in every format and on every server.

    WAVEFORM  FP32  [window_samples]   16 kHz mono, raw amplitude: nothing is normalised. Of a detector that scores
                                       whole clips, [clip_samples]: any length between the two of its card
    LOGITS    FP32  [2]                spoof, bona fide (log-softmax values where the model card says so)
    SCORE     FP32  [1]                as the detector's paper defines it; higher is more bona fide
    IDENTITY  INT64 [1]                which graph with which weights gave this answer, see `identity_of`

Shapes are without the batch axis. A model that was built before IDENTITY existed does not have it.

Two parameters of a request, both or none, bound how long it may wait to be computed (`ErrorCode.TOO_LATE`):

    timeout           int64   from the call on, in µs: Triton's own parameter
    begin_by_unix_us  int64   the moment when that time is over, on the client's clock, in µs since 1970
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000

WAVEFORM = "WAVEFORM"
LOGITS = "LOGITS"
SCORE = "SCORE"
IDENTITY = "IDENTITY"

TIMEOUT, BEGIN_BY = "timeout", "begin_by_unix_us"

SPOOF_INDEX, BONAFIDE_INDEX = 0, 1  # in LOGITS

# One known window beside each model, little-endian float32: the warm-up's and the self-check's input.
WARMUP_FOLDER = "warmup"
WARMUP_FILE = f"{WARMUP_FOLDER}/{WAVEFORM}"

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tensor:
    """A tensor on the wire.

    Attributes:
        datatype: Triton's name of the type.
        dtype: NumPy's, little-endian as on the wire.
        width: values a row.
    """

    datatype: str
    dtype: str
    width: int


OUTPUTS = {
    LOGITS: Tensor("FP32", "<f4", 2),
    SCORE: Tensor("FP32", "<f4", 1),
    IDENTITY: Tensor("INT64", "<i8", 1),
}


def identity_of(*parts: str, bits: int = 64) -> int:
    """A number for what a graph was made from (checkpoint digest, detector, window, format, precision, …).

    It is written into the graph as a constant and into the model card, so that a client can compare each answer with
    the card that it has read: a server that was restarted with another checkpoint can't answer under the old name.

    Args:
        parts: what it was made from.
        bits: 32 for a runtime that passes on no more of an INT64.

    Returns:
        The first bits of a SHA-256 as a signed integer, never 0, which stands for "not stated".
    """
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return int.from_bytes(digest[: bits // 8], "little", signed=True) or 1
