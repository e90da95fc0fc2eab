"""`Detector`: one model on one server, and the way from recordings to scores."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from dfclient import audio, windows
from dfclient.card import ModelCard, without_live_siblings
from dfclient.errors import DfclientError, InputError, ModelNotFound, RequestRefused, ServerError
from dfclient.inputs import Clip
from dfclient.live import AsyncLiveStream, LiveStream
from dfclient.live_core import LiveCore
from dfclient.live_wire import Wire
from dfclient.pipeline import ordered_map
from dfclient.results import Failed, Score, WindowScore
from dfclient.transport import Transport
from dfclient.windowing import Windowing

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_CONCURRENCY = 8
MAX_CONCURRENCY = 512
DECODERS = 2  # threads: some 2,000 clips of 4 s a second
DECODED_AHEAD = DECODERS + 1  # recordings in memory besides those being scored, however long they are

Source = str | Path | Clip | tuple[npt.ArrayLike, int]  # a path, a named path, or (waveform, sample_rate_hz)
Answer = tuple[npt.NDArray[np.float32], float]  # logits (2,), score


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A clip on its way to the server: a waveform and where its windows start, or why there is none."""

    utt_id: str
    path: str
    waveform: audio.Waveform | None = None
    starts: tuple[int, ...] = ()
    error: DfclientError | None = None


class Detector:
    """A model on a Triton server.

        with Detector("host:8001", "aasist") as detector:
            print(detector.score("a.wav").score)

    Raises on construction:
        ServerUnavailable, ServerSlow: no server answers at `url`.
        ModelNotFound: it does not serve `model` (or that `version`); the message lists what it serves.
        ContractError: the model is no detector.
    """

    def __init__(
        self, url: str = DEFAULT_URL, model: str = "aasist", *, version: str = "", timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """`version`: the newest unless given; pinned, so that all scores of this object come from one.

        `timeout_s`: the deadline of each request.
        """
        self._transport = Transport(url, timeout_s=timeout_s)
        try:
            self.card = self._read_card(model, version)
        except DfclientError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Itself: `close` comes at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Cancel what is in flight and close the connection."""
        self._transport.close()

    def infer(
        self, waveforms: npt.NDArray[np.float32], *, concurrency: int = DEFAULT_CONCURRENCY
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Logits (n, 2) and scores (n,) of ready-made windows (n, window_samples) at the card's rate.

        Each window is a request of its own, at most `concurrency` in flight: the server forms the batches.

        Raises:
            InputError: another shape.
            RequestRefused: the server refused a window (NaN, infinity).
        """
        array = np.asarray(waveforms, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != self.card.window_samples:
            raise InputError(f"expected windows of shape (n, {self.card.window_samples}), found {array.shape}")
        pool = ThreadPoolExecutor(_checked_concurrency(concurrency), "dfclient-infer")
        try:
            answers = list(ordered_map(pool, self._infer_one, array, 2 * concurrency))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        logits = np.array([logits for logits, _ in answers], np.float32).reshape(-1, 2)
        return logits, np.array([score for _, score in answers], np.float32)

    def score(
        self,
        clip: str | Path | Clip | npt.ArrayLike,
        sample_rate_hz: int | None = None,
        *,
        mode: str = "protocol",
        hop_s: float | None = None,
        pool: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Score:
        """Score one recording: a path, or an array (samples,) or (samples, channels) with its `sample_rate_hz`.

        Raises:
            AudioError: the recording can't be decoded or holds NaN or infinity.
            InputError: an option or array that can't be used.
            ServerError: the server is away, busy, slow or refused the request.
        """
        if isinstance(clip, str | Path | Clip):
            source: Source = clip
        elif sample_rate_hz is None:
            raise InputError("expected the array's sample_rate_hz as second argument, found none")
        else:
            source = (clip, sample_rate_hz)
        result = next(iter(self.score_many([source], mode=mode, hop_s=hop_s, pool=pool, concurrency=concurrency)))
        if isinstance(result, Failed):
            raise result.error
        return result

    def score_many(
        self,
        clips: Iterable[Source],
        *,
        mode: str = "protocol",
        hop_s: float | None = None,
        pool: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> Iterator[Score | Failed]:
        """Score recordings, in the order of `clips`, which is read lazily: a `Score` or a `Failed` for each.

        Decoding runs ahead of inference in threads of its own; at most `concurrency` windows are in flight, be they of
        many short clips or of one long one.

        Raises:
            InputError: an option that can't be used (at the call, not at the first result).
            ServerUnavailable, ServerBusy, ServerSlow: while iterating, once every attempt has failed.
        """
        windowing = Windowing.checked(self.card, mode, hop_s, pool)
        return self._scored(clips, windowing, _checked_concurrency(concurrency))

    def stream(
        self, sample_rate_hz: int | None = None, *, hop_s: float | None = None, pool: str | None = None
    ) -> LiveStream:
        """Score audio while it plays; see `LiveStream`. A stream begins when it is entered.

            with detector.stream(sample_rate_hz=8000) as live:
                live.send(chunk)
                for window in live:
                    print(window.end_s, window.score)

        `sample_rate_hz`: of the chunks, the model's unless given; `hop_s` and `pool`: as in sliding mode.

        Raises:
            InputError: an option that can't be used.
        """
        return LiveStream(self._live_core(sample_rate_hz, hop_s, pool), Wire(self._transport, self.card.model))

    def stream_async(
        self, sample_rate_hz: int | None = None, *, hop_s: float | None = None, pool: str | None = None
    ) -> AsyncLiveStream:
        """`stream` for asyncio; see `AsyncLiveStream`."""
        return AsyncLiveStream(self._live_core(sample_rate_hz, hop_s, pool), Wire(self._transport, self.card.model))

    def _live_core(self, sample_rate_hz: int | None, hop_s: float | None, pool: str | None) -> LiveCore:
        windowing = Windowing.checked(self.card, "sliding", hop_s, pool)
        rate_hz = audio.checked_rate_hz(self.card.sample_rate_hz if sample_rate_hz is None else sample_rate_hz)
        return LiveCore(self.card, windowing.hop_samples, windowing.pool, rate_hz, self._transport.timeout_s)

    def _scored(self, clips: Iterable[Source], windowing: Windowing, concurrency: int) -> Iterator[Score | Failed]:
        decoders = ThreadPoolExecutor(DECODERS, "dfclient-decode")
        senders = ThreadPoolExecutor(concurrency, "dfclient-infer")
        try:
            decoded = ordered_map(decoders, partial(self._decode, windowing), enumerate(clips), DECODED_AHEAD)
            jobs = ((clip, start) for clip in decoded for start in clip.starts or (0,))
            answered = ordered_map(senders, self._infer_window, jobs, 2 * concurrency)
            for clip, first in answered:
                others = itertools.islice(answered, max(len(clip.starts) - 1, 0))
                yield self._assemble(clip, [first, *(answer for _, answer in others)], windowing)
        finally:
            decoders.shutdown(wait=False, cancel_futures=True)
            senders.shutdown(wait=False, cancel_futures=True)

    def _decode(self, windowing: Windowing, numbered: tuple[int, Source]) -> _Decoded:
        number, source = numbered
        rate_hz, window_samples = self.card.sample_rate_hz, self.card.window_samples
        if isinstance(source, tuple):
            clip, load = Clip("", f"array_{number}"), partial(audio.from_array, *source)
        else:
            clip = source if isinstance(source, Clip) else Clip(str(source), Path(source).stem)
            load = partial(audio.load, clip.path)
        try:
            waveform = load(rate_hz)
        except InputError as error:
            return _Decoded(clip.utt_id, clip.path, error=error)
        starts = windows.window_starts(windowing.mode, len(waveform.samples), window_samples, windowing.hop_samples)
        return _Decoded(clip.utt_id, clip.path, waveform, tuple(starts))

    def _infer_one(self, window: npt.NDArray[np.float32]) -> Answer:
        return self._transport.infer(self.card.model, self.card.version, window)

    def _infer_window(self, job: tuple[_Decoded, int]) -> tuple[_Decoded, Answer | RequestRefused | None]:
        """One window's answer; a refusal is the clip's own affair, any other error ends the run."""
        clip, start = job
        if clip.waveform is None:
            return clip, None
        try:
            return clip, self._infer_one(windows.cut(clip.waveform.samples, start, self.card.window_samples))
        except RequestRefused as error:
            return clip, error

    def _assemble(
        self, clip: _Decoded, answers: list[Answer | RequestRefused | None], windowing: Windowing
    ) -> Score | Failed:
        error = clip.error or next((answer for answer in answers if isinstance(answer, RequestRefused)), None)
        if error is not None or clip.waveform is None:
            return Failed(clip.utt_id, clip.path, error or InputError("it was not decoded"))
        card, samples = self.card, clip.waveform.samples
        scored = tuple(
            WindowScore(
                start_s=start / card.sample_rate_hz,
                end_s=min(start + card.window_samples, len(samples)) / card.sample_rate_hz,
                score=answer[1],
                logits=(float(answer[0][0]), float(answer[0][1])),
            )
            for start, answer in zip(clip.starts, answers, strict=True)
            if isinstance(answer, tuple)
        )
        pool, hop_s = windowing.reported(card.sample_rate_hz)
        return Score(
            utt_id=clip.utt_id,
            path=clip.path,
            score=windows.pool_scores([window.score for window in scored], windowing.pool),
            windows=scored,
            mode=windowing.mode,
            pool=pool,
            hop_s=hop_s,
            duration_s=clip.waveform.duration_s,
            sample_rate_hz=clip.waveform.source_rate_hz,
            channels=clip.waveform.source_channels,
            warnings=audio.warnings_of(
                clip.waveform, [windows.cut(samples, start, card.window_samples) for start in clip.starts]
            ),
            card=card,
        )

    def _read_card(self, model: str, version: str) -> ModelCard:
        try:
            info = self._transport.model_info(model, version)
        except ModelNotFound as error:
            raise ModelNotFound(f"{error}; it serves: {self._served()}") from None
        return ModelCard.from_parameters(model, info.version, info.parameters)

    def _served(self) -> str:
        try:
            states = self._transport.model_states()
        except ServerError:  # a server may keep its index to administrators
            return "(it keeps its list of models to itself)"
        return ", ".join(without_live_siblings(state.name for state in states if state.state == "READY")) or "no model"


def _checked_concurrency(concurrency: int) -> int:
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InputError(f"expected a concurrency of 1 to {MAX_CONCURRENCY}, found {concurrency}")
    return concurrency
