"""What `Server` and `Detector` share: a way to one or several Triton servers, opened and closed with them."""

from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from dfclient.calls import DEFAULT_TIMEOUT_S, DEFAULT_URL, TritonCalls
from dfclient.credentials import Credentials
from dfclient.replicas import DNS, Replicas, addresses_of, is_several, split_dns
from dfclient.retry import Retrying, RetryPolicy
from dfclient.transport import Transport


class Connection:
    """Calls to a server, tried again as a policy says; a context manager.

    Args:
        url: HOST:PORT of its gRPC endpoint; several with commas between, or `dns:///HOST:PORT` for all addresses of a
            name, where several servers serve the same models (see `replicas.py`).
        timeout_s: deadline of each request.
        retry: what is tried again, and for how long.
        credentials: TLS and keys, where the server or a proxy before it asks for them.
        transport: instead of gRPC to `url`; whoever gives it closes it.

    Raises:
        InputError: an address, a deadline or credentials that can be none.
        ServerUnavailable: a name of `dns:///` stands for no address.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        credentials: Credentials | None = None,
        transport: TritonCalls | None = None,
    ) -> None:
        self._owns_transport = transport is None
        calls = transport or calls_to(url, timeout_s, credentials or Credentials())
        self._calls = Retrying(calls, retry or RetryPolicy())

    def __enter__(self) -> Self:
        """Itself: `close` comes at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Let requests in flight end, try none again, and close the connection."""
        self._calls.close()
        if self._owns_transport:
            self._calls.calls.close()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._calls.calls.url


def calls_to(url: str, timeout_s: float, credentials: Credentials) -> TritonCalls:
    """Calls to the server, or the servers, at an address; see `Connection`."""
    if not is_several(url):
        return Transport(url, timeout_s=timeout_s, credentials=credentials)
    credentials = named(url, credentials)
    return Replicas(url, partial(addresses_of, url), partial(Transport, timeout_s=timeout_s, credentials=credentials))


def named(url: str, credentials: Credentials) -> Credentials:
    """The credentials with the name in `dns:///` as that of the certificate, which is not made out to addresses."""
    if not url.startswith(DNS) or not credentials.tls or credentials.server_name:
        return credentials
    return replace(credentials, server_name=split_dns(url)[0])
