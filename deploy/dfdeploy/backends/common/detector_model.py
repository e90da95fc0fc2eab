"""What the Python twins of Triton's native backends share: requests in, responses out, one bad waveform at a time."""

from __future__ import annotations  # Triton fills its module only once ours has been imported

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from dfcontract.calibration import Calibration
from dfcontract.errors import ErrorCode, coded
from dfcontract.tensors import SCORE
from dfdeploy.backends.common.batches import Outputs, Runner, Waveforms
from dfdeploy.backends.common.figures import LateCount, ScoreCounts
from dfdeploy.backends.common.lateness import Lateness
from dfdeploy.backends.common.log import FailureLog
from dfdeploy.backends.common.options import THREADS_PARAMETER
from dfdeploy.backends.common.tensors import array_of, tensor_of

ANY_SIZE = -1  # in a configuration's dims


class Refused(Exception):
    """A request that is not computed.

    Args:
        code: what is wrong with it.
        text: the same in words.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class DetectorModel(ABC):
    """One instance of one model, as Triton's Python backend wants it; a twin says how its file is opened."""

    @abstractmethod
    def open_cpu(self, folder: Path, threads: int) -> Runner:
        """Open the model file in ``folder`` for this many cores."""

    @abstractmethod
    def open_gpu(self, folder: Path, device_id: int) -> Runner:
        """Open the model file in ``folder`` on a GPU."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the file in ``<repository>/<version>``."""
        config = json.loads(args["model_config"])
        self.parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self.input: str = config["input"][0]["name"]
        self.max_batch_size: int = config["max_batch_size"]
        self.outputs: dict[str, tuple[int, ...]] = {
            output["name"]: tuple(int(size) for size in output["dims"]) for output in config["output"]
        }
        name, calibration = args["model_name"], self.parameters.get("calibration")
        self.counts = ScoreCounts(name, Calibration.from_json(calibration, name).deciles if calibration else ())
        self.log, self.lateness, self.too_late = FailureLog(name), Lateness(), LateCount(name)
        self.clip_samples = tuple(map(int, self.parameters.get("clip_samples", "").split()))
        folder = Path(args["model_repository"]) / args["model_version"]
        if args["model_instance_kind"] == "GPU":
            self.runner = self.open_gpu(folder, int(args["model_instance_device_id"]))
        else:
            threads = int(self.parameters.get(THREADS_PARAMETER[config["backend"]], 0)) or len(os.sched_getaffinity(0))
            self.runner = self.open_cpu(folder, threads)

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Answer each request; what is wrong with one is that one's error."""
        self.lateness.begin()
        asked = [self._waveforms_of(request) for request in requests]
        answers = iter(self.runner.run([each for each in asked if not isinstance(each, Refused)]))
        checked = [each if isinstance(each, Refused) else self._checked(next(answers), each) for each in asked]
        self._count(checked)
        for request, answer in zip(requests, checked, strict=True):
            if isinstance(answer, Exception) and not _is_late(answer):
                self.log.write(request.request_id(), answer)
        self.lateness.end()
        return [self._response(answer) for answer in checked]

    def finalize(self) -> None:
        """Let go of the runner's threads."""
        self.runner.close()

    def _waveforms_of(self, request: pb_utils.InferenceRequest) -> Waveforms | Refused:
        """What is to be scored, or why it is not."""
        if (waited_s := self.lateness.waited_s(request.parameters(), request.timeout())) is not None:
            return Refused(
                ErrorCode.TOO_LATE,
                f"expected to begin within {request.timeout() / 1e6:g} s of the call, found {waited_s:.1f} s gone, if "
                "the client's clock is right",
            )
        waveforms = array_of(pb_utils.get_input_tensor_by_name(request, self.input))
        complaint = self._complaint(waveforms)
        return Refused(ErrorCode.BAD_WAVEFORM, complaint) if complaint else waveforms

    def _count(self, checked: list[Outputs | Exception]) -> None:
        """Add to the server's figures."""
        self.too_late.count(sum(map(_is_late, checked)))
        answers = [answer for answer in checked if not isinstance(answer, Exception)]
        if answers and SCORE in self.outputs:
            place = [*self.outputs].index(SCORE)
            self.counts.count(np.concatenate([answer[place].ravel() for answer in answers]))

    def _checked(self, answer: Outputs | Exception, waveforms: Waveforms) -> Outputs | Exception:
        """The answer, or an error where a tensor is not as large as the configuration says: Triton would send it."""
        if isinstance(answer, Exception):
            return answer
        for (name, dims), value in zip(self.outputs.items(), answer, strict=True):
            expected = (len(waveforms), *dims)
            is_right = len(value.shape) == len(expected) and all(
                wanted in (ANY_SIZE, size) for wanted, size in zip(expected, value.shape, strict=True)
            )
            if not is_right:
                return ValueError(f"{name}: expected the shape {expected}, found {value.shape}")
        return answer

    def _response(self, answer: Outputs | Exception) -> pb_utils.InferenceResponse:
        error = pb_utils.TritonError
        if isinstance(answer, Refused):
            status = error.UNAVAILABLE if _is_late(answer) else error.INVALID_ARG
            return pb_utils.InferenceResponse(error=error(coded(answer.code, str(answer)), status))
        if isinstance(answer, Exception):
            return pb_utils.InferenceResponse(error=error(str(answer), error.INTERNAL))
        tensors = [tensor_of(name, value) for name, value in zip(self.outputs, answer, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _complaint(self, waveform: Waveforms) -> str:
        """What is wrong with it; "" where nothing is. A fixed length is Triton's own to check."""
        if self.clip_samples:
            (least, most), samples = self.clip_samples, waveform.shape[-1]
            if not least <= samples <= most:
                return f"{self.input}: expected {least} to {most} samples, found {samples}; cut the recording"
        if np.isfinite(waveform).all():
            return ""
        count = waveform.size - int(np.isfinite(waveform).sum())
        return f"{self.input}: expected finite samples, found {count} NaN or infinite; check the recording's decoder"


def _is_late(answer: Outputs | Exception) -> bool:
    return isinstance(answer, Refused) and answer.code is ErrorCode.TOO_LATE
