"""Keeps a live stream connected: threads that send, receive, and begin anew what was lost. `live.py` has its faces."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from dfclient.errors import ServerError
from dfclient.live_core import Connection, LiveCore, Message
from dfclient.live_wire import Wire
from dfclient.results import WindowScore

WATCH_S = 0.5  # how often an overdue answer is looked for

Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Engine:
    """A core and its connection. Everything of the core is touched with `changed` held, and changes are notified."""

    def __init__(self, core: LiveCore, wire: Wire) -> None:
        self.core, self.wire = core, wire
        self.changed = threading.Condition()
        self.is_closed = False
        self._waiters: list[Waiter] = []  # of asyncio, which must not block on `changed`
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="dfclient-live", daemon=True)

    def start(self) -> None:
        """Connect, in the background."""
        self._thread.start()

    def close(self) -> None:
        """End the connection, and every wait; what was not answered stays so."""
        with self.changed:
            self.is_closed = True
            if self._call is not None:
                self._call.cancel()
            self.notify()
        if self._thread.is_alive():
            self._thread.join()

    def notify(self) -> None:
        """Wake whoever waits, in threads and in asyncio; `changed` is held."""
        self.changed.notify_all()
        for loop, waiter in self._waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)
        self._waiters.clear()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds; `changed` is held before, after and while it is looked at."""
        self.changed.wait_for(condition)

    async def wait_async(self, condition: Callable[[], bool]) -> None:
        """The same for asyncio, and without `changed` held, before or after."""
        while True:
            with self.changed:
                if condition():
                    return
                loop = asyncio.get_running_loop()
                waiter = loop.create_future()
                self._waiters.append((loop, waiter))
            await waiter

    def may_send(self) -> bool:
        """Whether a sender need wait no longer: there is room, or no use in waiting."""
        return self.core.has_room or self.core.is_done or self.is_closed

    def may_read(self, *, follow: bool) -> bool:
        """Whether a reader need wait no longer: a window is ready, or none will come (until more audio is sent)."""
        core = self.core
        return bool(core.ready) or core.is_done or self.is_closed or (not follow and core.is_caught_up)

    def next_window(self) -> WindowScore | None:
        """A window that is ready, or None; raises what ended the stream once all that came before it has been read."""
        if self.core.ready:
            return self.core.ready.popleft()
        if self.core.failure is not None:
            raise self.core.failure
        return None

    def _run(self) -> None:
        channel = self.wire.channel()
        try:
            while not (self.core.is_done or self.is_closed):
                with self.changed:
                    connection = self.core.connect(time.monotonic())
                    self._call = self.wire.open(channel, self._messages(connection))
                error = self._receive(self._call)
                with self.changed:
                    if not (self.core.is_done or self.is_closed):
                        delay_s = self.core.lost(error, time.monotonic())
                        self.notify()
                        self.changed.wait_for(lambda: self.is_closed or self.core.is_done, delay_s)
        except Exception as error:  # a defect of ours: nobody must wait for ever
            with self.changed:
                self.core.failure = error
                self.notify()
        finally:
            channel.close()

    def _receive(self, call: Any) -> ServerError:
        """Take answers until the call ends; why it did."""
        try:
            for response in call:
                answer = self.wire.answer(response)
                with self.changed:
                    self.core.take(answer, time.monotonic())
                    self.notify()
        except grpc.RpcError as error:
            return self.wire.error(error)
        except ServerError as error:
            return error
        finally:
            call.cancel()
        return self.wire.ended_early()

    def _messages(self, connection: Connection) -> Iterator[Message]:
        """What a thread of gRPC's sends, as it comes; cancels the call when the server owes an answer for too long."""
        while (message := self._next_message(connection)) is not None:
            yield message

    def _next_message(self, connection: Connection) -> Message | None:
        core = self.core
        with self.changed:
            while (message := core.next_message(connection, time.monotonic())) is None:
                if connection is not core.connection or core.is_done or self.is_closed:
                    return None
                self.changed.wait(WATCH_S)
                if connection is core.connection and core.is_overdue(time.monotonic()):
                    self._call.cancel()
                    return None
        return message


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
