"""Loopback ports: free ones, and a clear word about taken ones before anything is loaded."""

import errno
import socket

from dfdeploy.errors import DeployError, PortTaken

LOOPBACK = "127.0.0.1"
MAXIMUM = 65_535


def resolve(wanted: dict[str, int]) -> dict[str, int]:
    """Name → port: checks those that were asked for, and picks free ones for 0.

    Raises:
        PortTaken: somebody listens there.
        DeployError: not a port, or the same port twice.
    """
    named = [port for port in wanted.values() if port]
    if len(set(named)) != len(named):
        raise DeployError(f"the ports must differ: {', '.join(f'{name} {port}' for name, port in wanted.items())}")
    held: list[socket.socket] = []
    try:
        # All are held until the last is known, or the same free port could be given twice.
        for name, port in wanted.items():
            held.append(_bind(name, port))
        return {name: bound.getsockname()[1] for name, bound in zip(wanted, held, strict=True)}
    finally:
        for bound in held:
            bound.close()


def _bind(name: str, port: int) -> socket.socket:
    if not 0 <= port <= MAXIMUM:
        raise DeployError(f"the {name} port must be 0 (any free one) to {MAXIMUM}, found {port}")
    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of a server that has just stopped may linger; they don't hinder the next one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        probe.listen()
    except OSError as error:
        probe.close()
        if error.errno == errno.EACCES:
            raise DeployError(f"the {name} port {port} needs privileges; choose one above 1023") from None
        raise PortTaken(
            f"the {name} port {port} is taken on {LOOPBACK}; stop what listens there (ss -ltnp 'sport = :{port}'), "
            f"or choose another with --{name}-port"
        ) from None
    return probe
