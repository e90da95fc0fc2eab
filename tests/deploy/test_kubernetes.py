"""deploy/kubernetes: valid by Kubernetes' own schemas, and what belongs together fits together."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kustomized import Manifests, manifests

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("cpu", "gpu")


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Manifests:
    return manifests(KUBERNETES / request.param)


def check(found: Manifests, tmp_path: Path) -> None:
    """Refuses a field that the schema does not have; a warning fails, too."""
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(found.values()))
    command = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", tmp_path / "all.yaml"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (finished.stdout + finished.stderr).splitlines()
    assert finished.returncode == 0, lines
    assert [line for line in lines if not line.startswith("INFO ")] == []
    assert len(lines) == len(found)


def test_every_manifest_is_valid(overlay: Manifests, tmp_path: Path) -> None:
    check(overlay, tmp_path)


def test_the_check_sees_a_field_that_does_not_exist(overlay: Manifests, tmp_path: Path) -> None:
    broken = json.loads(json.dumps(overlay["Deployment", "triton"]).replace("failureThreshold", "failureTreshold"))
    with pytest.raises(AssertionError, match="failureTreshold"):
        check({("Deployment", "triton"): broken}, tmp_path)


def test_every_container_is_locked(overlay: Manifests) -> None:
    """Kubernetes' 'restricted' standard, which the namespace enforces, and a read-only root besides."""
    for (kind, _), manifest in overlay.items():
        if kind not in ("Deployment", "Job"):
            continue
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            locks = container["securityContext"]
            assert locks["capabilities"] == {"drop": ["ALL"]}
            assert locks["allowPrivilegeEscalation"] is False
            assert locks["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


def test_what_selects_pods_selects_those_that_there_are(overlay: Manifests) -> None:
    labels = overlay["Deployment", "triton"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = (
        overlay["Deployment", "triton"]["spec"]["selector"]["matchLabels"],
        overlay["Service", "triton"]["spec"]["selector"],
        overlay["PodDisruptionBudget", "triton"]["spec"]["selector"]["matchLabels"],
        overlay["NetworkPolicy", "triton"]["spec"]["podSelector"]["matchLabels"],
    )
    assert all(selector.items() <= labels for selector in selectors)
    job = overlay["Job", "models"]["spec"]["template"]["metadata"]["labels"].items()
    assert overlay["NetworkPolicy", "models"]["spec"]["podSelector"]["matchLabels"].items() <= job
    assert not overlay["NetworkPolicy", "triton"]["spec"]["podSelector"]["matchLabels"].items() <= job
    scaled = overlay["HorizontalPodAutoscaler", "triton"]["spec"]
    assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton"}
    assert "replicas" not in overlay["Deployment", "triton"]["spec"]


def test_the_autoscaler_s_figures_are_those_that_the_adapter_makes(overlay: Manifests) -> None:
    rules = yaml.safe_load((KUBERNETES / "adapter.yaml").read_text())["rules"]["custom"]
    made = {rule["name"]["as"] for rule in rules}
    asked = {
        metric["pods"]["metric"]["name"] for metric in overlay["HorizontalPodAutoscaler", "triton"]["spec"]["metrics"]
    }
    assert asked == made


def test_the_gpu_overlay_asks_for_a_gpu_and_the_cpu_one_for_none() -> None:
    images, gpus = {}, {}
    for name in OVERLAYS:
        (container,) = manifests(KUBERNETES / name)["Deployment", "triton"]["spec"]["template"]["spec"]["containers"]
        images[name] = container["image"]
        gpus[name] = container["resources"]["limits"].get("nvidia.com/gpu")
    assert images == {"cpu": "dfserve:cpu", "gpu": "dfserve:gpu"}
    assert gpus == {"cpu": None, "gpu": "1"}


def with_component(overlay: str, component: str, tmp_path: Path) -> Manifests:
    """An overlay that a component was added to, as its head says; valid."""
    for name in ("base", overlay, component):
        shutil.copytree(KUBERNETES / name, tmp_path / name)
    with (tmp_path / overlay / "kustomization.yaml").open("a") as file:
        file.write(f"components: [../{component}]\n")
    found = manifests(tmp_path / overlay)
    check(found, tmp_path)
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_tls_is_told_to_server_and_probe_by_the_environment(overlay: str, tmp_path: Path) -> None:
    pod = with_component(overlay, "tls", tmp_path)["Deployment", "triton"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {one["name"]: Path(one["value"]) for one in container["env"]}
    assert set(told) == {f"DFSERVE_{name.upper()}" for name in ("tls_cert", "tls_key")}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    assert {path.parent for path in told.values()} == {Path(mount["mountPath"])}
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tls"]
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert container["startupProbe"]["exec"]["command"][:2] == ["dfdeploy", "check"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"  # what HTTP still answers beside TLS


def test_models_that_are_copied_take_the_place_of_the_export(tmp_path: Path) -> None:
    found = with_component("cpu", "copied-models", tmp_path)
    (container,) = found["Job", "models"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "dfserve:cpu"
    assert "cp -R " in container["args"][0]
    assert "dfexport" not in json.dumps(container)


EXPORTER = """#!/bin/sh
# dfexport build NAME… --weights-dir DIR --repository DIR
shift
for last; do :; done
while [ "$1" != --weights-dir ]; do mkdir "$last/$1" || exit; shift; done
[ -z "$FAIL" ]
"""


def test_what_is_stored_appears_whole_and_what_is_there_stays(tmp_path: Path) -> None:
    """The job's own lines, with an exporter that makes folders: what a job that died left behind is no repository."""
    (job,) = manifests(KUBERNETES / "cpu")["Job", "models"]["spec"]["template"]["spec"]["containers"]
    store = tmp_path / "store"
    for folder in (store, tmp_path / "bin"):
        folder.mkdir()
    (tmp_path / "bin/dfexport").write_text(EXPORTER)
    (tmp_path / "bin/dfexport").chmod(0o755)

    def run(models: str, fail: str = "") -> int:
        environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "MODELS": models, "FAIL": fail}
        script = job["args"][0].replace("/store", str(store))
        return subprocess.run([*job["command"], script], env=environment, check=False).returncode

    def stored() -> set[str]:
        return {path.name for path in (store / "repository").iterdir()}

    assert run("aasist aasist_l", fail="yes") != 0
    assert not (store / "repository").exists()
    assert run("aasist aasist_l") == 0
    assert stored() == {"aasist", "aasist_l"}
    first = (store / "repository/aasist").stat().st_ino
    assert run("aasist sls", fail="yes") != 0
    assert stored() == {"aasist", "aasist_l"}
    assert run("aasist sls") == 0
    assert stored() == {"aasist", "aasist_l", "sls"}
    assert (store / "repository/aasist").stat().st_ino == first
    assert run("aasist sls", fail="it is not even asked") == 0


def test_what_is_copied_is_added_to_what_is_there(tmp_path: Path) -> None:
    component = yaml.safe_load((KUBERNETES / "copied-models/kustomization.yaml").read_text())
    steps = yaml.safe_load(component["patches"][0]["patch"])
    (script,) = [step["value"] for step in steps if step["path"].endswith("/args/0")]
    store, source = tmp_path / "store", tmp_path / "source"
    store.mkdir()
    script = script.replace("/store", str(store)).replace("/source", str(source))
    for model in ("aasist", "sls"):
        (source / model).mkdir(parents=True)
        for _ in range(2):  # the second has nothing to do
            subprocess.run(["sh", "-euc", script], check=True)
        assert {path.name for path in (store / "repository").iterdir()} == {path.name for path in source.iterdir()}


def test_kserve_s_service_runs_on_our_runtime() -> None:
    """Their schemas are KServe's own, which `kubernetes-validate` does not have: what must fit together does."""
    found = manifests(KUBERNETES / "kserve")
    runtime = found["ServingRuntime", "dfserve"]["spec"]
    model = found["InferenceService", "dfserve"]["spec"]["predictor"]["model"]
    assert model["runtime"] == "dfserve"
    assert model["modelFormat"]["name"] in {known["name"] for known in runtime["supportedModelFormats"]}
    assert model["protocolVersion"] in runtime["protocolVersions"]
    (container,) = runtime["containers"]
    assert container["name"] == "kserve-container"
    assert container["args"] == ["--repository", "/mnt/models"]
    assert {volume["name"] for volume in runtime["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
