"""What a file of figures was made from and by, and whether the same comes out once more.

``metrics.json`` holds one evaluation or a list of them; each has ``provenance``:

    {"dfserve": "0.1.0", "python": "3.11.2", "packages": {"numpy": "2.4.6", …},
     "inputs": [{"role": "scores", "path": "aasist.csv", "bytes": 9312, "sha256": "…"}, …],
     "reading": {"scores": {…}, "protocol": {…}}, "settings": {"by": ["codec"], "seed": 0, …}}
"""

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfeval.errors import EvalError
from dfeval.metrics.dcf import DcfCosts
from dfeval.metrics.tdcf import AsvRates, TdcfCosts
from dfeval.protocols import Protocol, ProtocolColumns, load_protocol
from dfeval.scores import load_scores
from dfeval.trials import Trials, join

if TYPE_CHECKING:
    from dfeval.evaluation import Settings

PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn")
KEY = "provenance"
TOLERANCE = 1e-9  # relative: what another order of the same sums may change


def describe(trials: Trials, settings: "Settings") -> dict[str, Any]:
    """The provenance of an evaluation."""
    protocol, source = trials.protocol, trials.source
    return {
        "dfserve": version_of("dfserve"),
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "inputs": [
            *(input_of("scores", path) for path in source.paths),
            *(input_of("protocol", p) for p in protocol.paths),
        ],
        "reading": {
            "scores": dict(source.options),
            "protocol": {
                "format": protocol.format_name,
                "phase": protocol.phase if protocol.phase_counts else None,
                "columns": dataclasses.asdict(protocol.columns),
                "where": list(protocol.conditions),
            },
        },
        "settings": dataclasses.asdict(settings) | {"by": None if settings.by is None else list(settings.by)},
    }


def verify(path: Path, folder: Path | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Recompute every evaluation of a file of figures.

    Args:
        path: ``metrics.json`` of a report, or what ``dfeval metrics --json`` printed.
        folder: where the inputs are; without, where the file says, or beside it.

    Yields:
        The detector's name, what differs (empty where all is the same), and what is to be known besides.

    Raises:
        EvalError: no such file, an input that is not there.
    """
    from dfeval.evaluation import Settings, evaluate

    for stated in _read(path):
        about = stated[KEY]
        try:
            found, changed = _inputs(about["inputs"], path.parent, folder)
            protocol = _protocol(about["reading"]["protocol"], found["protocol"])
            scores = load_scores(found["scores"], **about["reading"]["scores"])
            options = about["settings"]
            settings = Settings(
                by=options["by"],
                threshold=options["threshold"],
                threshold_rule=options["threshold_rule"],
                costs=DcfCosts(**options["costs"]),
                asv=AsvRates(**options["asv"]) if options["asv"] else None,
                tdcf_costs=TdcfCosts(**options["tdcf_costs"]),
                n_replicates=options["n_replicates"],
                seed=options["seed"],
            )
        except (KeyError, TypeError) as error:
            raise EvalError(f"{path}: its provenance is not that of this version: {error}") from None
        again = json.loads(json.dumps(evaluate(join(scores, protocol), settings).as_dict()))
        now = again.pop(KEY)
        expected = {name: value for name, value in stated.items() if name != KEY}
        yield stated["detector"], [*changed, *_differences("", expected, again)], list(_other_versions(about, now))


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvalError(f"{path}: can't be read as figures: {error}") from None
    evaluations = content if isinstance(content, list) else [content]
    if not evaluations or not all(isinstance(one, dict) and isinstance(one.get(KEY), dict) for one in evaluations):
        raise EvalError(
            f"{path}: expected metrics.json of dfeval report, or what dfeval metrics --json prints, with a {KEY!r}"
        )
    return evaluations


def _inputs(
    stated: Sequence[Mapping[str, Any]], beside: Path, folder: Path | None
) -> tuple[dict[str, list[Path]], list[str]]:
    """Where each input lies, by its role, and those whose content is another."""
    found: dict[str, list[Path]] = {}
    changed = []
    for one in stated:
        name = Path(one["path"])
        places = [folder / name.name] if folder else [name, beside / name, beside / name.name]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise EvalError(f"{name}: is not there; say with --inputs DIR where the {one['role']} are")
        found.setdefault(one["role"], []).append(place)
        if (digest := input_of(one["role"], place)["sha256"]) != one["sha256"]:
            changed.append(f"{place}: expected the sha256 {one['sha256'][:16]}…, found {digest[:16]}…")
    return found, changed


def _protocol(reading: Mapping[str, Any], paths: Sequence[Path]) -> Protocol:
    columns = ProtocolColumns(**reading["columns"])
    return load_protocol(paths, reading["format"], reading["phase"], columns=columns, where=reading["where"])


def input_of(role: str, path: Path) -> dict[str, Any]:
    """What an input file is: its role, path, size and digest; EvalError where it can't be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"role": role, "path": str(path), "bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        raise EvalError(f"{path}: can't be read once more: {error.strerror}") from None


def _differences(place: str, expected: Any, found: Any) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in dict.fromkeys([*expected, *found]):
            yield from _differences(f"{place}.{name}" if place else name, expected.get(name), found.get(name))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (old, new) in enumerate(zip(expected, found, strict=True)):
            yield from _differences(f"{place}[{index}]", old, new)
    elif not _is_same(expected, found):
        yield f"{place}: expected {expected!r}, found {found!r}"


def _is_same(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(expected == found)


def _other_versions(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = ({**about["packages"], **{k: about[k] for k in ("dfserve", "python")}} for about in (then, now))
    for name, stated in old.items():
        if stated != new.get(name):
            yield f"made with {name} {stated}, recomputed with {new.get(name)}"


def version_of(package: str) -> str | None:
    """An installed package's version; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return None
