"""What the page serves, and to whom."""

from dataclasses import dataclass, field
from secrets import token_urlsafe

MEGABYTE = 1_000_000
DEFAULT_PORT = 8010
DEFAULT_MAX_MB = 200
DEFAULT_MAX_MINUTES = 30.0


@dataclass(frozen=True)
class Settings:
    """How one page is served.

    Attributes:
        server_url: HOST:PORT of Triton's gRPC endpoint.
        hosts: names, each with its port but for http's and https's own, under which browsers may ask for the page; any
            other Host header is refused.
        port: where it listens.
        token: a secret that every request must bring.
        max_bytes: of one uploaded file.
        max_s: length of one recording.
    """

    server_url: str
    hosts: frozenset[str]
    port: int
    token: str = field(default_factory=token_urlsafe, repr=False)
    max_bytes: int = DEFAULT_MAX_MB * MEGABYTE
    max_s: float = 60 * DEFAULT_MAX_MINUTES

    @property
    def cookie(self) -> str:
        """The cookie's name: browsers share cookies among all ports of a host, so that two pages need two names."""
        return f"dfpage_{self.port}"
