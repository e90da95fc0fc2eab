"""What `Server` and `Detector` share: a way to a Triton server, opened by the first and closed with the last."""

from types import TracebackType
from typing import Self

from dfclient.calls import DEFAULT_TIMEOUT_S, DEFAULT_URL, TritonCalls
from dfclient.retry import Retrying, RetryPolicy
from dfclient.transport import Transport


class Connection:
    """Calls to a server, tried again as a policy says; a context manager.

    Args:
        url: HOST:PORT of its gRPC endpoint.
        timeout_s: deadline of each request.
        retry: what is tried again, and for how long.
        transport: instead of gRPC to `url`; whoever gives it closes it.

    Raises:
        InputError: an address or a deadline that can be none.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        transport: TritonCalls | None = None,
    ) -> None:
        self._owns_transport = transport is None
        self._calls = Retrying(transport or Transport(url, timeout_s=timeout_s), retry or RetryPolicy())

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
