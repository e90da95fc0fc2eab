"""The live protocol: audio in chunks to ``<detector>_live``, an answer for each window while it plays.

A stream is a sequence of requests over one ``ModelStreamInfer`` call. Each request carries AUDIO, UINT8 ``[bytes]``,
and Triton's own parameters ``sequence_id``, ``sequence_start``, ``sequence_end``; the first one may carry the
parameters below. Each answer carries the outputs below, one row. Errors begin with a code of
`dfcontract.errors.ErrorCode`. docs/live.md is the guide for writing a client.
"""

from collections.abc import Iterable

from dfcontract.tensors import IDENTITY, LOGITS, OUTPUTS, SCORE, Tensor

SUFFIX = "_live"  # of the model beside a detector that takes its audio in chunks

AUDIO = "AUDIO"
WINDOW, START_S, END_S, POOLED = "WINDOW", "START_S", "END_S", "POOLED"
LIVE_OUTPUTS = {
    WINDOW: Tensor("INT32", "<i4", 1),  # 0, 1, 2 …
    START_S: Tensor("FP64", "<f8", 1),  # of the window's audio, from the stream's start
    END_S: Tensor("FP64", "<f8", 1),
    LOGITS: OUTPUTS[LOGITS],
    SCORE: OUTPUTS[SCORE],
    POOLED: Tensor("FP64", "<f8", 1),  # of all windows that this stream has answered
    IDENTITY: OUTPUTS[IDENTITY],  # the detector's; 0 where it states none
}

# Parameters of a stream's first request.
ENCODING, HOP_SAMPLES, POOL, VERSION, FIRST_WINDOW = "encoding", "hop_samples", "pool", "version", "first_window"
# Bytes a sample. int16 and fp32 are little-endian, mono, at the detector's rate; G.711 is at 8 kHz.
ENCODINGS = {"int16": 2, "fp32": 4, "mulaw": 1, "alaw": 1}
DEFAULT_ENCODING = "int16"
TELEPHONE_RATE_HZ = 8_000

# Parameters of the live model's configuration.
LIVE_OF, MAX_STREAMS_KEY, IDLE_TIMEOUT_KEY = "live_of", "max_streams", "idle_timeout_s"
PRE_EMPHASIS_KEY = "pre_emphasis"  # the detector's, as in its card
LEAST_SAMPLES_KEY = "least_samples"  # how short a stream may be sent as it is; absent: it is repeated to a window

# Of a server that stops: see dfdeploy.backends.live.drain.
DRAIN_DIR_VARIABLE, STOP_FILE = "DFSERVE_LIVE_DRAIN_DIR", "stop"
# When a server's certificate ends, in Unix seconds: whoever starts a server with TLS sets it, and live models, which
# are ours in whatever server, show it to Prometheus.
TLS_EXPIRY_VARIABLE = "DFSERVE_TLS_EXPIRY_S"

MAX_STREAMS = 1024  # each holds its last window: 258 KB for 64,600 samples
IDLE_TIMEOUT_S = 60  # a stream that sends nothing for so long is forgotten
MAX_AHEAD_S = 120  # audio of one stream that may wait for the detector: 7.7 MB


def live_name(detector: str) -> str:
    """The name of the model that takes a detector's audio in chunks."""
    return detector + SUFFIX


def detectors_among(models: Iterable[str]) -> list[str]:
    """The names in order, without the live siblings of detectors that are among them."""
    names = set(models)
    return sorted(name for name in names if name.removesuffix(SUFFIX) not in names - {name})
