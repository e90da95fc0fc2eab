"""Scores of recordings from an audio deepfake detector on a Triton server. Light to import: NumPy, gRPC, never torch.

from dfclient import Detector

with Detector("127.0.0.1:8001", "aasist") as detector:
    result = detector.score("a.wav")
    print(result.score, result.card.threshold, result.warnings)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfclient.batch import SetCounts, score_frame, score_set, spark_schema
    from dfclient.clips import Clip, clips_from
    from dfclient.credentials import Credentials
    from dfclient.detector import Detector
    from dfclient.errors import (
        AccessDenied,
        AudioError,
        ContractError,
        DfclientError,
        InputError,
        ModelChanged,
        ModelNotFound,
        RequestRefused,
        ScoreFileError,
        ServerBusy,
        ServerError,
        ServerSlow,
        ServerUnavailable,
    )
    from dfclient.fused import FusedDetector, FusedScore
    from dfclient.live.stream import AsyncLiveStream, LiveStream
    from dfclient.results import Failed, Score, WindowScore
    from dfclient.retry import RetryPolicy
    from dfclient.server import Health, ModelHealth, Server
    from dfclient.transport import Transport
    from dfcontract.card import ModelCard
    from dfcontract.score_appending import Opening

_HOMES = {
    "AccessDenied": "dfclient.errors",
    "AsyncLiveStream": "dfclient.live.stream",
    "AudioError": "dfclient.errors",
    "Clip": "dfclient.clips",
    "ContractError": "dfclient.errors",
    "Credentials": "dfclient.credentials",
    "Detector": "dfclient.detector",
    "DfclientError": "dfclient.errors",
    "Failed": "dfclient.results",
    "FusedDetector": "dfclient.fused",
    "FusedScore": "dfclient.fused",
    "Health": "dfclient.server",
    "InputError": "dfclient.errors",
    "LiveStream": "dfclient.live.stream",
    "ModelCard": "dfcontract.card",
    "ModelChanged": "dfclient.errors",
    "ModelHealth": "dfclient.server",
    "ModelNotFound": "dfclient.errors",
    "Opening": "dfcontract.score_appending",
    "RequestRefused": "dfclient.errors",
    "RetryPolicy": "dfclient.retry",
    "Score": "dfclient.results",
    "ScoreFileError": "dfclient.errors",
    "Server": "dfclient.server",
    "ServerBusy": "dfclient.errors",
    "ServerError": "dfclient.errors",
    "ServerSlow": "dfclient.errors",
    "ServerUnavailable": "dfclient.errors",
    "SetCounts": "dfclient.batch",
    "Transport": "dfclient.transport",
    "WindowScore": "dfclient.results",
    "clips_from": "dfclient.clips",
    "score_frame": "dfclient.batch",
    "score_set": "dfclient.batch",
    "spark_schema": "dfclient.batch",
}
__all__ = [
    "AccessDenied",
    "AsyncLiveStream",
    "AudioError",
    "Clip",
    "ContractError",
    "Credentials",
    "Detector",
    "DfclientError",
    "Failed",
    "FusedDetector",
    "FusedScore",
    "Health",
    "InputError",
    "LiveStream",
    "ModelCard",
    "ModelChanged",
    "ModelHealth",
    "ModelNotFound",
    "Opening",
    "RequestRefused",
    "RetryPolicy",
    "Score",
    "ScoreFileError",
    "Server",
    "ServerBusy",
    "ServerError",
    "ServerSlow",
    "ServerUnavailable",
    "SetCounts",
    "Transport",
    "WindowScore",
    "clips_from",
    "score_frame",
    "score_set",
    "spark_schema",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: the package alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dfclient' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
