"""`Server`: what one Triton server serves, whether it is well, and its detectors over one connection."""

from dataclasses import dataclass

from dfclient.calls import ModelState
from dfclient.connection import Connection
from dfclient.detector import Detector
from dfclient.errors import ContractError, ModelNotFound
from dfcontract.card import ModelCard
from dfcontract.live import detectors_among


@dataclass(frozen=True)
class ModelHealth:
    """One model of a server's repository: whether it answers, and the server's reason where it does not."""

    name: str
    version: str
    is_ready: bool
    reason: str


@dataclass(frozen=True)
class Health:
    """How a server is.

    Attributes:
        is_live: its process answers.
        is_ready: it says that all its models are ready.
        models: each model, in the order of their names.
    """

    is_live: bool
    is_ready: bool
    models: tuple[ModelHealth, ...]

    @property
    def is_good(self) -> bool:
        """Whether everything that should answer does, and there is something."""
        return self.is_live and self.is_ready and bool(self.models) and all(model.is_ready for model in self.models)


class Server(Connection):
    """A Triton server.

        with Server("host:8001") as server:
            for card in server.models():
                print(card.model, card.weights)
            print(server.detector("aasist").score("a.wav").score)

    Args:
        url: HOST:PORT of its gRPC endpoint, or several; see `connection.Connection`.
        timeout_s: deadline of each request.
        retry: what is tried again, and for how long.
        credentials: TLS and keys, where the server or a proxy before it asks for them.
        transport: instead of gRPC to `url`; whoever gives it closes it.

    Raises:
        InputError: an address or a deadline that can be none. The server itself is asked only by the methods, which
            raise ServerError.
    """

    def models(self) -> list[ModelCard]:
        """Cards of the detectors that are ready, in the order of their names; see `unusable` for the others."""
        return [card for card in self.cards().values() if isinstance(card, ModelCard)]

    def unusable(self) -> dict[str, str]:
        """Ready models without a usable card → why: another's model beside ours, or a detector whose card is broken."""
        return {name: str(card) for name, card in self.cards().items() if isinstance(card, ContractError)}

    def health(self) -> Health:
        """How the server is now: each question is asked once.

        Raises:
            ServerError: it does not answer.
        """
        calls = self._calls.calls
        is_live, is_ready = calls.is_live(), calls.is_ready()
        states = sorted(calls.model_states(), key=lambda state: (state.name, state.version))
        return Health(is_live, is_ready, tuple(self._health_of(state) for state in states))

    def detector(self, name: str, version: str = "") -> Detector:
        """A detector that shares this server's connection, and is of no use once that is closed."""
        return Detector(self.url, name, version=version, retry=self._calls.policy, transport=self._calls.calls)

    def cards(self) -> dict[str, ModelCard | ContractError]:
        """Each ready model but live siblings, in the order of their names → its card, or why it has none to use."""
        cards: dict[str, ModelCard | ContractError] = {}
        for name in detectors_among([state.name for state in self._calls.model_states() if state.state == "READY"]):
            try:
                cards[name] = self._calls.model_info(name).card()
            except ContractError as error:
                cards[name] = error
        return cards

    def _health_of(self, state: ModelState) -> ModelHealth:
        try:
            is_ready = self._calls.calls.is_model_ready(state.name, state.version)
        except ModelNotFound:  # a version that could not be loaded
            is_ready = False
        return ModelHealth(state.name, state.version, is_ready, state.reason)
