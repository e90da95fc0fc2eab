"""The detector that a live model asks about its windows, through Triton's calls from model to model (BLS)."""

from __future__ import annotations  # Triton fills its module only once ours has been imported

import time

import numpy as np
import triton_python_backend_utils as pb_utils

from dfcontract.errors import ErrorCode
from dfcontract.tensors import IDENTITY, LOGITS, SCORE, WAVEFORM, Samples
from dfdeploy.backends.common.tensors import array_of, tensor_of
from dfdeploy.backends.live.errors import StreamError
from dfdeploy.backends.live.stream import Answer

QUEUE_FULL_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
QUEUE_FULL = "maximum queue size"  # in Triton's words


class Detector:
    """One detector at this server.

    Args:
        name: of its model.
        states_identity: whether its answers carry IDENTITY.
    """

    def __init__(self, name: str, *, states_identity: bool) -> None:
        self.name = name
        self.outputs = [LOGITS, SCORE, *([IDENTITY] if states_identity else [])]

    def infer(self, samples: Samples, version: int) -> Answer:
        """Its answer to one window (window_samples,); where its queue is full, after some waiting.

        Raises:
            StreamError: its queue stayed full, or it refused the window or failed on it.
        """
        request = pb_utils.InferenceRequest(
            model_name=self.name,
            model_version=version,
            requested_output_names=self.outputs,
            inputs=[tensor_of(WAVEFORM, samples[np.newaxis])],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        )
        for pause_s in (*QUEUE_FULL_PAUSES_S, None):
            response = request.exec()
            if not response.has_error():
                return self._answer(response)
            message = response.error().message()
            if QUEUE_FULL not in message:
                raise StreamError(ErrorCode.DETECTOR_FAILED, f"{self.name}: {message}")
            if pause_s is not None:
                time.sleep(pause_s)
        raise StreamError(ErrorCode.DETECTOR_BUSY, f"{self.name}: {message}")

    def _answer(self, response: pb_utils.InferenceResponse) -> Answer:
        logits, score, *identity = (
            array_of(pb_utils.get_output_tensor_by_name(response, name))[0] for name in self.outputs
        )
        return Answer(logits, float(score[0]), int(identity[0][0]) if identity else 0)
