"""A live stream's messages and answers, as tensors and parameters of the live protocol (docs/live.md)."""

from collections.abc import Iterator

from dfclient.calls import Outputs, StreamCall, StreamRequest, numbers_of
from dfclient.errors import ModelNotFound, ServerError
from dfclient.live.core import Answer, Message
from dfclient.retry import Retrying
from dfcontract.card import ModelCard
from dfcontract.live import END_S, LIVE_OUTPUTS, START_S, WINDOW, live_name
from dfcontract.tensors import BONAFIDE_INDEX, IDENTITY, LOGITS, SCORE, SPOOF_INDEX


class Wire:
    """Calls to one detector's live model. A stream is one call: its messages in, its answers out."""

    def __init__(self, calls: Retrying, card: ModelCard) -> None:
        self._calls, self._card = calls, card
        self.model = live_name(card.model)

    @property
    def url(self) -> str:
        """Of the server."""
        return self._calls.calls.url

    def open(self, messages: Iterator[Message]) -> StreamCall:
        """Begin a call; a thread of its own takes the messages."""
        return self._calls.calls.stream(self.model, (_request(message) for message in messages))

    def answer(self, outputs: Outputs) -> Answer:
        """What one response says of a window.

        Raises:
            ContractError: it is no answer of a live model.
            RequestRefused: NaN or infinity.
        """
        numbers = numbers_of(self.model, outputs, LIVE_OUTPUTS)
        logits = numbers[LOGITS]
        return Answer(
            index=int(numbers[WINDOW][0]),
            start_s=float(numbers[START_S][0]),
            end_s=float(numbers[END_S][0]),
            logits=(float(logits[SPOOF_INDEX]), float(logits[BONAFIDE_INDEX])),
            score=float(numbers[SCORE][0]),
            identity=int(numbers[IDENTITY][0]),
        )

    def confirmed(self, error: ServerError) -> ServerError:
        """The error itself, or what is behind it where a server that starts or stops says that a model is unknown."""
        if not isinstance(error, ModelNotFound):
            return error
        detector = self._calls.confirmed(error, self._card.model, self._card.version)
        return detector if isinstance(detector, ModelNotFound) else self._calls.confirmed(error, self.model, "")


def _request(message: Message) -> StreamRequest:
    sequence: dict[str, str | int | bool] = {
        "sequence_id": message.sequence_id,
        "sequence_start": message.is_start,
        "sequence_end": message.is_end,
    }
    return StreamRequest({**sequence, **message.parameters}, message.audio)
