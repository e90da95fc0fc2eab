"""What can go wrong in an evaluation.

DfserveError              anything a user can put right: dfcontract.errors
├── ScoreFileError        a score file that can't be read or understood
├── CalibrationError      a calibration that can't be fitted, read or applied
└── EvalError             everything else that is wrong with an evaluation
    ├── ProtocolError     a protocol that doesn't fit its format
    └── OneClassError     a metric needs bona fide and spoof trials, one class is missing
"""

from collections.abc import Sequence

from dfcontract.errors import CalibrationError, DfserveError, ScoreFileError

__all__ = ["CalibrationError", "DfserveError", "EvalError", "OneClassError", "ProtocolError", "ScoreFileError"]


class EvalError(DfserveError):
    """What is wrong with an evaluation; the message says what was expected, what was found and how to fix it."""


class ProtocolError(EvalError):
    """A protocol that doesn't fit its format."""


class OneClassError(EvalError):
    """A metric needs bona fide and spoof trials, and one class is missing."""

    def __init__(self, n_bonafide: int, n_spoof: int, metric: str = "the metric", notes: Sequence[str] = ()) -> None:
        """State what was found; ``notes`` are the reasons that may lie in the files."""
        found = f"found {n_bonafide} bona fide and {n_spoof} spoof"
        super().__init__("; ".join((f"{metric} needs bona fide and spoof trials", found, *notes)))
