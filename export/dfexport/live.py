"""``<detector>_live``: the config of the model that takes a detector's audio in chunks. Code: deploy/backends/live."""

import re
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from dfexport.errors import ExportError
from dfexport.spec import SAMPLE_RATE_HZ, DetectorSpec

SUFFIX = "_live"
MAX_STREAMS = 1024  # 258 KB each, for a window of 64,600 samples
# Above it Triton lets new streams wait in silence; a refused one counts until it has been idle too long.
MAX_CANDIDATE_SEQUENCES = 4 * MAX_STREAMS
IDLE_TIMEOUT_S = 60

OUTPUTS = {
    "WINDOW": pb.TYPE_INT32,
    "START_S": pb.TYPE_FP64,
    "END_S": pb.TYPE_FP64,
    "LOGITS": pb.TYPE_FP32,
    "SCORE": pb.TYPE_FP32,
    "POOLED": pb.TYPE_FP64,
}


def check_name(name: str) -> None:
    """Refuse a name that is no plain folder's, and the name of another detector's live sibling."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ExportError(f"expected a name of letters, digits, '.', '_' and '-', beginning with one, found {name!r}")
    if name.endswith(SUFFIX):
        raise ExportError(f"expected a name that does not end in {SUFFIX}, which live siblings have, found {name!r}")


def write_live_model(folder: Path, name: str, spec: DetectorSpec) -> None:
    """Write ``<folder>``, the live sibling of detector ``name``: a config, and a version that needs no file."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    header = "# Written by dfexport; build again rather than edit.\n"
    (folder / "config.pbtxt").write_text(header + text_format.MessageToString(live_config(name, spec)))


def live_config(name: str, spec: DetectorSpec) -> pb.ModelConfig:
    """Triton's ModelConfig, the same for every profile: the windows are scored by the detector, wherever that runs."""
    config = pb.ModelConfig(
        name=name + SUFFIX,
        backend="live",
        max_batch_size=0,
        input=[pb.ModelInput(name="AUDIO", data_type=pb.TYPE_UINT8, dims=[-1])],
        output=[
            pb.ModelOutput(name=output, data_type=kind, dims=[2 if output == "LOGITS" else 1])
            for output, kind in OUTPUTS.items()
        ],
        instance_group=[pb.ModelInstanceGroup(count=1, kind=pb.ModelInstanceGroup.KIND_CPU)],
        model_transaction_policy=pb.ModelTransactionPolicy(decoupled=True),
        sequence_batching=pb.ModelSequenceBatching(
            # Twice what the model allows itself: a chunk that comes too late is answered by the model, with the reason.
            max_sequence_idle_microseconds=2 * IDLE_TIMEOUT_S * 1_000_000,
            oldest=pb.ModelSequenceBatching.StrategyOldest(max_candidate_sequences=MAX_CANDIDATE_SEQUENCES),
        ),
    )
    parameters = {
        "live_of": name,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "window_samples": spec.window_samples,
        "max_streams": MAX_STREAMS,
        "idle_timeout_s": IDLE_TIMEOUT_S,
    }
    for key, value in sorted(parameters.items()):
        config.parameters[key].string_value = str(value)
    return config
