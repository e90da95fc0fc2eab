"""What can go wrong while serving.

DeployError                 the base: a message for the user, with what to do
├── EnvironmentIncomplete   the server's environment lacks something; says what to install
├── RepositoryUnusable      nothing to serve
│   └── ModelsUnusable      models that can't be served: a broken card, a graph that does not load, wrong answers
├── PortTaken               somebody listens there already
├── ServerFailed            Triton did not become ready, or died
└── WrongAnswers            a model does not answer what it answered when it was built
"""

from collections.abc import Mapping
from pathlib import Path

from dfcontract.errors import DfserveError


class DeployError(DfserveError):
    """Serving can't go on; the text is for the user."""


class EnvironmentIncomplete(DeployError):
    """Something is missing or too new in the server's environment."""


class RepositoryUnusable(DeployError):
    """There is no model to serve."""


class ModelsUnusable(RepositoryUnusable):
    """Models that can't be served.

    Attributes:
        reasons: each with what is wrong.
    """

    def __init__(self, reasons: Mapping[str, str], log: Path | None = None) -> None:
        where = f". Triton's log: {log}" if log else ""
        super().__init__("; ".join(f"{model} {reason}" for model, reason in sorted(reasons.items())) + where)
        self.reasons = dict(reasons)


class PortTaken(DeployError):
    """A port is in use."""


class ServerFailed(DeployError):
    """Triton stopped, or never became ready."""


class WrongAnswers(DeployError):
    """A loaded model answers something else than it should."""
