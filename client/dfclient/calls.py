"""What the library asks of a Triton server, as a protocol. `transport.Transport` does it over gRPC, tests in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dfclient.errors import ContractError, ModelChanged, RequestRefused, ServerError
from dfcontract.card import ModelCard
from dfcontract.errors import CardError
from dfcontract.tensors import IDENTITY, Samples, Tensor

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 60.0
SCORE_TOLERANCE = 1e-5  # of float32, relative beyond 1

Outputs = Mapping[str, bytes]  # one answer's tensors, little-endian


@dataclass(frozen=True)
class ModelInfo:
    """What the server says of one model version."""

    name: str
    version: str
    parameters: Mapping[str, str]

    def card(self) -> ModelCard:
        """The model card in its parameters; ContractError where there is none."""
        try:
            return ModelCard.from_parameters(self.name, self.version, self.parameters)
        except CardError as error:
            raise ContractError(str(error)) from None


@dataclass(frozen=True)
class ModelState:
    """A row of the server's repository index."""

    name: str
    version: str
    state: str  # READY, UNAVAILABLE, LOADING, UNLOADING, or "" for a model with no loadable version
    reason: str


class WindowAnswer(NamedTuple):
    """What a detector answers to one window."""

    logits: npt.NDArray[np.float32]  # (2,): spoof, bona fide
    score: float
    identity: int  # of the graph; 0 where it states none


@dataclass(frozen=True)
class StreamRequest:
    """One message of a live stream."""

    parameters: Mapping[str, str | int | bool]
    audio: bytes


class StreamCall(Protocol):
    """A live stream's call. Iterate it for answers until it ends; an error among them ends the stream, not the call."""

    def __iter__(self) -> Iterator[Outputs | ServerError]:
        """Answers and errors as they come."""
        ...

    def cancel(self) -> None:
        """End the call at once, for a server that does not end it; no effect on one that has ended."""
        ...


class TritonCalls(Protocol):
    """One attempt at each call; failures are `ServerError`s. Calls may come from many threads at once."""

    url: str
    timeout_s: float  # deadline of each call but `stream`

    def is_live(self) -> bool:
        """Whether the server's process answers."""
        ...

    def is_ready(self) -> bool:
        """Whether the server says that all its models are ready."""
        ...

    def is_model_ready(self, model: str, version: str = "") -> bool:
        """Whether one model is ready; the server as a whole may not be, after a broken update beside it."""
        ...

    def model_states(self) -> list[ModelState]:
        """The server's repository index."""
        ...

    def model_info(self, model: str, version: str = "") -> ModelInfo:
        """A model's configuration; without a version, of the newest one that is served."""
        ...

    def infer(self, model: str, version: str, window: Samples) -> WindowAnswer:
        """Answer to one window (window_samples,): one request, for the server to batch with others."""
        ...

    def stream(self, model: str, requests: Iterator[StreamRequest]) -> StreamCall:
        """Begin a call of a live model; a thread of its own takes the requests as they come."""
        ...

    def close(self) -> None:
        """Take no more calls, let those in flight end, close the connection."""
        ...


def numbers_of(
    model: str, outputs: Outputs, expected: Mapping[str, Tensor]
) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]]:
    """An answer's tensors as arrays of (width,); IDENTITY is 0 where the answer has none.

    Raises:
        ContractError: a tensor is missing or has another size.
        RequestRefused: NaN or infinity.
    """
    found = {name: len(outputs.get(name, b"")) for name in expected}
    wanted = {name: tensor.width * np.dtype(tensor.dtype).itemsize for name, tensor in expected.items()}
    if IDENTITY not in outputs:
        outputs = {**outputs, IDENTITY: bytes(wanted[IDENTITY])}
        found[IDENTITY] = wanted[IDENTITY]
    if found != wanted:
        expectation = ", ".join(f"{name} {tensor.datatype} [{tensor.width}]" for name, tensor in expected.items())
        sizes = ", ".join(f"{name} with {size} bytes" for name, size in found.items() if size != wanted[name])
        raise ContractError(f"model {model!r}: expected {expectation}, the server answered {sizes}")
    arrays = {name: np.frombuffer(outputs[name], tensor.dtype) for name, tensor in expected.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise RequestRefused(f"model {model!r} answered NaN or infinity for this audio")
    return arrays


def check_score(card: ModelCard, logits: Iterable[float], score: float) -> None:
    """Refuse a SCORE that does not follow from the LOGITS beside it, as the card's ``score_kind`` says: ContractError.

    Every detector's does, so an answer in which it does not was damaged on its way.
    """
    spoof, bonafide = map(float, logits)
    expected = 1 / (1 + np.exp(spoof - bonafide)) if card.score_kind == "softmax" else bonafide
    if not abs(score - expected) <= SCORE_TOLERANCE * max(1.0, abs(expected)):
        raise ContractError(
            f"model {card.model!r}: expected the SCORE {expected:.6g} to the LOGITS {spoof:.6g} {bonafide:.6g}, found "
            f"{score:.6g}: the answer was damaged; see the server's log"
        )


def check_identity(card: ModelCard, answered: int) -> None:
    """Refuse an answer of another graph than the card's: ModelChanged.

    A score from it would be written down with the card's checkpoint, which did not give it.
    """
    if answered != card.identity:
        raise ModelChanged(
            f"model {card.model!r} is no longer the one whose card was read: expected answers with identity "
            f"{card.identity or 'none'}, found {answered or 'none'}: the server, or one of several, was given another "
            "checkpoint or build; begin anew with it, or serve the earlier one again"
        )
