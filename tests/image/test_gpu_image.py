"""Our GPU image's Dockerfile and what it starts, on a stand-in for NVIDIA's image: its folders with Triton 24.10.

NVIDIA's registry was out of reach where this was written. What only NVIDIA's image can prove is its release, its native
backends and the GPU.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiny_repository
from authority import Authority
from containers import ENGINE, TAG, Running, detached, engine, make_readable
from dfclient import Credentials, Detector, RetryPolicy
from dfclient.errors import ServerUnavailable
from dfclient.retry import NO_RETRIES
from dfdeploy import container, ports
from dfdeploy.tls import Tls
from dfexport.signals import wave

pytestmark = pytest.mark.image
BUILD = Path(__file__).parents[2] / "deploy/docker/build.sh"
STAND_IN, IMAGE = "dfserve-test:nvidia", "dfserve-test:gpu"
# Without our application, live backend and Python's venv module, which the Dockerfile has to bring.
DOCKERFILE = """
ARG CPU
FROM ${CPU}
USER 0:0
COPY lay_out.py /
RUN /opt/dfserve/bin/python /lay_out.py && rm -r /opt/dfserve /opt/sbom /opt/tritonserver/backends/live
ENV PATH=/opt/tritonserver/bin:/usr/local/bin:/usr/bin:/bin
"""
LAY_OUT = """
from pathlib import Path
from dfdeploy import environment

triton = Path("/opt/tritonserver")
(triton / "bin").mkdir(parents=True)
found = environment.find()
found.lay_out(triton)
variables = found.variables(triton)
program = triton / "bin/tritonserver"
program.write_text("".join(
    ["#!/bin/sh\\n"]
    + [f"export {name}={variables[name]}\\n" for name in ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")]
    + [f'exec {found.binary} --backend-directory={triton}/backends "$@"\\n']
))
program.chmod(0o755)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built by the script that users build it with."""
    if not ENGINE:
        pytest.skip("neither docker nor podman is here")
    context = tmp_path_factory.mktemp("stand-in")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "lay_out.py").write_text(LAY_OUT)
    engine("build", f"--build-arg=CPU={TAG}", f"--tag={STAND_IN}", str(context))
    environment = os.environ | {"BASE": STAND_IN, "TAG": IMAGE, "ENGINE": ENGINE}
    finished = subprocess.run([BUILD, "gpu"], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    yield IMAGE
    subprocess.run([ENGINE, "rmi", IMAGE, STAND_IN], check=False, capture_output=True)


def healthy(running: Running) -> bool:
    (check,) = json.loads(engine("inspect", "--format", "[{{json .Config.Healthcheck.Test}}]", running.name))
    finished = running.execute(*check[1:])
    return finished.returncode == 0 and "tiny_trained_live answers right" in finished.stdout


def test_it_serves_behind_tls_and_knows_whether_it_is_well(image: str, tiny_models: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    tls = Tls(*authority.issue("triton.example"), authority.file, *authority.issue("checker"))
    for folder in (tiny_models, authority.folder):
        make_readable(folder)
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    how = {"profile": "cpu", "host": "127.0.0.1", "host_ports": chosen, "engine": ENGINE, "image": image}
    command = [*container.command(tiny_models, **how, tls=tls), "--model-config-name=cpu"]
    with detached(command, f"dfserve-test-gpu-{os.getpid()}", chosen) as running:
        stranger = Credentials(tls=True, ca=authority.file, server_name="triton.example")
        ours = Credentials(True, authority.file, tls.check_cert, tls.check_key, "triton.example")
        waveform = wave(1, 16_000)
        with Detector(running.url, "tiny", retry=RetryPolicy(wait_s=120), credentials=ours) as detector:
            (window,) = detector.score(waveform, 16_000).windows
            with detector.stream() as live:
                live.send(waveform)
                live.end()
                (streamed,) = live
        expected = tiny_repository.logits_of(waveform)
        np.testing.assert_allclose([window.logits, streamed.logits], [expected, expected], atol=1e-5)
        with pytest.raises(ServerUnavailable, match="connection was closed"):
            Detector(running.url, "tiny", retry=NO_RETRIES, credentials=stranger)
        assert healthy(running)
        assert running.execute("cat", "/proc/1/status").stdout.count("Uid:\t1000\t1000") == 1
        waiting = subprocess.Popen([ENGINE, "wait", running.name], stdout=subprocess.PIPE, text=True)
        engine("stop", running.name)
        assert waiting.communicate(timeout=60)[0].strip() == "0"
