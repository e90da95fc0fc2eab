"""`Detector`: one model on one server, and the way from recordings to scores."""

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dfclient import audio
from dfclient.audio import EACH, MIX, AudioOptions
from dfclient.batch import ordered_map
from dfclient.calls import DEFAULT_TIMEOUT_S, DEFAULT_URL, TritonCalls, WindowAnswer, check_identity, check_score
from dfclient.clips import Clip, Recording, clip_of
from dfclient.connection import Connection
from dfclient.credentials import Credentials
from dfclient.errors import ContractError, DfclientError, InputError, RequestRefused
from dfclient.live.core import LiveCore
from dfclient.live.stream import AsyncLiveStream, LiveStream
from dfclient.live.wire import Wire
from dfclient.results import AudioFacts, Failed, Score, WindowScore, run_values
from dfclient.retry import RetryPolicy
from dfcontract.card import ModelCard
from dfcontract.errors import WindowError
from dfcontract.live import live_name
from dfcontract.score_file import channel_id
from dfcontract.tensors import Samples
from dfcontract.windows import PROTOCOL, SLIDING, Windowing

DEFAULT_CONCURRENCY = 8
MAX_CONCURRENCY = 512
ANSWER_ATTEMPTS = 3
DECODERS = 2  # threads: some 2,000 clips of 4 s a second
DECODED_AHEAD = DECODERS + 1  # recordings in memory besides those being scored, however long they are


# Number, recording, rate in Hz, choice of channels → waveforms: how one of many recordings is decoded.
Load = Callable[[int, Recording, int, AudioOptions], tuple[audio.Waveform, ...]]

log = logging.getLogger("dfclient")


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A clip, or one channel of it, on its way to the server: where its windows start, or why it has none."""

    clip: Clip
    waveform: audio.Waveform | None = None
    starts: tuple[int, ...] = ()
    error: DfclientError | None = None


class Detector(Connection):
    """A model on a Triton server.

        with Detector("host:8001", "aasist") as detector:
            print(detector.score("a.wav").score)

    Args:
        url: HOST:PORT of the server's gRPC endpoint, or several; see `connection.Connection`.
        model: its name there.
        version: the newest unless given; pinned, so that all scores of this object come from one.
        timeout_s: deadline of each request.
        retry: what is tried again, and for how long.
        credentials: TLS and keys, where the server or a proxy before it asks for them.
        transport: instead of gRPC to `url`; whoever gives it closes it.

    Raises:
        ServerUnavailable, ServerSlow: no server answers at `url`, however often it is tried.
        ModelNotFound: it does not serve `model` (or that `version`); the message lists what it serves.
        ContractError: the model is no detector.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        model: str = "aasist",
        *,
        version: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        credentials: Credentials | None = None,
        transport: TritonCalls | None = None,
    ) -> None:
        super().__init__(url, timeout_s=timeout_s, retry=retry, credentials=credentials, transport=transport)
        try:
            self.card = self._card_of(model, version)
        except BaseException:
            self.close()
            raise

    def windowing(self, mode: str = PROTOCOL, hop_s: float | None = None, pool: str | None = None) -> Windowing:
        """How recordings are cut and pooled, checked against the model's window.

        Args:
            mode: `protocol`, one window a recording (of a detector that scores whole clips: all of it), or `sliding`.
            hop_s: sliding mode: seconds from window to window; default: one window.
            pool: sliding mode: `mean` (the default), `min` or a percentile such as `p10`.

        Raises:
            InputError: one of them can't be used.
        """
        card = self.card
        try:
            return Windowing.checked(card.window_samples, card.sample_rate_hz, mode, hop_s, pool, clip=card.clip)
        except WindowError as error:
            raise InputError(str(error)) from None

    def infer(
        self, waveforms: npt.NDArray[np.float32], *, concurrency: int = DEFAULT_CONCURRENCY
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Logits (n, 2) and scores (n,) of ready-made windows (n, window_samples) at the card's rate.

        A detector that scores whole clips takes any number of samples that its card's `clip` allows. Each window is a
        request of its own, at most `concurrency` in flight: the server forms the batches.

        Raises:
            InputError: another shape.
            RequestRefused: the server refused a window (NaN, infinity).
        """
        array = np.asarray(waveforms, dtype=np.float32)
        least, most = self.card.clip or (self.card.window_samples, self.card.window_samples)
        if array.ndim != 2 or not least <= array.shape[1] <= most:
            samples = str(most) if least == most else f"{least} to {most}"
            raise InputError(f"expected windows of shape (n, {samples}), found {array.shape}")
        pool = ThreadPoolExecutor(checked_concurrency(concurrency), "dfclient-infer")
        try:
            answers = list(ordered_map(pool, self._infer_one, array, 2 * concurrency))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        logits = np.array([answer.logits for answer in answers], np.float32).reshape(-1, 2)
        return logits, np.array([answer.score for answer in answers], np.float32)

    def score(
        self,
        recording: str | Path | Clip | bytes | BinaryIO | npt.ArrayLike | tuple[npt.ArrayLike, int],
        sample_rate_hz: int | None = None,
        *,
        mode: str = PROTOCOL,
        hop_s: float | None = None,
        pool: str | None = None,
        channels: str | int = MIX,
        track: str | int | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Score:
        """Score one recording.

        Args:
            recording: a path, a file's content, a file opened for reading bytes, or an array (samples,) or
                (samples, channels) with its `sample_rate_hz`, also as one tuple.
            sample_rate_hz: of an array.
            mode: see `windowing`.
            hop_s: see `windowing`.
            pool: see `windowing`.
            channels: `mix`, or the number of one channel, from 1 on; `each` is for `score_many`.
            track: of several audio tracks, the number of one, from 1 on, or its language (`deu`); the file's default
                track unless given.
            concurrency: windows in flight.

        Raises:
            AudioError: the recording can't be decoded or holds NaN or infinity.
            InputError: an option or array that can't be used.
            ServerError: the server is away, busy, slow or refused the request.
        """
        if channels == EACH:
            raise InputError(f"channels {EACH!r} gives a score for each channel: use score_many([recording], ...)")
        one: Recording = _as_recording(recording, sample_rate_hz)
        windowing, options = self.windowing(mode, hop_s, pool), AudioOptions(channels, track)
        result = next(iter(self.score_windowed([one], windowing, options, concurrency=concurrency)))
        if isinstance(result, Failed):
            raise result.error
        return result

    def score_many(
        self,
        recordings: Iterable[Recording],
        *,
        mode: str = PROTOCOL,
        hop_s: float | None = None,
        pool: str | None = None,
        channels: str | int = MIX,
        track: str | int | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Iterator[Score | Failed]:
        """Score recordings, in their order; they are taken lazily. A `Score` or a `Failed` for each.

        With channels `each` there is one for each channel of a recording: its `utt_id` ends in `#1`, `#2` …
        Else `channels` and `track` are as in `score`.

        Decoding runs ahead of inference in threads of its own; at most `concurrency` windows are in flight, be they of
        many short clips or of one long one.

        Raises:
            InputError: an option that can't be used (at the call, not at the first result).
            ServerUnavailable, ServerBusy, ServerSlow: while iterating, once every attempt has failed.
            ModelChanged: while iterating, when another model than the card's answers.
        """
        windowing, options = self.windowing(mode, hop_s, pool), AudioOptions(channels, track)
        return self.score_windowed(recordings, windowing, options, concurrency=concurrency)

    def score_windowed(
        self,
        recordings: Iterable[Recording],
        windowing: Windowing,
        options: AudioOptions = audio.MIXED,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        load: Load | None = None,
        room: AbstractContextManager[Any] | None = None,
    ) -> Generator[Score | Failed, None, None]:
        """`score_many` with a `windowing` and choice of channels that have been checked already.

        `load` decodes in place of `load_recording`, in several threads at once. Each request is made within `room`: a
        semaphore that several detectors share bounds the requests of all of them together.
        """
        senders, load, room = checked_concurrency(concurrency), load or load_recording, room or nullcontext()
        return self._scored(recordings, windowing, options, senders, load=load, room=room)

    def run_values(self, windowing: Windowing, options: AudioOptions) -> dict[str, Any]:
        """The values of a score file's columns that are the same in every row of a run."""
        return run_values(self.card, windowing, options)

    def stream(
        self, sample_rate_hz: int | None = None, *, hop_s: float | None = None, pool: str | None = None
    ) -> LiveStream:
        """Score audio while it plays; see `LiveStream`. A stream begins when it is entered.

            with detector.stream(sample_rate_hz=8000) as live:
                live.send(chunk)
                for window in live:
                    print(window.end_s, window.score)

        Args:
            sample_rate_hz: of the chunks, the model's unless given.
            hop_s: as in sliding mode.
            pool: as in sliding mode.

        Raises:
            InputError: an option that can't be used.
        """
        return LiveStream(self._live_core(sample_rate_hz, hop_s, pool), Wire(self._calls, self.card))

    def stream_async(
        self, sample_rate_hz: int | None = None, *, hop_s: float | None = None, pool: str | None = None
    ) -> AsyncLiveStream:
        """`stream` for asyncio; see `AsyncLiveStream`."""
        return AsyncLiveStream(self._live_core(sample_rate_hz, hop_s, pool), Wire(self._calls, self.card))

    def _live_core(self, sample_rate_hz: int | None, hop_s: float | None, pool: str | None) -> LiveCore:
        windowing = self.windowing(SLIDING, hop_s, pool)
        rate_hz = audio.checked_rate_hz(self.card.sample_rate_hz if sample_rate_hz is None else sample_rate_hz)
        return LiveCore(self.card, windowing, rate_hz, self._calls.calls.timeout_s, self._calls.policy)

    def _scored(
        self,
        recordings: Iterable[Recording],
        windowing: Windowing,
        options: AudioOptions,
        concurrency: int,
        *,
        load: Load,
        room: AbstractContextManager[Any],
    ) -> Generator[Score | Failed, None, None]:
        decoders = ThreadPoolExecutor(DECODERS, "dfclient-decode")
        senders = ThreadPoolExecutor(concurrency, "dfclient-infer")
        try:
            decode = partial(self._decode, windowing, options, load)
            decoded = ordered_map(decoders, decode, enumerate(recordings), DECODED_AHEAD)
            jobs = ((clip, start) for clips in decoded for clip in clips for start in clip.starts or (0,))
            answered = ordered_map(senders, partial(self._infer_window, windowing, room), jobs, 2 * concurrency)
            for clip, first in answered:
                others = itertools.islice(answered, max(len(clip.starts) - 1, 0))
                yield self._assembled(clip, [first, *(answer for _, answer in others)], windowing, options)
        finally:
            decoders.shutdown(wait=False, cancel_futures=True)
            senders.shutdown(wait=False, cancel_futures=True)

    def _decode(
        self, windowing: Windowing, options: AudioOptions, load: Load, numbered: tuple[int, Recording]
    ) -> tuple[_Decoded, ...]:
        number, recording = numbered
        clip = clip_of(recording, number)
        try:
            waveforms = load(number, recording, self.card.sample_rate_hz, options)
        except InputError as error:
            return (_Decoded(clip, error=error),)
        return tuple(
            _Decoded(_named(clip, waveform.channel), waveform, tuple(windowing.starts(len(waveform.samples))))
            for waveform in waveforms
        )

    def _card_of(self, model: str, version: str) -> ModelCard:
        try:
            return self._calls.model_info(model, version).card()
        except ContractError:
            detector = model.removesuffix(live_name(""))
            if detector == model:
                raise
            raise ContractError(
                f"model {model!r} is what {detector!r} listens to streams with, and no detector itself: name "
                f"{detector!r}, for dfclient score and dfclient stream alike"
            ) from None

    def _infer_one(self, window: Samples) -> WindowAnswer:
        """One window's answer. A damaged one (seen once, on a busy server) is asked for again: it is none of a model's.

        Raises:
            ContractError: it came damaged again and again.
        """
        attempt = 1
        while True:
            try:
                answer = self._calls.infer(self.card.model, self.card.version, window)
                check_identity(self.card, answer.identity)
                check_score(self.card, answer.logits, answer.score)
            except ContractError as error:
                if attempt == ANSWER_ATTEMPTS:
                    raise
                log.warning("%s; asking again", error)
                attempt += 1
            else:
                return answer

    def _infer_window(
        self, windowing: Windowing, room: AbstractContextManager[Any], job: tuple[_Decoded, int]
    ) -> tuple[_Decoded, WindowAnswer | RequestRefused | None]:
        """One window's answer; a refusal is the clip's own affair, any other error ends the run."""
        clip, start = job
        if clip.waveform is None:
            return clip, None
        try:
            window = windowing.cut(clip.waveform.samples, start, self.card.pre_emphasis)
            with room:
                return clip, self._infer_one(window)
        except RequestRefused as error:
            return clip, error

    def _assembled(
        self,
        decoded: _Decoded,
        answers: list[WindowAnswer | RequestRefused | None],
        windowing: Windowing,
        options: AudioOptions,
    ) -> Score | Failed:
        clip, waveform, card = decoded.clip, decoded.waveform, self.card
        error = decoded.error or next((answer for answer in answers if isinstance(answer, RequestRefused)), None)
        if error is not None or waveform is None:
            return Failed(clip.utt_id, clip.path, error or InputError("it was not decoded"))
        windows = [
            WindowScore(
                start_s=start / card.sample_rate_hz,
                end_s=min(start + windowing.window_samples, len(waveform.samples)) / card.sample_rate_hz,
                score=answer.score,
                logits=(float(answer.logits[0]), float(answer.logits[1])),
            )
            for start, answer in zip(decoded.starts, answers, strict=True)
            if isinstance(answer, WindowAnswer)
        ]
        # What a short clip is repeated to holds no samples that it lacks itself.
        scored = [waveform.samples[start : start + windowing.window_samples] for start in decoded.starts]
        warnings = (*windowing.notes(len(waveform.samples)), *audio.warnings_of(waveform, scored))
        facts = AudioFacts(
            waveform.duration_s, waveform.source_rate_hz, waveform.source_channels, warnings, waveform.channel, options
        )
        return Score.of(clip, card, windowing=windowing, windows=windows, facts=facts)


def load_recording(
    _number: int, recording: Recording, rate_hz: int, options: AudioOptions
) -> tuple[audio.Waveform, ...]:
    """The waveforms of one of many recordings, the `_number`-th: one for each channel that is scored by itself.

    Raises:
        InputError: it can't be decoded, or is no recording.
    """
    if isinstance(recording, tuple):
        return audio.channels_from_array(*recording, rate_hz, options)
    return audio.load_channels(recording.path if isinstance(recording, Clip) else recording, rate_hz, options)


def _named(clip: Clip, channel: int | None) -> Clip:
    return clip if channel is None else Clip(clip.path, channel_id(clip.utt_id, channel))


def checked_concurrency(concurrency: int) -> int:
    """The number itself; InputError when it is out of range."""
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InputError(f"expected a concurrency of 1 to {MAX_CONCURRENCY}, found {concurrency}")
    return concurrency


def _as_recording(
    recording: str | Path | Clip | bytes | BinaryIO | npt.ArrayLike | tuple[npt.ArrayLike, int],
    sample_rate_hz: int | None,
) -> Recording:
    if sample_rate_hz is not None:
        return recording, sample_rate_hz  # type: ignore[return-value]  # an array, or refused as none
    if isinstance(recording, str | Path | Clip | bytes) or hasattr(recording, "read"):
        return recording  # type: ignore[return-value]
    if isinstance(recording, tuple) and len(recording) == 2 and isinstance(recording[1], int | np.integer):
        return recording
    raise InputError("expected the array's sample_rate_hz as second argument, found none")
