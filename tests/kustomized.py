"""What kustomize makes of deploy/kubernetes, as far as we use it: no tool needs to be there.

tests/image/test_pods.py proves on kubectl that it is the same.
"""

import copy
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Manifests = dict[tuple[str, str], Manifest]
KNOWN = {"apiVersion", "kind", "namespace", "labels", "resources", "components", "patches"}


def manifests(folder: Path) -> Manifests:
    """(kind, name) → what a folder's kustomization makes."""
    found: Manifests = {}
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(wanted) <= KNOWN, f"{folder}: teach this module {set(wanted) - KNOWN}"
    for name in wanted.get("resources", []):
        if (path := folder / name).is_dir():
            found |= manifests(path)
        else:
            loaded = yaml.safe_load_all(path.read_text())
            found |= {(one["kind"], one["metadata"]["name"]): copy.deepcopy(one) for one in loaded}
    for name in wanted.get("components", []):
        _patch(found, yaml.safe_load((folder / name / "kustomization.yaml").read_text())["patches"])
    _patch(found, wanted.get("patches", []))
    for manifest in found.values():
        if "namespace" in wanted and manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = wanted["namespace"]
        for labels in wanted.get("labels", []):
            _label(manifest, labels["pairs"])
    return found


def _label(manifest: Manifest, pairs: dict[str, str]) -> None:
    places = [manifest["metadata"]]
    if "template" in manifest.get("spec", {}):
        places.append(manifest["spec"]["template"]["metadata"])
    for metadata in places:
        metadata.setdefault("labels", {}).update(pairs)


def _patch(found: Manifests, patches: list[dict[str, Any]]) -> None:
    for patch in patches:
        manifest = found[patch["target"]["kind"], patch["target"]["name"]]
        for step in yaml.safe_load(patch["patch"]):
            _apply(manifest, step)


def _apply(manifest: Manifest, step: dict[str, Any]) -> None:
    """One step of RFC 6902."""
    *parents, last = (part.replace("~1", "/") for part in step["path"].strip("/").split("/"))
    place: Any = manifest
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if last == "-":
        place.append(step["value"])
        return
    key: Any = int(last) if isinstance(place, list) else last
    assert step["op"] == "add" or key in (range(len(place)) if isinstance(place, list) else place), step
    if step["op"] == "remove":
        del place[key]
    else:
        place[key] = step["value"]
