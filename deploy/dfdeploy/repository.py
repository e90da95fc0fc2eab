"""What a model repository holds, as far as serving it must know."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfcontract.card import ModelCard
from dfcontract.errors import CardError
from dfcontract.live import LIVE_OF, SUFFIX
from dfdeploy import folders
from dfdeploy.errors import RepositoryUnusable

RANDOM_SUFFIX = "_random"  # of the repository that dfexport builds models with random weights into


def built_models(repository: Path) -> list[str]:
    """Names of the models in a repository.

    Raises:
        RepositoryUnusable: there are none.
    """
    models = sorted(config.parent.name for config in repository.glob("*/config.pbtxt"))
    if models:
        return models
    advice = "build one: make export (or dfexport build aasist)"
    untrained = repository.with_name(f"{repository.name}{RANDOM_SUFFIX}")
    if any(untrained.glob("*/config.pbtxt")):
        advice += f", or serve those with random weights: make serve WEIGHTS=random (--repository {untrained.name})"
    raise RepositoryUnusable(f"no model in {repository}; {advice}")


def read_config(model_dir: Path, profile: str = "") -> Any:
    """A model's configuration, Triton's ``ModelConfig`` message; that of a profile, where it has one of its own.

    Raises:
        RepositoryUnusable: there is none, or it is not one.
    """
    own = model_dir / "configs" / f"{profile}.pbtxt"
    return read_config_file(own if profile and own.is_file() else model_dir / "config.pbtxt")


def read_config_file(path: Path) -> Any:
    """The same of a file.

    Raises:
        RepositoryUnusable: there is none, or it is not one.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise RepositoryUnusable(f"{path}: can't be read as a model configuration: {error}; build it again") from None


def parameters(model_dir: Path) -> dict[str, str]:
    """The parameters in a model's configuration, its card among them."""
    return {key: value.string_value for key, value in read_config(model_dir).parameters.items()}


def unusable_models(repository: Path, models: list[str]) -> dict[str, str]:
    """Models that can't be served, each with the reason: found before anything is loaded.

    A live model can't be served without its detector.
    """
    reasons: dict[str, str] = {}
    for model in sorted(models, key=lambda name: (name.endswith(SUFFIX), name)):  # detectors first
        try:
            _check(repository, model, reasons)
        except (RepositoryUnusable, CardError) as error:
            reasons[model] = f"can't be served: {error}"
    return reasons


def _check(repository: Path, model: str, unusable: Mapping[str, str]) -> None:
    config = read_config(repository / model)
    known = [*folders.backend_names(), "python"]
    if config.backend not in known:
        raise RepositoryUnusable(
            f"it is for the backend {config.backend!r}, and the embedded server has {', '.join(known)}; "
            "build it again with dfexport, or serve it with --server docker"
        )
    card = parameters(repository / model)
    if detector := card.get(LIVE_OF):
        if detector in unusable or not (repository / detector).is_dir():
            raise RepositoryUnusable(f"it is of {detector}, which is not served")
    else:
        ModelCard.from_parameters(model, "", card)
