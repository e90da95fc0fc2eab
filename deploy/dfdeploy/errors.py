"""What can go wrong while serving.

DeployError                 the base: a message for the user, with what to do
├── EnvironmentIncomplete   the server's environment lacks something; says what to install
├── RepositoryUnusable      nothing to serve, or a model that Triton refuses
├── PortTaken               somebody listens there already
├── ServerFailed            Triton did not become ready, or died
└── WrongAnswers            it is ready, but a model does not answer what it answered when it was built
"""

from dfcontract.errors import DfserveError


class DeployError(DfserveError):
    """Serving can't go on; the text is for the user."""


class EnvironmentIncomplete(DeployError):
    """Something is missing or too new in the server's environment."""


class RepositoryUnusable(DeployError):
    """There is no model to serve, or one that does not load."""


class PortTaken(DeployError):
    """A port is in use."""


class ServerFailed(DeployError):
    """Triton stopped, or never became ready."""


class WrongAnswers(DeployError):
    """A loaded model answers something else than it should."""
