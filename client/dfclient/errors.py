"""What can go wrong, drawn once. Everything the package raises on purpose is a `DfclientError`.

    DfclientError
    ├── InputError              what was asked for can't be used: a list, a manifest, an option, a waveform's shape
    │   └── AudioError          one recording can't be decoded or scored; the next one can
    ├── ScoreFileError          the score file exists, belongs to another run, or can't be written
    └── ServerError             what the server answered, or that it did not
        ├── ServerUnavailable   nobody answers, or the model's process has died      (retried)
        ├── ServerBusy          the server's queue is full, or a request waited too long in it     (retried)
        ├── ServerSlow          no answer within the request's deadline              (retried)
        ├── ModelNotFound       the server has no such model or version
        ├── RequestRefused      the server refused or failed on this one request; others are unaffected
        └── ContractError       the model answers, but not as a detector should

Foreign exceptions are turned into these in one place each: gRPC's in `transport.py`, the decoders' in
`audio/decode.py`.
"""


class DfclientError(Exception):
    """Base of all errors that dfclient raises; its text says what was expected, what was found and what to do."""


class InputError(DfclientError):
    """A path, list, manifest, option or array that can't be used as given."""


class AudioError(InputError):
    """One recording that can't be decoded or scored."""


class ScoreFileError(DfclientError):
    """A score file that can't be created, resumed or written."""


class ServerError(DfclientError):
    """The server's answer was an error, or there was none."""


class ServerUnavailable(ServerError):
    """Nobody answers at the address, or the model's backend process has died."""


class ServerBusy(ServerError):
    """The server is alive but its queue for this model is full or too slow."""


class ServerSlow(ServerError):
    """The request's deadline passed without an answer."""


class ModelNotFound(ServerError):
    """The server serves no such model or version."""


class RequestRefused(ServerError):
    """The server refused this one request (INVALID_ARGUMENT) or failed on it (INTERNAL)."""


class ContractError(ServerError):
    """The model has no model card, or answers with other tensors than a detector's."""
