"""Several servers that serve the same models, as one: each call goes to one that is well, in turn.

    Server("a:8001,b:8001")          the servers by name
    Server("dns:///triton:8001")     all addresses that a name stands for, looked up again when one fails

A server that is away, stops or has no room is passed over for a while, and the call goes to the next one at once. A
live stream stays with the server that it began at; when that one ends it, the next connection goes to another. What no
server takes is tried again by `retry.py`, as with one server.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from dfclient.calls import ModelInfo, ModelState, Outputs, StreamCall, StreamRequest, TritonCalls, WindowAnswer
from dfclient.errors import (
    InputError,
    ModelNotFound,
    ServerBusy,
    ServerError,
    ServerSlow,
    ServerUnavailable,
)
from dfcontract.tensors import Samples

DNS = "dns:///"
FIRST_REST_S, LONGEST_REST_S = 0.5, 5.0
LOOKUP_EVERY_S = 1.0  # at most, and only while a server fails

Answer = TypeVar("Answer")
# Those of one server: another may do better.
PASSED_ON = (ServerUnavailable, ServerBusy, ModelNotFound)


@dataclass(eq=False)
class _Replica:
    """One of the servers.

    Attributes:
        calls: to it.
        failures: in a row.
        rests_until_s: on the monotonic clock, before which others are asked first.
    """

    calls: TritonCalls
    failures: int = 0
    rests_until_s: float = 0.0


class Replicas:
    """Calls to several servers; keeps the protocol `calls.TritonCalls`. Safe to use from many threads.

    Args:
        url: what the user gave, for messages.
        addresses: HOST:PORT of each server, now; asked again when a server fails.
        open_one: a connection to an address.
    """

    def __init__(self, url: str, addresses: Callable[[], list[str]], open_one: Callable[[str], TritonCalls]) -> None:
        self.url = url
        self._addresses, self._open_one = addresses, open_one
        self._lock = threading.Lock()
        self._replicas: dict[str, _Replica] = {}
        self._turn = 0
        self._looked_up_s = 0.0
        self._is_closed = False
        self._look_up()
        self.timeout_s = next(iter(self._replicas.values())).calls.timeout_s

    def is_live(self) -> bool:
        """Whether one of the servers' processes answers."""
        return self._in_turn(lambda calls: calls.is_live())

    def is_ready(self) -> bool:
        """Whether the server whose turn it is says that all its models are ready."""
        return self._in_turn(lambda calls: calls.is_ready())

    def is_model_ready(self, model: str, version: str = "") -> bool:
        """Whether one model is ready at the server whose turn it is."""
        return self._in_turn(lambda calls: calls.is_model_ready(model, version))

    def model_states(self) -> list[ModelState]:
        """The repository index of the server whose turn it is."""
        return self._in_turn(lambda calls: calls.model_states())

    def model_info(self, model: str, version: str = "") -> ModelInfo:
        """A model's configuration."""
        return self._in_turn(lambda calls: calls.model_info(model, version))

    def infer(self, model: str, version: str, window: Samples) -> WindowAnswer:
        """Answer to one window (window_samples,)."""
        return self._in_turn(lambda calls: calls.infer(model, version, window))

    def stream(self, model: str, requests: Iterator[StreamRequest]) -> StreamCall:
        """Begin a call of a live model at one server, where it stays."""
        replica = self._next(frozenset())
        return _WatchedStream(replica.calls.stream(model, requests), lambda: self._rest(replica))

    def close(self) -> None:
        """Take no more calls, let those in flight end, close all connections."""
        with self._lock:
            self._is_closed = True
            replicas = [*self._replicas.values()]
        for replica in replicas:
            replica.calls.close()

    def _in_turn(self, call: Callable[[TritonCalls], Answer]) -> Answer:
        """The answer of the first server that gives one; the last one's error where none does."""
        tried: set[int] = set()
        while True:
            replica = self._next(tried)
            tried.add(id(replica))
            try:
                answer = call(replica.calls)
            except ServerError as error:
                is_gone = self._is_gone(replica)  # its connection was closed under the call
                # A slow answer has taken its whole time: whether to spend that again is for the retry policy.
                if isinstance(error, (*PASSED_ON, ServerSlow)):
                    self._rest(replica)
                if not (isinstance(error, PASSED_ON) or is_gone) or not self._has_another(tried):
                    raise
            else:
                replica.failures = 0
                return answer

    def _next(self, tried: set[int] | frozenset[int]) -> _Replica:
        """The next server in turn that was not tried and does not rest, else the one whose rest ends first."""
        with self._lock:
            if self._is_closed:
                raise ServerError("the connection was closed")
            replicas = [*self._replicas.values()]
            self._turn += 1
            in_turn = [replicas[(self._turn + place) % len(replicas)] for place in range(len(replicas))]
        left = [replica for replica in in_turn if id(replica) not in tried] or in_turn
        now_s = time.monotonic()
        awake = [replica for replica in left if replica.rests_until_s <= now_s]
        return awake[0] if awake else min(left, key=lambda replica: replica.rests_until_s)

    def _has_another(self, tried: set[int]) -> bool:
        with self._lock:
            return not self._is_closed and any(id(replica) not in tried for replica in self._replicas.values())

    def _is_gone(self, replica: _Replica) -> bool:
        with self._lock:
            return not self._is_closed and replica not in self._replicas.values()

    def _rest(self, replica: _Replica) -> None:
        """Ask others first for a while, the longer the more often it failed; and look its name up again."""
        replica.failures += 1
        rest_s = min(FIRST_REST_S * 2.0 ** min(replica.failures - 1, 10), LONGEST_REST_S)
        replica.rests_until_s = time.monotonic() + rest_s
        self._look_up()

    def _look_up(self) -> None:
        """Open connections to addresses that are new, close those to addresses that are gone."""
        with self._lock:
            now_s = time.monotonic()
            if self._is_closed or (self._replicas and now_s - self._looked_up_s < LOOKUP_EVERY_S):
                return
            self._looked_up_s = now_s
            known = set(self._replicas)
        try:
            found = self._addresses()
        except ServerUnavailable:
            if not known:
                raise
            return  # the addresses of before may still do
        with self._lock:
            gone = [self._replicas.pop(address) for address in known.difference(found) if address in self._replicas]
            for address in found:
                if address not in self._replicas:
                    self._replicas[address] = _Replica(self._open_one(address))
        for replica in gone:  # to close takes as long as its calls in flight
            threading.Thread(target=replica.calls.close, daemon=True).start()


class _WatchedStream:
    """A stream's call; its server rests when it ends the stream by an error that another server may not give."""

    def __init__(self, call: StreamCall, rest: Callable[[], None]) -> None:
        self._call, self._rest = call, rest

    def __iter__(self) -> Iterator[Outputs | ServerError]:
        """Answers and errors as they come."""
        for answer in self._call:
            if isinstance(answer, PASSED_ON):
                self._rest()
            yield answer

    def cancel(self) -> None:
        """End the call at once."""
        self._call.cancel()


def is_several(url: str) -> bool:
    """Whether an address stands for several servers."""
    return "," in url or url.startswith(DNS)


def addresses_of(url: str) -> list[str]:
    """HOST:PORT of each server that an address stands for, now.

    Raises:
        InputError: an address that can be none.
        ServerUnavailable: a name that stands for no address at present.
    """
    if not url.startswith(DNS):
        addresses = [part.strip() for part in url.split(",")]
        if "" in addresses or len({*addresses}) < len(addresses):
            raise InputError(f"expected different addresses HOST:PORT with commas between, found {url!r}")
        return addresses
    host, port = split_dns(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerUnavailable(f"{url}: the name stands for no address: {error.strerror}") from None
    except UnicodeError:  # of Python's IDNA codec, before anyone is asked
        raise InputError(f"expected a host's name, in parts of 1 to 63 characters, found {host!r}") from None
    hosts = sorted({str(entry[4][0]) for entry in found})
    return [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in hosts]


def split_dns(url: str) -> tuple[str, str]:
    """``dns:///HOST:PORT`` → host and port; InputError where it is none."""
    if (found := re.fullmatch(rf"{DNS}([^\s:/,]+):(\d{{1,5}})", url)) is None:
        raise InputError(f"expected {DNS}HOST:PORT such as {DNS}triton:8001, found {url!r}")
    return found[1], found[2]
