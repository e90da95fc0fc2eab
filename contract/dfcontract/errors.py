"""The base of all errors of dfserve, what can be wrong with a contract, and the codes that cross the wire.

    DfserveError
    ├── CardError           a model's configuration holds no usable model card
    ├── CalibrationError    a calibration can't be fitted, read or applied
    ├── ScoreFileError      a score file can't be read, resumed or written
    ├── TextTableError      a file that is no table of text (dfcontract.text_table)
    ├── WindowError         a mode, hop or pooling that no recording can be cut by
    ├── OutputError         what a command prints can't be written
    ├── DfclientError       the client's own tree: dfclient.errors
    ├── ExportError         dfexport.errors
    ├── EvalError           dfeval.errors
    └── DeployError         dfdeploy.errors

Every text is for the user: what was expected, what was found, how to mend it.
"""

import re
from enum import StrEnum
from typing import Self


class DfserveError(Exception):
    """Base of everything that dfserve raises on purpose."""


class CardError(DfserveError):
    """A model's configuration holds no model card, or one that can't be used."""


class CalibrationError(DfserveError):
    """A calibration that can't be fitted, read or applied."""


class ScoreFileError(DfserveError):
    """A score file that can't be read, resumed or written."""


class WindowError(DfserveError):
    """A mode, a hop or a pooling that no recording can be cut by."""


class OutputError(DfserveError):
    """What a command prints can't be written, to a full disk, say."""


class ErrorCode(StrEnum):
    """Codes that our backends put before the text of an error, so that a client decides by code, never by English.

    Each row is the code, what happened, and what a client does about it.
    """

    meaning: str
    remedy: str

    def __new__(cls, code: str, meaning: str = "", remedy: str = "") -> Self:
        """Make a member whose value, as a string, is its code."""
        member = str.__new__(cls, code)
        member._value_, member.meaning, member.remedy = code, meaning, remedy
        return member

    BAD_WAVEFORM = ("DF_BAD_WAVEFORM", "samples that are NaN or infinite", "mend them")
    TOO_LATE = ("DF_TOO_LATE", "the request waited for longer than its client has time", "try later")
    BAD_STREAM = ("DF_BAD_STREAM", "a parameter or chunk of a live stream that can't be used", "mend it")
    NO_SUCH_STREAM = (
        "DF_NO_SUCH_STREAM",
        "the stream has ended, failed, or was idle for too long",
        "begin anew; an empty chunk now and then keeps a muted stream open",
    )
    TOO_MANY_STREAMS = ("DF_TOO_MANY_STREAMS", "as many are open as the model takes", "try later")
    TOO_FAR_AHEAD = (
        "DF_TOO_FAR_AHEAD",
        "more audio waits for the detector than one stream may hold",
        "send no faster than the answers come",
    )
    DETECTOR_BUSY = ("DF_DETECTOR_BUSY", "the detector's queue stayed full", "try later")
    DETECTOR_FAILED = ("DF_DETECTOR_FAILED", "the detector refused a window or failed on it", "begin anew")
    SERVER_STOPPING = ("DF_SERVER_STOPPING", "the server is about to stop", "begin anew when it is back")


def coded(code: ErrorCode, text: str) -> str:
    """An error's text as it crosses the wire: ``DF_TOO_MANY_STREAMS: 1024 streams are open``."""
    return f"{code.value}: {text}"


def split_code(text: str) -> tuple[ErrorCode | None, str]:
    """The code in an error's text and the words after it; (None, text) without a known code.

    A server may put words of its own before ours, so the code is looked for anywhere in the text.
    """
    found = re.search(r"\b(DF_[A-Z_]+): ", text)
    if found is None or found[1] not in ErrorCode.__members__.values():
        return None, text
    return ErrorCode(found[1]), text[found.end() :]
