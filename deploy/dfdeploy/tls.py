"""TLS at Triton's own gRPC port: its files, whether they can work, and what they make of a client on this machine.

Triton reads them once, at its start, and of a file that it can't use it says only that its port is taken. So they are
tried first, in a handshake without a network. Options: Triton's ``--grpc-use-ssl``, ``--grpc-use-ssl-mutual`` and what
goes with them (its user guide, "Secure deployment considerations").
"""

import os
import ssl
from argparse import Namespace
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfcontract.live import TLS_EXPIRY_VARIABLE
from dfdeploy.errors import DeployError

if TYPE_CHECKING:
    from dfclient.credentials import Credentials

MOUNT = "/tls"


@dataclass(frozen=True)
class Tls:
    """How a server proves who it is, and whether its clients have to.

    Each attribute's name is that of its option, of its variable in the environment (DFSERVE_TLS_CERT …), and of its
    file in a container.

    Attributes:
        tls_cert, tls_key: the server's certificate, with those between it and its authority, and its private key (PEM).
        tls_client_ca: certificates (PEM) of those who may vouch for clients; None: clients need none.
        check_cert, check_key: a client's own, with which the server's answers are checked where clients need one.

    Raises:
        DeployError: parts of it do not go together.
    """

    tls_cert: Path
    tls_key: Path
    tls_client_ca: Path | None = None
    check_cert: Path | None = None
    check_key: Path | None = None

    def __post_init__(self) -> None:
        """Refuse clients' certificates by halves."""
        if not (self.tls_client_ca is None) == (self.check_cert is None) == (self.check_key is None):
            raise DeployError(
                "--tls-client-ca, --check-cert and --check-key go together: where clients need a certificate, so does "
                "the check of the server's answers"
            )

    @property
    def triton_options(self) -> list[str]:
        """Triton's command-line options."""
        mutual = ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={self.tls_client_ca}"] if self.tls_client_ca else []
        server = [f"--grpc-server-cert={self.tls_cert}", f"--grpc-server-key={self.tls_key}"]
        return ["--grpc-use-ssl=true", *server, *mutual]

    def credentials(self) -> "Credentials":
        """Those of a client that trusts this very certificate, whoever vouches for it, at whatever address.

        Raises:
            DeployError: see `name`.
        """
        from dfclient.credentials import Credentials

        return Credentials(
            tls=True, ca=self.tls_cert, cert=self.check_cert, key=self.check_key, server_name=self.name()
        )

    @property
    def client_options(self) -> list[str]:
        """`dfclient`'s options for the same."""
        own = [f"--cert={self.check_cert}", f"--key={self.check_key}"] if self.check_cert else []
        return [f"--ca={self.tls_cert}", f"--server-name={self.name()}", *own]

    def name(self) -> str:
        """The name or address that the server's certificate is made out to.

        Raises:
            DeployError: see `certificate`.
        """
        # A certificate for *.example.org is one for each of those names.
        return _names(self.certificate())[0].replace("*", "triton")

    def expiry(self) -> dict[str, str]:
        """The environment variable that tells a server's live models when its certificate ends.

        Raises:
            DeployError: see `certificate`.
        """
        return {TLS_EXPIRY_VARIABLE: str(ssl.cert_time_to_seconds(self.certificate()["notAfter"]))}

    def certificate(self) -> dict[str, Any]:
        """Shake hands with oneself; what Python's ssl tells of the server's certificate.

        Raises:
            DeployError: a file can't be read, is no such thing, has expired, or does not go with another one; or the
                certificate is made out to nobody.
        """
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False  # the name is what we want to know
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _load_pair(server, self.tls_cert, self.tls_key)
        _load_authorities(client, self.tls_cert)
        if self.tls_client_ca and self.check_cert and self.check_key:
            server.verify_mode = ssl.CERT_REQUIRED
            _load_authorities(server, self.tls_client_ca)
            _load_pair(client, self.check_cert, self.check_key)
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client_end = client.wrap_bio(to_client, to_server)
        server_end = server.wrap_bio(to_server, to_client, server_side=True)
        for end, judged in [(client_end, self.tls_cert), (server_end, self.check_cert)] * 2:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                reason = getattr(error, "verify_message", "") or error.reason
                raise DeployError(f"{judged}: this certificate would be refused: {reason}") from None
        found = client_end.getpeercert() or {}
        if not _names(found):
            raise DeployError(
                f"{self.tls_cert}: it is made out to no name or address (subjectAltName), so no client takes it"
            )
        return found

    def inside(self) -> "Tls":
        """The same files where `mounts` puts them in a container."""
        return Tls(**{name: Path(MOUNT, f"{name}.pem") for name in self._files()})

    def mounts(self, *, with_check: bool) -> list[str]:
        """A container engine's options that bring the files along; those of the check, too, where it is made inside."""
        return [
            f"--mount=type=bind,source={path.resolve()},target={MOUNT}/{name}.pem,readonly"
            for name, path in self._files().items()
            if with_check or name.startswith("tls")
        ]

    def variables(self) -> list[str]:
        """A container engine's options that tell an image of ours, and its health check, of the files inside."""
        return [f"--env={_variable(name)}={path}" for name, path in self.inside()._files().items()]

    def expiry_variables(self) -> list[str]:
        """A container engine's options that tell NVIDIA's image what ours find out themselves; see `expiry`."""
        return [f"--env={name}={value}" for name, value in self.expiry().items()]

    def _files(self) -> dict[str, Path]:
        return {field.name: path for field in fields(self) if (path := getattr(self, field.name))}


OPTIONS = tuple(field.name for field in fields(Tls))


def of(options: Namespace | None = None) -> Tls | None:
    """From options and, for those that were not given, the environment; None where neither names a file.

    Raises:
        DeployError: half of a pair.
    """
    files = {
        name: Path(given)
        for name in OPTIONS
        if (given := getattr(options, name, None) or os.environ.get(_variable(name)))
    }
    if not files:
        return None
    if "tls_cert" not in files or "tls_key" not in files:
        raise DeployError("TLS takes a certificate and its private key: --tls-cert FILE --tls-key FILE")
    return Tls(**files)


def _names(certificate: dict[str, Any]) -> list[str]:
    return [str(name) for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]


def _variable(name: str) -> str:
    return f"DFSERVE_{name.upper()}"


def _load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    for path in (cert, key):
        _check_readable(path)
    try:
        context.load_cert_chain(cert, key, password="")  # Triton asks for none
    except ssl.SSLError as error:
        found = "a pair that does not belong together" if "MISMATCH" in str(error.reason) else "something else"
        raise DeployError(
            f"{cert}, {key}: expected a certificate and its unencrypted private key, found {found}"
        ) from None


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise DeployError(f"{path}: expected certificates (PEM), found something else") from None


def _check_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise DeployError(f"{path}: cannot read it: {error.strerror}") from None
