"""What the Python twins of Triton's native backends share: requests in, responses out, one bad waveform at a time.

A twin's runner answers ``run(waveforms)``: for each (batch, samples) array its output arrays, or an exception.
"""

import json
import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class BadWaveform(Exception):
    """The request's own fault."""


class DetectorModel:
    """One instance of one model; a twin says how its file is opened, with ``open_cpu`` and ``open_gpu``."""

    def initialize(self, args):
        """Open the file in ``<repository>/<version>``."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self.input = config["input"][0]["name"]
        self.outputs = [output["name"] for output in config["output"]]
        folder = Path(args["model_repository"]) / args["model_version"]
        if args["model_instance_kind"] == "GPU":
            self.runner = self.open_gpu(folder, int(args["model_instance_device_id"]))
        else:
            threads = int(parameters.get("intra_op_thread_count", 0)) or len(os.sched_getaffinity(0))
            self.runner = self.open_cpu(folder, threads)

    def execute(self, requests):
        """Answer each request; what is wrong with one is that one's error."""
        waveforms = [pb_utils.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        finite = [bool(np.isfinite(waveform).all()) for waveform in waveforms]
        answers = iter(self.runner.run([waveform for waveform, good in zip(waveforms, finite, strict=True) if good]))
        return [
            self._response(next(answers) if good else BadWaveform(self._complaint(waveform)))
            for waveform, good in zip(waveforms, finite, strict=True)
        ]

    def finalize(self):
        """Let go of the runner's threads."""
        self.runner.close()

    def _response(self, answer):
        if isinstance(answer, Exception):
            error = pb_utils.TritonError
            code = error.INVALID_ARG if isinstance(answer, BadWaveform) else error.INTERNAL
            return pb_utils.InferenceResponse(error=error(str(answer), code))
        tensors = [pb_utils.Tensor(name, value) for name, value in zip(self.outputs, answer, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)

    def _complaint(self, waveform):
        count = waveform.size - int(np.isfinite(waveform).sum())
        return f"{self.input}: expected finite samples, found {count} NaN or infinite; check the recording's decoder"


def answer_together(call, waveforms):
    """Send all as one batch; for each its output arrays, or the exception that the batch caused."""
    if not waveforms:
        return []
    try:
        outputs = call(np.concatenate(waveforms))
    except Exception as error:
        return [error] * len(waveforms)
    ends = np.cumsum([len(waveform) for waveform in waveforms])[:-1]
    return list(zip(*(np.split(output, ends) for output in outputs), strict=True))


def stack(answers):
    """Outputs of single clips → outputs of their batch, or the first exception among them."""
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    return failed[0] if failed else [np.concatenate(rows) for rows in zip(*answers, strict=True)]
