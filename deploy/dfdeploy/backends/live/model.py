"""Triton backend of ``<detector>_live``: audio in chunks, a score for each window while it plays. docs/live.md.

The model is decoupled and sequence-batched; Triton hands over one stream's chunks in order and releases each as soon as
`execute` returns, so nothing here may wait. A window goes to the detector in a thread of a pool: windows of all streams
are in flight together and meet in the detector's dynamic batcher. (`async_exec` would do the same in asyncio's default
pool, of six threads on two cores.)

When a sequence has been idle for too long Triton forgets it without telling the model, and above its own cap new
sequences wait in silence: so the model expires its streams itself, refuses new ones below that cap, and gives Triton's
places back (`places.py`). Before the server stops, it ends the streams that wait for audio (`drain.py`).
"""

from __future__ import annotations  # Triton fills its module only once ours has been imported

import ctypes
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from dfcontract import live
from dfcontract.errors import ErrorCode
from dfcontract.tensors import IDENTITY, LOGITS, SCORE
from dfdeploy.backends.common.figures import CertificateGauge, StreamGauge
from dfdeploy.backends.common.log import FailureLog
from dfdeploy.backends.common.tensors import array_of, tensor_of
from dfdeploy.backends.live.cutter import Window
from dfdeploy.backends.live.detector import Detector
from dfdeploy.backends.live.drain import Drain
from dfdeploy.backends.live.errors import StreamError
from dfdeploy.backends.live.places import Places, is_farewell
from dfdeploy.backends.live.stream import Answer, Job, Settings, Stream

THREADS = 64  # windows at the detector at once
SWEEP_S = 1.0
POLL_S = 0.1  # how often it is looked whether a sweep is due early
LINGER_S = 5.0  # after a refusal: chunks that are on their way get the model's reason, and not Triton's words
START, END = pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START, pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL

# By the names that Triton gives them; where a code is missing it is INTERNAL.
STATUS = {
    ErrorCode.BAD_STREAM: "INVALID_ARG",
    ErrorCode.NO_SUCH_STREAM: "INVALID_ARG",
    ErrorCode.TOO_FAR_AHEAD: "INVALID_ARG",
    ErrorCode.TOO_MANY_STREAMS: "UNAVAILABLE",
    ErrorCode.DETECTOR_BUSY: "UNAVAILABLE",
    ErrorCode.SERVER_STOPPING: "UNAVAILABLE",
}


class TritonReply:
    """Where a stream's answers go: windows, then the end, which is said once.

    Args:
        sender: Triton's, of the stream's first request.
        rate_hz: the detector's.
        outputs: those that the model's configuration lists; one from before IDENTITY existed does not have it.
        log: is told of the error that ends it.
    """

    def __init__(
        self, sender: pb_utils.ResponseSender, rate_hz: int, outputs: list[str], log: Callable[[Exception], None]
    ) -> None:
        self.sender, self.rate_hz, self.outputs, self.log = sender, rate_hz, outputs, log
        self.is_open = True
        # Once the end is said, Triton has freed what `is_cancelled` asks about: the two must not meet.
        self.lock = threading.Lock()

    @property
    def is_wanted(self) -> bool:
        """False once the client's call is gone, or the end is said."""
        with self.lock:
            return self.is_open and not self.sender.is_cancelled()

    def send(self, window: Window, answer: Answer, pooled: float) -> None:
        """One window's answer."""
        values = {
            live.WINDOW: [window.index],
            live.START_S: [window.start / self.rate_hz],
            live.END_S: [window.end / self.rate_hz],
            LOGITS: answer.logits,
            SCORE: [answer.score],
            live.POOLED: [pooled],
            IDENTITY: [answer.identity],
        }
        tensors = [tensor_of(name, np.array(values[name], live.LIVE_OUTPUTS[name].dtype)) for name in self.outputs]
        with self.lock:
            if self.is_open:
                self.sender.send(pb_utils.InferenceResponse(output_tensors=tensors))

    def fail(self, error: Exception) -> None:
        """End it with an error, unless it has ended."""
        status = STATUS.get(error.code, "INTERNAL") if isinstance(error, StreamError) else "INTERNAL"
        triton_error = pb_utils.TritonError(str(error), getattr(pb_utils.TritonError, status))
        with self.lock:
            if self.is_open:
                self.is_open = False
                self.log(error)
                self.sender.send(pb_utils.InferenceResponse(error=triton_error), FINAL)

    def close(self) -> None:
        """End it, unless it has ended."""
        with self.lock:
            if self.is_open:
                self.is_open = False
                self.sender.send(flags=FINAL)


class TritonPythonModel:
    """All streams of one detector."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the detector's name and window, and the limits, from the config."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        name = parameters[live.LIVE_OF]
        self.log = FailureLog(args["model_name"])
        self.outputs = [output["name"] for output in config["output"]]
        self.detector = Detector(name, states_identity=states_identity(Path(args["model_repository"]).parent / name))
        self.window_samples, self.rate_hz = int(parameters["window_samples"]), int(parameters["sample_rate_hz"])
        self.pre_emphasis = float(parameters.get(live.PRE_EMPHASIS_KEY, 0))
        self.least_samples = int(parameters.get(live.LEAST_SAMPLES_KEY, self.window_samples))
        self.max_streams = int(parameters[live.MAX_STREAMS_KEY])
        self.idle_timeout_s = float(parameters[live.IDLE_TIMEOUT_KEY])
        self.gauge, self.certificate = StreamGauge(name), CertificateGauge()
        self.places = Places(args["model_name"], int(args["model_version"]))
        self.streams: dict[int | str, Stream] = {}  # by correlation id
        self.ending: list[Stream] = []  # had their END, still have windows at the detector
        self.lock = threading.Lock()  # of the two above
        self.workers = ThreadPoolExecutor(THREADS)
        self.drain = Drain(args["model_name"])
        self.is_draining = False
        self.is_full = threading.Event()
        self.stopped = threading.Event()
        self.sweeper = threading.Thread(target=self._run_sweeps)
        self.sweeper.start()

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        """Take each chunk; the answers follow when they are ready, all to the stream's first request."""
        for request in requests:
            log = partial(self.log.write, request.request_id())
            reply = TritonReply(request.get_response_sender(), self.rate_hz, self.outputs, log)
            try:
                self._take(request, reply)
            except StreamError as error:
                reply.fail(error)
                if not request.flags() & END:
                    self.places.give_back(request.correlation_id(), LINGER_S)

    def finalize(self) -> None:
        """Let the threads go."""
        self.stopped.set()
        self.sweeper.join()
        self.workers.shutdown(cancel_futures=True)

    def _take(self, request: pb_utils.InferenceRequest, reply: TritonReply) -> None:
        """Give a chunk to its stream; a request that is not the stream's first is done with that.

        Raises:
            StreamError: there is no such stream, or none can be begun.
        """
        key = request.correlation_id()
        flags = request.flags()
        if flags & (START | END):
            self.places.keep(key)
        stream = self._open(key, request, reply) if flags & START else self.streams.get(key)
        if flags & END and is_farewell(request):
            reply.close()
            return
        if stream is None or stream.is_over:
            raise StreamError(
                ErrorCode.NO_SUCH_STREAM,
                f"no such stream: it has ended or failed, or sent nothing for {self.idle_timeout_s:g} s: begin a new "
                "one with the START flag",
            )
        try:
            audio = array_of(pb_utils.get_input_tensor_by_name(request, live.AUDIO))
            stream.push(audio, is_end=bool(flags & END))
        except StreamError as error:
            stream.fail(error)  # after the answers that went before
        if stream.reply is not reply:
            reply.close()
        if flags & END or stream.is_over:
            with self.lock:
                self.streams.pop(key, None)
                if stream.is_busy:
                    self.ending.append(stream)

    def _open(self, key: int | str, request: pb_utils.InferenceRequest, reply: TritonReply) -> Stream:
        self._drop(key)  # an id that is used again starts clean
        settings = Settings.checked(json.loads(request.parameters() or "{}"), self.window_samples)
        stream = Stream(
            settings,
            self.window_samples,
            self.rate_hz,
            reply,
            submit=self._submit,
            infer=self.detector.infer,
            pre_emphasis=self.pre_emphasis,
            least_samples=self.least_samples,
        )
        with self.lock:
            if self.is_draining:
                raise stopping()
            self.ending = [ending for ending in self.ending if ending.is_busy]
            if len(self.streams) + len(self.ending) >= self.max_streams:
                self.is_full.set()
                raise StreamError(
                    ErrorCode.TOO_MANY_STREAMS,
                    f"{self.max_streams} streams are open, as many as this model takes: try later",
                )
            self.streams[key] = stream
        return stream

    def _drop(self, key: int | str) -> None:
        with self.lock:
            stream = self.streams.pop(key, None)
        if stream is not None:
            stream.abandon()

    def _submit(self, work: Callable[[Job], None], job: Job) -> None:
        self.workers.submit(work, job).add_done_callback(complain)

    def _run_sweeps(self) -> None:
        """Now and then; soon when a stream found no room, or the server is to stop."""
        swept_s, interval_s = time.monotonic(), min(SWEEP_S, self.idle_timeout_s / 4)
        while not self.stopped.wait(POLL_S):
            self.is_draining = self.is_draining or self.drain.is_asked
            self.gauge.show(len(self.streams) + len(self.ending))
            if self.is_draining or self.is_full.is_set() or time.monotonic() - swept_s > interval_s:
                self.is_full.clear()
                self._sweep()
                swept_s = time.monotonic()

    def _sweep(self) -> None:
        """Forget streams whose client has gone, and give their memory back to the system."""
        with self.lock:
            open_streams = [*self.streams.items()]
            ending = [*self.ending]
        if self.is_draining:
            self._send_away([stream for _, stream in open_streams if not stream.is_busy])
        deadline_s = time.monotonic() - self.idle_timeout_s
        gone = [key for key, stream in open_streams if self._forget_if_gone(key, stream, deadline_s)]
        for stream in filter(is_deserted, ending):
            stream.abandon()
        with self.lock:
            self.ending = [stream for stream in self.ending if stream.is_busy]
            is_empty = not (self.streams or self.ending)
        self.places.sweep(all_of_them=self.is_draining)
        if self.is_draining and is_empty:
            self.drain.finish()
        if gone or ending:
            ctypes.CDLL(None).malloc_trim(0)

    def _send_away(self, streams: list[Stream]) -> None:
        """End streams that wait for audio: a server that stops would wait for theirs."""
        for stream in streams:
            stream.fail(stopping())

    def _forget_if_gone(self, key: int | str, stream: Stream, deadline_s: float) -> bool:
        """Abandon a stream whose client has gone, unless its chunks or another stream under its id came meanwhile."""
        was_over, deserted = stream.is_over, is_deserted(stream)  # asks Triton, so not under the lock
        with self.lock:
            if self.streams.get(key) is not stream or not (deserted or stream.is_idle_since(deadline_s)):
                return False
            del self.streams[key]
        stream.abandon()
        if was_over:
            self.places.give_back(key, LINGER_S)
        else:
            self.places.give_back(key, 0.0 if deserted else self.idle_timeout_s)
        return True


def stopping() -> StreamError:
    """For streams of a server that is about to stop."""
    return StreamError(ErrorCode.SERVER_STOPPING, "Server is stopping: begin the stream anew when it is back")


def is_deserted(stream: Stream) -> bool:
    """Whether nobody waits for its answers any more."""
    return not stream.reply.is_wanted


def states_identity(model_dir: Path) -> bool:
    """Whether the answers of the detector in this folder carry IDENTITY: Triton has no call that says so."""
    config = model_dir / "config.pbtxt"
    return config.is_file() and f'"{IDENTITY}"' in config.read_text()


def complain(future: Future[None]) -> None:
    """Say in the server's log what would otherwise die with its thread."""
    if not future.cancelled() and (error := future.exception()) is not None:
        pb_utils.Logger.log_error(f"live: {error!r}")
