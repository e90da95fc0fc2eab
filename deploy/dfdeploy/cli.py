"""``dfdeploy``: make the server's environment, serve a model repository, measure it, set it up for this machine."""

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dfcontract.errors import DfserveError
from dfcontract.startup import complain, completed, described
from dfdeploy import container, ports, tls
from dfdeploy.errors import DeployError, EnvironmentIncomplete
from dfdeploy.repository import built_models

# What not every installation has is imported by the commands that need it.
if TYPE_CHECKING:
    from rich.console import Console

VULNERABLE = (
    "the embedded server is Triton 24.10, a release with published vulnerabilities (among them CVE-2025-23319, "
    "CVE-2026-24206, CVE-2026-47627): it serves this machine alone. To face a network, run NVIDIA's patched container: "
    "--server docker --host {host}"
)
# Set by our image: an address of the container is no address of the machine, whoever publishes it decides.
IN_CONTAINER_VARIABLE = "DFSERVE_IN_CONTAINER"
PUBLISH_WITH_CARE = (
    "listening on {host} in this container: Triton 24.10 has published vulnerabilities, so publish its ports on "
    "127.0.0.1 (--publish=127.0.0.1:8001:8001), or put a proxy before it"
)
OUR_PACKAGES = ("dfcontract", "dfclient", "dfdeploy")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 1 when it could not go on."""
    arguments = completed(build_parser()).parse_args(argv)
    try:
        return _run(arguments)
    except BrokenPipeError:
        raise
    except (DfserveError, OSError) as error:
        complain("dfdeploy", error)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    try:
        return int(arguments.run(arguments))
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in OUR_PACKAGES:
            raise
        extra = "bench" if arguments.run is _bench else "serve"
        raise EnvironmentIncomplete(
            f"this command needs {module}, which is not installed; run: pip install 'dfserve[{extra}]'"
        ) from None


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options; the reference in the documentation is written from it, too."""
    parser = argparse.ArgumentParser(prog="dfdeploy", description="Run what dfexport built.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_setup(commands.add_parser("setup", help="make the server's own Python environment"))
    _add_serve(
        commands.add_parser(
            "serve",
            help="serve a model repository until Ctrl-C",
            epilog="Example: dfdeploy serve --repository model_repository",
        )
    )
    _add_check(
        commands.add_parser(
            "check",
            help="prove that a server's answers are right",
            epilog="Example: dfdeploy check --url 127.0.0.1:8001",
        )
    )
    _add_bench(commands.add_parser("bench", help="measure: server, ONNX Runtime, PyTorch and client in turns"))
    _add_tune(
        commands.add_parser("tune", help="find the fastest build and settings of a detector on this machine's CPU")
    )
    return described(parser)


def _add_setup(parser: argparse.ArgumentParser) -> None:
    _add_server_env(parser)
    parser.add_argument("--torch", action="store_true", help="with PyTorch, which TorchScript models need")
    parser.add_argument("--openvino", action="store_true", help="with OpenVINO, which models of --format openvino need")
    parser.add_argument("--gpu", action="store_true", help="ONNX Runtime for CUDA, as this machine's driver takes it")
    parser.add_argument("--perf-analyzer", action="store_true", help="also NVIDIA's perf_analyzer, for dfdeploy bench")
    parser.set_defaults(run=_setup)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_repository(parser)
    parser.add_argument(
        "--server",
        choices=("embedded", "docker"),
        default="embedded",
        help="embedded: the Triton that dfdeploy setup installs, loopback only; docker: NVIDIA's container "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--profile",
        choices=("cpu", "gpu", container.TENSORRT),
        help="which of each model's configurations (default: cpu; docker: gpu where there is one); tensorrt: docker, "
        "fp16 builds compiled by TensorRT",
    )
    parser.add_argument("--host", default=ports.LOOPBACK, help="docker: address to publish on (default: %(default)s)")
    parser.add_argument(
        "--engine", choices=container.ENGINES, default="docker", help="docker: what runs it (default: %(default)s)"
    )
    parser.add_argument(
        "--image", help=f"docker: an image of ours (make image), instead of NVIDIA's ({container.NVIDIA_IMAGE})"
    )
    for name, port in container.CONTAINER_PORTS.items():
        parser.add_argument(
            f"--{name}-port",
            type=int,
            default=port,
            metavar="N",
            help="embedded: 0 takes a free one (default: %(default)s)",
        )
    parser.add_argument(
        "--supervisor-port", type=int, default=0, metavar="N", help="embedded: counts crashes; default: a free one"
    )
    parser.add_argument(
        "--http-inference", action="store_true", help="score over HTTP, too; not for --image, which says itself"
    )
    _add_tls(parser)
    _add_server_env(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the container's command and do not run it")
    parser.set_defaults(run=_serve)


def _add_tls(parser: argparse.ArgumentParser) -> None:
    """The names are `tls.OPTIONS`."""
    group = parser.add_argument_group(
        "TLS at the gRPC port",
        "PEM files, read at the start; what is not given is taken from the environment (DFSERVE_TLS_CERT, "
        "DFSERVE_TLS_KEY …). HTTP then answers health alone and is not published.",
    )
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate, with --tls-key")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    group.add_argument(
        "--tls-client-ca",
        type=Path,
        metavar="FILE",
        help="who vouches for clients: without a certificate of theirs nobody gets in",
    )
    group.add_argument(
        "--check-cert",
        type=Path,
        metavar="FILE",
        help="goes with --tls-client-ca: a client's certificate, to check the server's answers with",
    )
    group.add_argument("--check-key", type=Path, metavar="FILE", help="its private key")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="127.0.0.1:8001", metavar="HOST:PORT", help="gRPC; default: %(default)s")
    _add_repository(parser)
    from dfclient.cli.main import add_locks

    add_locks(parser)
    parser.set_defaults(run=_check)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    _add_repository(parser)
    parser.add_argument("--model", nargs="+", metavar="NAME", help="default: every model in the repository")
    parser.add_argument(
        "--profile",
        choices=("cpu", "gpu"),
        default="cpu",
        help="which of each model's two configurations (default: %(default)s)",
    )
    levels, batches = [1, 2, 4, 8, 16], [1, 2, 4, 8]
    parser.add_argument(
        "--concurrency", type=_positive, nargs="+", default=levels, metavar="N", help="default: 1 2 4 8 16"
    )
    parser.add_argument(
        "--batch",
        type=_positive,
        nargs="+",
        default=batches,
        metavar="N",
        help="windows of a request; default: 1 2 4 8",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=3, metavar="N", help="turns of each way (default: %(default)s)"
    )
    parser.add_argument(
        "--calls", type=_positive, metavar="N", help="calls for the overhead; default: 15 s of each kind"
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help="recordings to send; default: the examples")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all of it runs")
    parser.add_argument(
        "--in-process", action="store_true", help="no server: PyTorch alone, on --device, in several precisions"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="in-process (default: %(default)s)")
    parser.add_argument(
        "--ways", nargs="+", metavar="WAY", help="in-process: only these; default: all, on a CPU fp32's"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench.json"),
        metavar="FILE",
        help="a .csv and an .html page come beside it (default: %(default)s)",
    )
    _add_server_env(parser)
    parser.add_argument(
        "--perf-analyzer",
        type=Path,
        metavar="DIR",
        help="default: DFSERVE_PERF_ANALYZER, or where dfdeploy setup --perf-analyzer puts it",
    )
    parser.set_defaults(run=_bench)


def _add_tune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="NAME", help="a detector in the repository; all builds of its weights take part"
    )
    _add_repository(parser)
    parser.add_argument(
        "--audio",
        nargs="+",
        metavar="PATH",
        help="recordings, folders or lists to compare the builds' scores on, 100 or more; default: one known window",
    )
    parser.add_argument(
        "--threads", type=_positive, nargs="+", metavar="N", help="default: all cores, and half of them"
    )
    batches = [1, 2, 4, 8]
    parser.add_argument("--batch", type=_positive, nargs="+", default=batches, metavar="N", help="default: 1 2 4 8")
    parser.add_argument("--rounds", type=_positive, default=7, metavar="N", help="turns of each: %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="print the table and write nothing")
    parser.add_argument("--undo", action="store_true", help="measure nothing; NAME's settings as they were built")
    _add_server_env(parser)
    parser.set_defaults(run=_tune)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, found {text!r}")
    return int(text)


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        metavar="DIR",
        help="what dfexport build wrote (default: %(default)s)",
    )


def _add_server_env(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server-env",
        type=Path,
        metavar="DIR",
        help="the server's environment; default: DFSERVE_SERVER_ENV, .venv-server in a checkout, or the cache folder",
    )


def _console() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False)


def _setup(arguments: argparse.Namespace) -> int:
    from dfdeploy import setup

    setup.make_environment(
        arguments.server_env,
        with_torch=arguments.torch,
        with_openvino=arguments.openvino,
        for_gpu=arguments.gpu,
    )
    if arguments.perf_analyzer:
        setup.install_perf_analyzer()
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.server == "docker":
        return _serve_container(arguments)
    if arguments.dry_run:
        raise DeployError("--dry-run goes with --server docker")
    if arguments.profile == container.TENSORRT:
        raise DeployError("--profile tensorrt goes with --server docker: TensorRT is in NVIDIA's container")
    host = ports.LOOPBACK if arguments.host == "localhost" else arguments.host
    if host != ports.LOOPBACK:
        if os.environ.get(IN_CONTAINER_VARIABLE) != "1":
            raise DeployError(VULNERABLE.format(host=host))
        print(PUBLISH_WITH_CARE.format(host=host), flush=True)
    from dfdeploy.crashes import CrashCounter
    from dfdeploy.embedded import Server
    from dfdeploy.supervisor import serve_until_stopped

    server = Server(
        arguments.repository,
        profile=arguments.profile or "cpu",
        grpc_port=arguments.grpc_port,
        http_port=arguments.http_port,
        metrics_port=arguments.metrics_port,
        host=host,
        environment_dir=arguments.server_env,
        http_inference=arguments.http_inference,
        tls=tls.of(arguments),
    )
    with CrashCounter(arguments.supervisor_port, host=host) as crashes:
        serve_until_stopped(server, _console(), crashes)
    return 0


def _serve_container(arguments: argparse.Namespace) -> int:
    if arguments.image and arguments.http_inference:
        raise DeployError("--http-inference is no option of an image of ours: give it to the image's own command")
    models = built_models(arguments.repository)
    host_ports = {name: getattr(arguments, f"{name}_port") for name in container.CONTAINER_PORTS}
    profile = arguments.profile or container.default_profile()
    if profile != "cpu":
        container.check_profile(arguments.repository, models, profile)
    secured = tls.of(arguments)
    command = container.command(
        arguments.repository,
        profile=profile,
        host=arguments.host,
        host_ports=host_ports,
        engine=arguments.engine,
        image=arguments.image,
        http_inference=arguments.http_inference,
        tls=secured,
    )
    print(shlex.join(command), flush=True)
    if arguments.dry_run:
        return 0
    if profile != "cpu":
        container.check_gpus()
    if profile == container.TENSORRT:
        container.make_engines_folder()
    url = container.reachable(arguments.host, host_ports["grpc"])
    return container.run(command, arguments.repository, url, secured.credentials() if secured else None)


def _check(arguments: argparse.Namespace) -> int:
    from dfclient.cli.console import credentials_of
    from dfdeploy import selfcheck

    credentials = credentials_of(arguments)
    # The health check of an image of ours is told by its environment alone how the server beside it is secured.
    if not credentials.tls and (own := tls.of()):
        credentials = own.credentials()
    return 0 if selfcheck.report(arguments.url, arguments.repository, credentials) else 1


def _bench(arguments: argparse.Namespace) -> int:
    from dfdeploy.bench import bench

    return bench.run(arguments, _console())


def _tune(arguments: argparse.Namespace) -> int:
    from dfdeploy.tune import tune

    return tune.run(arguments, _console())
