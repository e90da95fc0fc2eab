"""Scores of recordings from an audio deepfake detector on a Triton server. Light to import: NumPy, gRPC, never torch.

from dfclient import Detector

with Detector("127.0.0.1:8001", "aasist") as detector:
    result = detector.score("a.wav")
    print(result.score, result.card.threshold, result.warnings)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfclient.card import ModelCard
    from dfclient.client import Detector
    from dfclient.errors import AudioError, DfclientError, InputError, ServerError
    from dfclient.inputs import Clip
    from dfclient.live import AsyncLiveStream, LiveStream
    from dfclient.results import Failed, Score, WindowScore

_HOMES = {
    "AsyncLiveStream": "live",
    "AudioError": "errors",
    "Clip": "inputs",
    "Detector": "client",
    "DfclientError": "errors",
    "Failed": "results",
    "InputError": "errors",
    "LiveStream": "live",
    "ModelCard": "card",
    "Score": "results",
    "ServerError": "errors",
    "WindowScore": "results",
}
__all__ = [
    "AsyncLiveStream",
    "AudioError",
    "Clip",
    "Detector",
    "DfclientError",
    "Failed",
    "InputError",
    "LiveStream",
    "ModelCard",
    "Score",
    "ServerError",
    "WindowScore",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: a server may want `dfclient.windows` alone."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dfclient' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"dfclient.{_HOMES[name]}"), name)
