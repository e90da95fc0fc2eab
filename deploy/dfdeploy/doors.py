"""Which of Triton's calls a server of ours answers to whom.

Clients score, list models, read their configuration and health: those calls stay open over gRPC. Shared memory (any
local client could register and overwrite the server's own regions), logging and tracing need the run's key in a header.
Over HTTP only health, metadata, configuration and statistics stay open, inference where it was asked for: a compressed
body costs the server memory that it does not give back. Where gRPC speaks TLS, HTTP, which can't, answers health alone.

The key lies in the run's folder. It also stands in Triton's command line, the only place that this release reads it
from, where other users of the machine can see it: it keeps out programs that err and pages in a browser, and no user
who means harm.

In NVIDIA's container statistics need the key as well. There it is what DFSERVE_PROTOCOL_KEY says, or one that nobody
knows: a server that faces a network needs none of those calls.
"""

import os
import secrets
from pathlib import Path

from dfdeploy.errors import DeployError
from dfdeploy.tls import Tls

KEY_FILE = "key"
HEADER = "dfserve-key"
GRPC_RESTRICTED = ("shared-memory", "trace", "logging")
HTTP_RESTRICTED = (*GRPC_RESTRICTED, "model-repository")
HTTP_INFERENCE = "inference"
HTTP_READABLE = ("metadata", "model-config", "statistics")
STATISTICS = "statistics"  # open at the embedded server: `dfdeploy bench` asks for them
KEY_VARIABLE = "DFSERVE_PROTOCOL_KEY"


def write_key(run_dir: Path) -> str:
    """A new key, in a file that only this user can read."""
    key = secrets.token_urlsafe(24)
    path = run_dir / KEY_FILE
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(f"{key}\n")
    return key


def container_options(*, http_inference: bool, tls: Tls | None = None) -> list[str]:
    """Triton's command-line options in NVIDIA's container."""
    key = os.environ.get(KEY_VARIABLE) or secrets.token_urlsafe(24)
    return options(key, http_inference=http_inference, tls=tls, more=(STATISTICS,))


def check(*, http_inference: bool, tls: Tls | None) -> None:
    """Refuse scores over HTTP beside a gRPC port with TLS."""
    if tls and http_inference:
        raise DeployError("--http-inference would answer without TLS beside a gRPC port with it: leave one of them out")


def options(key: str, *, http_inference: bool, tls: Tls | None = None, more: tuple[str, ...] = ()) -> list[str]:
    """Triton's command-line options.

    Args:
        key: what opens the restricted calls.
        http_inference: whether it also scores over HTTP.
        tls: of the gRPC port.
        more: calls that need the key besides.

    Raises:
        DeployError: scores are to cross HTTP beside a port with TLS.
    """
    check(http_inference=http_inference, tls=tls)
    http = [*HTTP_RESTRICTED, *([] if http_inference else [HTTP_INFERENCE]), *more, *(HTTP_READABLE if tls else [])]
    return [
        f"--grpc-restricted-protocol={','.join((*GRPC_RESTRICTED, *more))}:{HEADER}={key}",
        f"--http-restricted-api={','.join(dict.fromkeys(http))}:{HEADER}={key}",
        *(tls.triton_options if tls else []),
    ]
