"""What a model repository holds, as far as serving it must know."""

from pathlib import Path
from typing import Any

from dfdeploy import folders
from dfdeploy.errors import RepositoryUnusable


def built_models(repository: Path) -> list[str]:
    """Names of the models in a repository.

    Raises:
        RepositoryUnusable: there are none.
    """
    models = sorted(config.parent.name for config in repository.glob("*/config.pbtxt"))
    if not models:
        raise RepositoryUnusable(f"no model in {repository}; build one: make export (or dfexport build aasist)")
    return models


def read_config(model_dir: Path) -> Any:
    """A model's configuration, Triton's ``ModelConfig`` message.

    Raises:
        RepositoryUnusable: there is none, or it is not one.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    path = model_dir / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise RepositoryUnusable(f"{path}: can't be read as a model configuration: {error}; build it again") from None


def parameters(model_dir: Path) -> dict[str, str]:
    """The parameters in a model's configuration, its card among them."""
    return {key: value.string_value for key, value in read_config(model_dir).parameters.items()}


def check_backends(repository: Path) -> None:
    """Refuse a model that no backend of the embedded server can load, before anything is loaded.

    Raises:
        RepositoryUnusable: names the model, its backend, and the known ones.
    """
    known = [*folders.backend_names(), "python"]
    for model in built_models(repository):
        backend = read_config(repository / model).backend
        if backend not in known:
            raise RepositoryUnusable(
                f"{model} is for the backend {backend!r}, and the embedded server has {', '.join(known)}; "
                "build it again with dfexport, or serve it with --server docker"
            )
