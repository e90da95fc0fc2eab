"""Keeps a live stream connected: threads that send, receive, and begin anew what was lost."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

from dfclient.calls import Outputs, StreamCall
from dfclient.errors import ServerError, ServerUnavailable
from dfclient.live.core import Connection, LiveCore, Message
from dfclient.live.wire import Wire
from dfclient.results import WindowScore
from dfclient.retry import shortened

# A stream that is given up is ended on the wire, and the call left to the server to end: cancelling one that still
# works for it can end a server of release 24.10. Only a server that does not end it in this time is cut off.
FAREWELL_S = 5.0
WATCH_S = 0.5  # how often an overdue answer is looked for
# A signal that comes just before a wait for a lock is handled after it, which may be never: waits end now and then.
SIGNAL_CHECK_S = 0.25

Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Engine:
    """A core and its connection. Everything of the core is touched with `changed` held, and changes are notified."""

    def __init__(self, core: LiveCore, wire: Wire) -> None:
        self.core, self.wire = core, wire
        self.changed = threading.Condition()
        self.is_closed = False
        self._waiters: list[Waiter] = []  # of asyncio, which must not block on `changed`
        self._call: StreamCall | None = None
        self._thread = threading.Thread(target=self._run, name="dfclient-live", daemon=True)

    def start(self) -> None:
        """Connect, in the background."""
        self._thread.start()

    def close(self) -> None:
        """End the stream, and every wait; what was not answered stays so."""
        with self.changed:
            self.is_closed = True
            self.notify()
        if self._thread.is_alive():
            self._thread.join(FAREWELL_S)
            if self._thread.is_alive() and self._call is not None:
                self._call.cancel()
                self._thread.join(FAREWELL_S)  # a daemon: one that hangs all the same keeps no program from ending

    def notify(self) -> None:
        """Wake whoever waits, in threads and in asyncio; `changed` is held."""
        self.changed.notify_all()
        for loop, waiter in self._waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)
        self._waiters.clear()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds; `changed` is held before, after and while it is looked at."""
        while not self.changed.wait_for(condition, SIGNAL_CHECK_S):
            continue

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
        try:
            while not (self.core.is_done or self.is_closed):
                error = self.wire.confirmed(self._connected())
                with self.changed:
                    if not (self.core.is_done or self.is_closed):
                        pause_s = shortened(self.core.lost(error, time.monotonic()))
                        self.notify()
                        self.changed.wait_for(lambda: self.is_closed or self.core.is_done, pause_s)
        except Exception as error:  # a defect of ours: nobody must wait for ever
            with self.changed:
                self.core.failure = error
                self.notify()

    def _connected(self) -> ServerError:
        """One connection, from its start to its end; why it ended."""
        with self.changed:
            connection = self.core.connect(time.monotonic())
            try:
                call = self._call = self.wire.open(self._messages(connection))
            except ServerError as error:
                return error
        failure: ServerError | None = None
        too_late = threading.Timer(FAREWELL_S, call.cancel)
        too_late.daemon = True
        for answer in call:
            if failure is None and not self.is_closed:
                failure = self._take(connection, answer)
                if failure is not None:  # the stream has failed, not the call: time for a farewell
                    too_late.start()
        too_late.cancel()
        return failure or ServerUnavailable(f"{self.wire.url}: the server ended the stream early")

    def _take(self, connection: Connection, answer: Outputs | ServerError) -> ServerError | None:
        with self.changed:
            try:
                if isinstance(answer, ServerError):
                    raise answer
                self.core.take(self.wire.answer(answer), time.monotonic())
            except ServerError as error:
                connection.is_given_up = True
                return error
            finally:
                self.notify()
        return None

    def _messages(self, connection: Connection) -> Iterator[Message]:
        """What a thread of gRPC's sends, as it comes; cancels the call when the server owes an answer for too long."""
        while (message := self._next_message(connection)) is not None:
            yield message

    def _next_message(self, connection: Connection) -> Message | None:
        core = self.core
        with self.changed:
            while True:
                if self.is_closed or connection.is_given_up:
                    return core.farewell(connection)
                if (message := core.next_message(connection, time.monotonic())) is not None:
                    return message
                if connection is not core.connection or core.is_done:
                    return None
                self.changed.wait(WATCH_S)
                if connection is core.connection and core.is_overdue(time.monotonic()) and self._call is not None:
                    self._call.cancel()
                    return None


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
