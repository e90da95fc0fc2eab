"""What can go wrong while exporting.

DfserveError
└── ExportError             a message that says what was expected, what was found and how to mend it
    ├── CheckpointMissing   no file in the weights folder and no download to be had
    ├── LicenceNotAccepted  weights whose licence restricts their use, and nobody has agreed to it
    ├── CheckpointInvalid   a file that is not the checkpoint it should be
    ├── ParityError         the exported graph does not answer what the network answers
    └── DriftError          scores in fewer bits are too far from fp32's
"""

from collections.abc import Iterable, Mapping, Sequence

from dfcontract.errors import DfserveError
from dfcontract.text import printable

MAX_KEYS_LISTED = 10


class ExportError(DfserveError):
    """A build that can't go on; its text is for the user."""


class CheckpointMissing(ExportError):
    """The checkpoint is neither on disk nor to be downloaded."""


class LicenceNotAccepted(ExportError):
    """The weights' licence has to be accepted before they are downloaded."""


class CheckpointInvalid(ExportError):
    """The file is damaged, of another kind, or another model's."""


class ParityError(ExportError):
    """Exported and eager logits differ by more than the detector's tolerance."""


class DriftError(ExportError):
    """Scores in fp16 or int8 differ from fp32's by more than the precision's limits."""


def unknown(what: str, name: str, known: Iterable[str]) -> ExportError:
    """The error for a name that no table has, with those that it has."""
    return ExportError(f"unknown {what} {name!r}; known: {', '.join(known)}")


def listed(problems: Mapping[str, Sequence[str]]) -> str:
    """Kind → keys, as one line of at most ten keys a kind; a stranger's keys can't steer the terminal."""
    return "; ".join(f"{kind}: {_first(keys)}" for kind, keys in problems.items() if keys)


def _first(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MAX_KEYS_LISTED:,} more" if len(keys) > MAX_KEYS_LISTED else ""
    return ", ".join(map(printable, keys[:MAX_KEYS_LISTED])) + more
