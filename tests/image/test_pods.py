"""What deploy/kubernetes says, run by podman: the job's script fills a store, and the cpu overlay's pod serves it."""

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import tiny_repository
from dfclient import Detector, RetryPolicy
from dfdeploy import ports
from dfexport.signals import wave
from kustomized import Manifest, manifests

pytestmark = pytest.mark.image
KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
TAG = os.environ.get("TAG", "dfserve:cpu")
PODMAN = shutil.which("podman")
NAME = f"dfserve-test-{os.getpid()}"


def podman(*arguments: str) -> str:
    finished = subprocess.run([str(PODMAN), *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def copying_script(tmp_path: Path) -> str:
    """Of the job, where models are copied."""
    for name in ("base", "cpu", "copied-models"):
        shutil.copytree(KUBERNETES / name, tmp_path / name)
    with (tmp_path / "cpu/kustomization.yaml").open("a") as file:
        file.write("components: [../copied-models]\n")
    (container,) = manifests(tmp_path / "cpu")["Job", "models"]["spec"]["template"]["spec"]["containers"]
    return str(container["args"][0])


def for_podman(deployment: Manifest, port: int) -> Manifest:
    """As it stands, but with this test's image, volume and names, and one port of this machine.

    Without probes, which podman leaves to systemd; the first of them is run by hand. podman 4.3 needs two things more:
    its init containers are kept, as it fails where it removes them, and /dev/shm is its own, as it makes no directory
    in memory that user 1000 may write to.
    """
    changed = copy.deepcopy(deployment)
    kept = {"io.podman.annotations.init.container.type": "always"}
    changed["metadata"] = {"name": NAME, "labels": deployment["metadata"]["labels"], "annotations": kept}
    changed["spec"]["template"]["metadata"]["name"] = NAME
    pod = changed["spec"]["template"]["spec"]
    for container in (*pod["containers"], *pod["initContainers"]):
        container["image"] = TAG
    (triton,) = pod["containers"]
    triton["ports"] = [{"containerPort": 8001, "hostIP": "127.0.0.1", "hostPort": port}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        del triton[probe]
    triton["volumeMounts"] = [mount for mount in triton["volumeMounts"] if mount["name"] != "shm"]
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] != "shm"]
    for volume in pod["volumes"]:
        if "persistentVolumeClaim" in volume:
            volume["persistentVolumeClaim"]["claimName"] = NAME
    return changed


@pytest.fixture
def store(tiny_models: Path, tmp_path: Path) -> Iterator[str]:
    """A volume that the job has filled."""
    if PODMAN is None:
        pytest.skip("podman is not here")
    for folder in (tiny_models, *tiny_models.parents[:3]):
        folder.chmod(0o755)
    script = copying_script(tmp_path)
    podman("volume", "create", NAME)
    try:
        mounts = [f"--volume={NAME}:/store:U", f"--volume={tiny_models}:/source:ro"]
        run = ["run", "--rm", "--user=1000:1000", "--read-only", *mounts, "--entrypoint=sh", TAG]
        for _ in range(2):  # the second finds everything there
            podman(*run, "-euc", script)
        yield NAME
    finally:
        podman("volume", "rm", "--force", NAME)


def test_the_cpu_overlay_s_pod_serves_what_the_job_stored(store: str, tmp_path: Path) -> None:
    port = ports.resolve({"grpc": 0})["grpc"]
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(for_podman(manifests(KUBERNETES / "cpu")["Deployment", "triton"], port)))
    try:
        podman("kube", "play", str(file))
        waveform = wave(1, 40_000)
        with Detector(f"127.0.0.1:{port}", "tiny", retry=RetryPolicy(wait_s=120)) as detector:
            score = detector.score(waveform, 16_000)
        expected = tiny_repository.logits_of(waveform[: tiny_repository.WINDOW_SAMPLES])
        np.testing.assert_allclose(score.windows[0].logits, expected, atol=1e-5)
        (container,) = [
            name
            for name in podman("ps", "--format", "{{.Names}}").split()
            if name.startswith(NAME) and "triton" in name
        ]
        probe = manifests(KUBERNETES / "cpu")["Deployment", "triton"]["spec"]["template"]["spec"]["containers"][0]
        said = podman("exec", container, *probe["startupProbe"]["exec"]["command"])
        assert "tiny answers right" in said
        status = podman("exec", container, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status
    finally:
        subprocess.run([str(PODMAN), "pod", "rm", "--force", f"{NAME}-pod-0"], check=False, capture_output=True)


@pytest.mark.parametrize("name", ["cpu", "gpu", "kserve"])
def test_kubectl_makes_the_same_of_it(name: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("missing: kubectl of release 1.25 or newer (Debian 12's is too old)")
    text = subprocess.check_output([kubectl, "kustomize", KUBERNETES / name], text=True)
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}
    assert theirs == manifests(KUBERNETES / name)
