"""``<detector>_live``: the configuration of the model that takes a detector's audio in chunks (`dfcontract.live`)."""

import re
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from dfcontract.live import (
    AUDIO,
    IDLE_TIMEOUT_KEY,
    IDLE_TIMEOUT_S,
    LEAST_SAMPLES_KEY,
    LIVE_OF,
    LIVE_OUTPUTS,
    MAX_STREAMS,
    MAX_STREAMS_KEY,
    PRE_EMPHASIS_KEY,
    SUFFIX,
    live_name,
)
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfcontract.windows import ClipLengths
from dfexport.errors import ExportError
from dfexport.repository import CONFIG_FILE, HEADER, model_output

# Above it Triton lets new streams wait in silence; a refused one counts until it has been idle too long.
MAX_CANDIDATE_SEQUENCES = 4 * MAX_STREAMS


def check_name(name: str) -> None:
    """Refuse a name that can't be a folder's, or that would be taken for another detector's live sibling.

    Raises:
        ExportError: it is such a name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ExportError(f"expected a name of letters, digits, '.', '_' and '-', beginning with one, found {name!r}")
    if name.endswith(SUFFIX):
        raise ExportError(f"expected a name that does not end in {SUFFIX}, which live siblings have, found {name!r}")


def write_live_model(
    folder: Path,
    detector: str,
    window_samples: int,
    pre_emphasis: float = 0.0,
    clip: ClipLengths | None = None,
) -> None:
    """Write ``<folder>``, the live sibling of a detector: a configuration, and a version that needs no file."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    text = HEADER + text_format.MessageToString(live_config(detector, window_samples, pre_emphasis, clip))
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def live_config(
    detector: str, window_samples: int, pre_emphasis: float = 0.0, clip: ClipLengths | None = None
) -> pb.ModelConfig:
    """Triton's ModelConfig, the same for every profile: the windows are scored by the detector, wherever that runs."""
    config = pb.ModelConfig(
        name=live_name(detector),
        backend="live",
        max_batch_size=0,
        input=[pb.ModelInput(name=AUDIO, data_type=pb.TYPE_UINT8, dims=[-1])],
        output=[model_output(name, tensor) for name, tensor in LIVE_OUTPUTS.items()],
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)],
        model_transaction_policy=pb.ModelTransactionPolicy(decoupled=True),
        sequence_batching=pb.ModelSequenceBatching(
            # Twice what the model allows itself: a chunk that comes too late is answered by the model, with the reason.
            max_sequence_idle_microseconds=2 * IDLE_TIMEOUT_S * 1_000_000,
            oldest=pb.ModelSequenceBatching.StrategyOldest(max_candidate_sequences=MAX_CANDIDATE_SEQUENCES),
        ),
    )
    parameters = {
        LIVE_OF: detector,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "window_samples": window_samples,
        MAX_STREAMS_KEY: MAX_STREAMS,
        IDLE_TIMEOUT_KEY: IDLE_TIMEOUT_S,
        **({PRE_EMPHASIS_KEY: pre_emphasis} if pre_emphasis else {}),
        **({LEAST_SAMPLES_KEY: clip.least} if clip else {}),
    }
    for key, value in sorted(parameters.items()):
        config.parameters[key].string_value = str(value)
    return config
