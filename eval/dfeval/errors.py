"""What can go wrong, drawn once.

EvalError                 anything a user can put right
├── ScoreFileError        a score file that can't be read or understood
├── ProtocolError         a protocol that doesn't fit its format
├── OneClassError         a metric needs bona fide and spoof trials, one class is missing
└── CalibrationError      a calibration that can't be fitted, read or applied
"""


class EvalError(Exception):
    """Anything a user can put right; the message says what was expected, what was found and how to fix it."""


class ScoreFileError(EvalError):
    """A score file that can't be read or understood."""


class ProtocolError(EvalError):
    """A protocol that doesn't fit its format."""


class OneClassError(EvalError):
    """A metric needs bona fide and spoof trials, and one class is missing."""

    def __init__(self, n_bonafide: int, n_spoof: int, metric: str = "the metric") -> None:
        super().__init__(f"{metric} needs bona fide and spoof trials; found {n_bonafide} bona fide and {n_spoof} spoof")


class CalibrationError(EvalError):
    """A calibration that can't be fitted, read or applied."""
