"""A live stream's call to the server: our messages and answers as Triton's, its errors as ours.

The wire protocol is on one page: docs/live.md.
"""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np

from dfclient.card import LIVE_SUFFIX
from dfclient.errors import ContractError, RequestRefused, ServerError, ServerUnavailable
from dfclient.live_core import Answer, Message
from dfclient.transport import CHANNEL_OPTIONS, InferRequest, Stub, Transport

OUTPUT_TYPES = {"WINDOW": "<i4", "START_S": "<f8", "END_S": "<f8", "LOGITS": "<f4", "SCORE": "<f4"}


class Wire:
    """Calls to one detector's live model. A stream is one call: its messages in, its answers out."""

    def __init__(self, transport: Transport, model: str) -> None:
        self.transport, self.model = transport, model + LIVE_SUFFIX

    def channel(self) -> Any:
        """A channel for `open`; close it."""
        return grpc.insecure_channel(self.transport.url, options=CHANNEL_OPTIONS)

    def open(self, channel: Any, messages: Iterator[Message]) -> Any:
        """A gRPC call: iterate it for responses, cancel it to end it. A thread of gRPC's takes the messages."""
        requests = (self._request(message) for message in messages)
        return Stub(channel).ModelStreamInfer(requests)

    def answer(self, response: Any) -> Answer:
        """What one response says of a window.

        Raises:
            ServerError: it carries an error; the stream has ended.
            ContractError: it is no answer of a live model.
        """
        if response.error_message:
            raise self.transport.cause("INVALID_ARGUMENT", response.error_message, self.model)
        infer = response.infer_response
        arrays = {
            output.name: np.frombuffer(content, OUTPUT_TYPES[output.name])
            for output, content in zip(infer.outputs, infer.raw_output_contents, strict=True)
            if output.name in OUTPUT_TYPES
        }
        if {name: len(array) for name, array in arrays.items()} != {**dict.fromkeys(OUTPUT_TYPES, 1), "LOGITS": 2}:
            raise ContractError(f"model {self.model!r}: expected {', '.join(OUTPUT_TYPES)}, found {sorted(arrays)}")
        spoof, bonafide = map(float, arrays["LOGITS"])
        score = float(arrays["SCORE"][0])
        if not np.isfinite([spoof, bonafide, score]).all():
            raise RequestRefused(f"model {self.model!r} answered NaN or infinity for this audio")
        start_s, end_s = float(arrays["START_S"][0]), float(arrays["END_S"][0])
        return Answer(int(arrays["WINDOW"][0]), start_s, end_s, (spoof, bonafide), score)

    def error(self, error: Any) -> ServerError:
        """Ours for gRPC's."""
        status = error.code().name
        if status == "CANCELLED":  # by the server, or by us when an answer was overdue
            return ServerUnavailable(f"{self.transport.url}: the connection was ended")
        return self.transport.cause(status, error.details() or "", self.model)

    def ended_early(self) -> ServerError:
        """The server closed the stream with windows unanswered."""
        return ServerUnavailable(f"{self.transport.url}: the server ended the stream early")

    def _request(self, message: Message) -> Any:
        request = InferRequest(model_name=self.model)
        request.parameters["sequence_id"].string_param = message.sequence_id
        request.parameters["sequence_start"].bool_param = message.is_start
        request.parameters["sequence_end"].bool_param = message.is_end
        for key, value in message.parameters.items():
            if isinstance(value, str):
                request.parameters[key].string_param = value
            else:
                request.parameters[key].int64_param = value
        request.inputs.add(name="AUDIO", datatype="UINT8", shape=[len(message.audio)])
        request.raw_input_contents.append(message.audio)
        return request
