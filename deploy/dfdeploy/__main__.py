"""``dfdeploy``: serve a model repository, measure it."""

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console

from dfdeploy import bench, container, ports
from dfdeploy.embedded import Server, built_models
from dfdeploy.errors import DeployError
from dfdeploy.supervisor import serve_until_stopped

console = Console(soft_wrap=True, highlight=False)

VULNERABLE = (
    "the embedded server is Triton 24.10, a release with published vulnerabilities (among them CVE-2025-23319, "
    "CVE-2026-24206, CVE-2026-47627): it serves this machine alone. To face a network, run NVIDIA's patched container: "
    "--server docker --host {host}"
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 1 when serving could not go on."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except DeployError as error:
        print(f"dfdeploy: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dfdeploy", description="Run what dfexport built.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve a model repository until Ctrl-C")
    serving.add_argument("--repository", type=Path, default=Path("model_repository"), help="default: %(default)s")
    serving.add_argument(
        "--server",
        choices=("embedded", "docker"),
        default="embedded",
        help="embedded: the Triton of .venv-server, loopback only; docker: NVIDIA's container (default: %(default)s)",
    )
    serving.add_argument("--profile", choices=("cpu", "gpu"), help="default: cpu; docker: gpu where there is one")
    serving.add_argument("--host", default=ports.LOOPBACK, help="docker: address to publish on (default: %(default)s)")
    for name, port in container.CONTAINER_PORTS.items():
        serving.add_argument(f"--{name}-port", type=int, default=port, metavar="N", help="default: %(default)s")
    serving.add_argument("--server-env", type=Path, metavar="DIR", help="default: DFSERVE_SERVER_ENV, or .venv-server")
    serving.add_argument("--dry-run", action="store_true", help="print the container's command and do not run it")
    serving.set_defaults(run=_serve)
    measuring = commands.add_parser("bench", help="measure: overhead of serving, throughput of server and client")
    bench.add_options(measuring)
    measuring.set_defaults(run=lambda arguments: bench.run(arguments, console))
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.server == "docker":
        return _serve_container(arguments)
    if arguments.dry_run:
        raise DeployError("--dry-run goes with --server docker")
    if arguments.host not in (ports.LOOPBACK, "localhost"):
        raise DeployError(VULNERABLE.format(host=arguments.host))
    server = Server(
        arguments.repository,
        profile=arguments.profile or "cpu",
        grpc_port=arguments.grpc_port,
        http_port=arguments.http_port,
        metrics_port=arguments.metrics_port,
        environment_dir=arguments.server_env,
    )
    serve_until_stopped(server, console)
    return 0


def _serve_container(arguments: argparse.Namespace) -> int:
    built_models(arguments.repository)
    host_ports = {name: getattr(arguments, f"{name}_port") for name in container.CONTAINER_PORTS}
    profile = arguments.profile or container.default_profile()
    command = container.command(arguments.repository, profile=profile, host=arguments.host, host_ports=host_ports)
    print(shlex.join(command), flush=True)
    if not arguments.dry_run:
        container.run(command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
