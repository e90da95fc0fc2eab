"""What can go wrong, drawn once. Everything that the package raises on purpose is a `DfserveError`.

    DfserveError (dfcontract.errors)
    ├── ScoreFileError          a score file can't be created, resumed, read or written
    └── DfclientError
        ├── InputError              what was asked for can't be used: a list, a manifest, an option, a waveform's shape
        │   └── AudioError          one recording can't be decoded or scored; the next one can
        └── ServerError             what the server answered, or that it did not
            ├── ServerUnavailable   nobody answers, or the model is being loaded, or its process has died    (retried)
            ├── ServerBusy          the server is there and could not take this request just now             (retried)
            ├── ServerSlow          no answer within the request's deadline                                  (retried)
            ├── AccessDenied        a certificate is not trusted, or a key is missing or wrong
            ├── ModelNotFound       the server has no such model or version
            ├── ModelChanged        another graph or other weights answer than the card's
            ├── RequestRefused      the server refused or failed on this one request; others are unaffected
            └── ContractError       the model answers, but not as a detector should

How long the retried ones are tried again is `dfclient.RetryPolicy`. Foreign exceptions are turned into these in one
place each: gRPC's in `transport.py`, the decoders' in `audio/decode.py`, a card's in `calls.py`.
"""

from dfcontract.errors import DfserveError, ScoreFileError

__all__ = [
    "AccessDenied",
    "AudioError",
    "ContractError",
    "DfclientError",
    "DfserveError",
    "InputError",
    "ModelChanged",
    "ModelNotFound",
    "RequestRefused",
    "ScoreFileError",
    "ServerBusy",
    "ServerError",
    "ServerSlow",
    "ServerUnavailable",
]


class DfclientError(DfserveError):
    """Base of the client's own errors; the text says what was expected, what was found and what to do."""


class InputError(DfclientError):
    """A path, list, manifest, option or array that can't be used as given."""


class AudioError(InputError):
    """One recording that can't be decoded or scored."""


class ServerError(DfclientError):
    """The server's answer was an error, or there was none."""


class ServerUnavailable(ServerError):
    """Nobody answers at the address, the model is being loaded or unloaded, or its backend process has died."""


class ServerBusy(ServerError):
    """The server is alive and did not take this request: it came too late, or another's request spoilt the batch."""


class ServerSlow(ServerError):
    """The request's deadline passed without an answer."""


class AccessDenied(ServerError):
    """Client and server do not trust each other: a certificate or a key is missing, wrong or not known."""


class ModelNotFound(ServerError):
    """The server serves no such model or version."""


class ModelChanged(ServerError):
    """Answers come from another graph, or other weights, than the model card that was read names."""


class RequestRefused(ServerError):
    """The server refused this one request (INVALID_ARGUMENT) or failed on it (INTERNAL)."""


class ContractError(ServerError):
    """The model has no usable model card, or answers with other tensors than a detector's."""
