"""Audio in while it plays, scores out: `LiveStream` for threads, `AsyncLiveStream` for asyncio, over the same engine.

    with detector.stream(sample_rate_hz=8000) as live:
        for chunk in microphone:
            live.send(chunk)
            for window in live:  # those that the audio so far completes
                print(window.end_s, window.score)
        live.end()
        for window in live:  # the last one
            print(window.end_s, window.score)
        print(live.result().score)

A connection or server that dies is replaced, and what was not answered is sent again: no window is lost, none comes
twice.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

import numpy.typing as npt

from dfclient.audio.channels import downmixed
from dfclient.audio.samples import frames_of
from dfclient.clips import Clip
from dfclient.errors import InputError
from dfclient.live.core import LiveCore
from dfclient.live.engine import Engine
from dfclient.live.wire import Wire
from dfclient.results import Score, WindowScore
from dfcontract.card import ModelCard
from dfcontract.tensors import Samples
from dfcontract.windows import Windowing


class _Stream:
    """What both kinds of stream do without waiting."""

    def __init__(self, core: LiveCore, wire: Wire) -> None:
        self._engine = Engine(core, wire)
        self._channels = 1

    @property
    def windows(self) -> tuple[WindowScore, ...]:
        """All windows scored so far, read or not: a copy, which takes the longer the more there are."""
        return tuple(self._engine.core.scored)

    @property
    def card(self) -> ModelCard:
        """Card of the model that scores."""
        return self._engine.core.card

    @property
    def windowing(self) -> Windowing:
        """How the audio is cut and its windows' scores pooled."""
        return self._engine.core.windowing

    @property
    def pooled(self) -> float | None:
        """One score from the windows so far; None before the first."""
        with self._engine.changed:
            return self._engine.core.pooled

    @property
    def duration_s(self) -> float:
        """Length of the audio sent so far."""
        return self._engine.core.duration_s

    @property
    def is_connected(self) -> bool:
        """False while a lost connection is being replaced."""
        return self._engine.core.connection is not None

    def result(self, utt_id: str = "live", path: str = "") -> Score:
        """The windows so far, pooled: what scoring the same audio offline in sliding mode answers.

        Raises:
            AudioError: no window has been scored yet.
        """
        with self._engine.changed:
            return self._engine.core.result(Clip(path, utt_id), self._channels)

    def _mono(self, chunk: npt.ArrayLike) -> Samples:
        frames = frames_of(chunk)
        self._channels = frames.shape[1]
        return downmixed(frames)

    def _feed(self, mono: Samples) -> None:
        with self._engine.changed:
            core = self._engine.core
            if core.failure is not None:
                raise core.failure
            if core.is_finished or self._engine.is_closed:
                raise InputError("the stream has ended: begin another one")
            core.feed(mono)
            self._engine.notify()

    def _finish(self) -> None:
        with self._engine.changed:
            self._engine.core.finish()
            self._engine.notify()

    def _take(self) -> WindowScore | None:
        with self._engine.changed:
            return self._engine.next_window()


class LiveStream(_Stream):
    """A stream of audio to a detector. One thread may send while another one reads."""

    def __enter__(self) -> Self:
        """Connect."""
        self._engine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def send(self, chunk: npt.ArrayLike) -> None:
        """More audio: (n,) or (n, channels), floats in [-1, 1] or signed integer PCM, of any length.

        Returns at once, unless two minutes of audio already wait for the server.

        Raises:
            InputError: a chunk that can't be used, or the stream has ended.
            AudioError: NaN or infinity.
            ServerError: the stream has failed.
        """
        mono = self._mono(chunk)
        with self._engine.changed:
            self._engine.wait(self._engine.may_send)
        self._feed(mono)

    def end(self) -> None:
        """No more audio: the last window, aligned to the end, is scored too. AudioError when there was no audio."""
        self._finish()

    def __iter__(self) -> Iterator[WindowScore]:
        """Windows that the audio so far completes, each once, waiting for their scores; after `end`, all that remain.

        Raises:
            ServerError: the stream has failed.
        """
        return self._read(follow=False)

    def follow(self) -> Iterator[WindowScore]:
        """Windows as they are scored, until the stream's end: for another thread than the one that sends."""
        return self._read(follow=True)

    def close(self) -> None:
        """End the connection, and every wait; what was not answered stays so."""
        self._engine.close()

    def _read(self, *, follow: bool) -> Iterator[WindowScore]:
        while True:
            with self._engine.changed:
                self._engine.wait(lambda: self._engine.may_read(follow=follow))
            if (window := self._take()) is None:
                return
            yield window


class AsyncLiveStream(_Stream):
    """The same in asyncio: `async with`, `await live.send(chunk)`, `await live.end()`, `async for window in live`."""

    async def __aenter__(self) -> Self:
        """Connect."""
        self._engine.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        await self.close()

    async def send(self, chunk: npt.ArrayLike) -> None:
        """See `LiveStream.send`."""
        mono = self._mono(chunk)
        await self._engine.wait_async(self._engine.may_send)
        self._feed(mono)

    async def end(self) -> None:
        """See `LiveStream.end`."""
        self._finish()

    def __aiter__(self) -> AsyncIterator[WindowScore]:
        """See `LiveStream.__iter__`."""
        return self._read(follow=False)

    def follow(self) -> AsyncIterator[WindowScore]:
        """See `LiveStream.follow`: for another task than the one that sends."""
        return self._read(follow=True)

    async def close(self) -> None:
        """See `LiveStream.close`."""
        await asyncio.to_thread(self._engine.close)

    async def _read(self, *, follow: bool) -> AsyncIterator[WindowScore]:
        while True:
            await self._engine.wait_async(lambda: self._engine.may_read(follow=follow))
            if (window := self._take()) is None:
                return
            yield window
