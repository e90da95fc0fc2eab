"""Triton backend of ``<detector>_live``: audio in chunks, a score for each window while it plays. docs/live.md.

The model is decoupled and sequence-batched; Triton hands over one stream's chunks in order and releases each as soon as
`execute` returns, so nothing here may wait. A window goes to the detector through BLS in a thread of a pool: windows of
all streams are in flight together and meet in the detector's dynamic batcher. (`async_exec` would do the same in
asyncio's default pool, of six threads on two cores.)

On an idle sequence's expiry Triton tells the model nothing, and above its own cap new sequences wait in silence: so the
model expires its streams itself, and refuses new ones below that cap.
"""

import ctypes
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils
from live_stream import LiveStream, Settings
from telephony import BadAudio

THREADS = 64  # windows at the detector at once, below its queue's limit
QUEUE_FULL_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
SWEEP_S = 1.0
START, END = pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class DetectorFailed(Exception):
    """The detector refused a window or failed on it."""


class TooManyStreams(Exception):
    """As many streams are open as the model takes."""


class Reply:
    """Where one request's answers go: windows, then the end, which is said once."""

    def __init__(self, sender, rate_hz):
        self.sender, self.rate_hz = sender, rate_hz
        self.is_open = True

    def send(self, window, logits, score, pooled, *, is_last):
        """One window's answer."""
        outputs = {
            "WINDOW": np.array([window.index], np.int32),
            "START_S": np.array([window.start / self.rate_hz]),
            "END_S": np.array([window.end / self.rate_hz]),
            "LOGITS": logits,
            "SCORE": np.array([score], np.float32),
            "POOLED": np.array([pooled]),
        }
        tensors = [pb_utils.Tensor(name, value) for name, value in outputs.items()]
        self._finish(is_last, pb_utils.InferenceResponse(output_tensors=tensors))

    @property
    def is_wanted(self):
        """False once the client has hung up."""
        return not self.sender.is_cancelled()

    def fail(self, error):
        """The stream ends here."""
        kinds = {BadAudio: pb_utils.TritonError.INVALID_ARG, TooManyStreams: pb_utils.TritonError.UNAVAILABLE}
        code = kinds.get(type(error), pb_utils.TritonError.INTERNAL)
        self._finish(True, pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code)))

    def close(self):
        """No more answers."""
        if self.is_open:
            self._finish(True)

    def _finish(self, is_last, *response):
        self.is_open = not is_last
        self.sender.send(*response, flags=FINAL if is_last else 0)


class TritonPythonModel:
    """All streams of one detector."""

    def initialize(self, args):
        """Read the detector's name and window, and the limits, from the config."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.detector = parameters["live_of"]
        self.window_samples, self.rate_hz = int(parameters["window_samples"]), int(parameters["sample_rate_hz"])
        self.max_streams, self.idle_timeout_s = int(parameters["max_streams"]), float(parameters["idle_timeout_s"])
        self.streams = {}  # correlation id → stream
        self.ending = []  # had its END, still has windows at the detector
        self.lock = threading.Lock()  # of the two above
        self.workers = ThreadPoolExecutor(THREADS)
        self.stopped = threading.Event()
        self.sweeper = threading.Thread(target=self._sweep)
        self.sweeper.start()

    def execute(self, requests):
        """Take each chunk; the answers follow when they are ready."""
        for request in requests:
            reply = Reply(request.get_response_sender(), self.rate_hz)
            key = request.correlation_id()
            try:
                self._take(key, request, reply)
            except (BadAudio, TooManyStreams) as error:
                self._drop(key)
                if reply.is_open:
                    reply.fail(error)

    def finalize(self):
        """Let the threads go."""
        self.stopped.set()
        self.sweeper.join()
        self.workers.shutdown(cancel_futures=True)

    def _take(self, key, request, reply):
        is_end = bool(request.flags() & END)
        stream = self._open(key, request) if request.flags() & START else self.streams.get(key)
        if stream is None or stream.is_over:
            raise BadAudio(
                f"no such stream: it has ended or failed, or sent nothing for {self.idle_timeout_s:g} s: begin a new "
                "one with the START flag"
            )
        stream.push(pb_utils.get_input_tensor_by_name(request, "AUDIO").as_numpy(), reply, is_end=is_end)
        if is_end:
            with self.lock:
                self.ending.append(self.streams.pop(key))

    def _open(self, key, request):
        self._drop(key)  # an id that is used again starts clean
        settings = Settings.checked(json.loads(request.parameters() or "{}"), self.window_samples)
        stream = LiveStream(settings, self.window_samples, self.rate_hz, self._submit, self._infer)
        with self.lock:
            self.ending = [ending for ending in self.ending if ending.is_busy]
            if len(self.streams) + len(self.ending) >= self.max_streams:
                raise TooManyStreams(f"{self.max_streams} streams are open, as many as this model takes: try later")
            self.streams[key] = stream
        return stream

    def _drop(self, key):
        with self.lock:
            stream = self.streams.pop(key, None)
        if stream is not None:
            stream.abandon()

    def _submit(self, work, job):
        self.workers.submit(work, job).add_done_callback(complain)

    def _infer(self, samples, version):
        """Logits (2,) and score of one window, from the detector; waits a little where its queue is full."""
        request = pb_utils.InferenceRequest(
            model_name=self.detector,
            model_version=version,
            requested_output_names=["LOGITS", "SCORE"],
            inputs=[pb_utils.Tensor("WAVEFORM", samples[np.newaxis])],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        )
        for pause_s in (*QUEUE_FULL_PAUSES_S, None):
            response = request.exec()
            if not response.has_error():
                logits, score = (
                    pb_utils.get_output_tensor_by_name(response, name).as_numpy()[0] for name in ("LOGITS", "SCORE")
                )
                return logits, float(score[0])
            message = response.error().message()
            if pause_s is None or "maximum queue size" not in message:
                break
            time.sleep(pause_s)
        raise DetectorFailed(f"{self.detector}: {message}")

    def _sweep(self):
        """Forget streams whose client has gone, and give their memory back to the system."""
        while not self.stopped.wait(min(SWEEP_S, self.idle_timeout_s / 4)):
            deadline_s = time.monotonic() - self.idle_timeout_s
            with self.lock:
                idle = [key for key, stream in self.streams.items() if stream.is_idle_since(deadline_s)]
                ended = [stream for stream in self.ending if not stream.is_busy]
                self.ending = [stream for stream in self.ending if stream.is_busy]
            for key in idle:
                self._drop(key)
            if idle or ended:
                ctypes.CDLL(None).malloc_trim(0)


def complain(future):
    """Say in the server's log what would otherwise die with its thread."""
    if not future.cancelled() and future.exception() is not None:
        pb_utils.Logger.log_error(f"live: {future.exception()!r}")
