"""What a connection is secured with: TLS, a client's own certificate, a key that a server or a proxy asks for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import grpc

from dfclient.errors import InputError

API_KEY_HEADER = "x-api-key"
# The key comes from the environment: other users of a machine can read a command line, and shells keep it.
API_KEY_VARIABLE = "DFSERVE_API_KEY"
# Triton's restricted protocols ask for a header of this name and the protocol key's own.
PROTOCOL_HEADER = "triton-grpc-protocol-"


@dataclass(frozen=True)
class Credentials:
    """How a client knows the server, and the server knows the client.

    Attributes:
        tls: speak TLS.
        ca: certificates (PEM) of those who may vouch for the server; None: those that gRPC brings.
        cert, key: the client's own certificate and private key (PEM), for servers that want one (mutual TLS).
        server_name: what the server's certificate is made out to, where that is not the address.
        api_key: sent with every call, as the header ``x-api-key``.
        protocol_keys: header → key of Triton's restricted protocols (``--grpc-restricted-protocol=…:HEADER=KEY``).

    Raises:
        InputError: parts of it do not go together.
    """

    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""
    api_key: str = field(default="", repr=False)
    protocol_keys: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Refuse a certificate without TLS, half of a pair, or a key that no header can carry."""
        if not self.tls and (self.ca or self.cert or self.key or self.server_name):
            raise InputError("a certificate, key or server name goes with TLS (--tls), which was not asked for")
        if (self.cert is None) != (self.key is None):
            raise InputError("a certificate and its private key go together (--cert FILE --key FILE): one is missing")
        if not self.server_name.isprintable():
            raise InputError(
                f"expected the name that the server's certificate is made out to, found {self.server_name!r}"
            )
        for name, value in {API_KEY_VARIABLE: self.api_key, **self.protocol_keys}.items():
            if not value.isascii() or not value.isprintable() or value != value.strip():
                raise InputError(f"{name}: expected a key of printable ASCII without spaces around it")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Headers of every call."""
        key = {API_KEY_HEADER: self.api_key} if self.api_key else {}
        protocols = {f"{PROTOCOL_HEADER}{name}".lower(): value for name, value in self.protocol_keys.items()}
        return tuple((key | protocols).items())

    def channel(self, address: str, options: list[tuple[str, str | int]]) -> grpc.Channel:
        """A channel to HOST:PORT.

        Raises:
            InputError: a file can't be read, or a key would travel where others can read it.
        """
        if not self.tls:
            if self.metadata and not is_loopback(address):
                raise InputError(
                    f"{address}: a key would cross the network readable to all on its way: use TLS (--tls)"
                )
            return grpc.insecure_channel(address, options=options)
        if self.server_name:
            options = [*options, ("grpc.ssl_target_name_override", self.server_name)]
        files = (_read(path) for path in (self.ca, self.key, self.cert))
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(*files), options=options)


def api_key_of_environment() -> str:
    """The key in DFSERVE_API_KEY; empty without one."""
    return os.environ.get(API_KEY_VARIABLE, "")


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is this machine, by its number or as localhost."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise InputError(f"{path}: expected PEM (-----BEGIN …), found something else")
    return content
