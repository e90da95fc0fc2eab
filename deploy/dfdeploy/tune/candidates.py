"""The models of a repository that hold the same weights as one of them, in other formats and precisions."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from dfcontract.card import CUSTOM, RANDOM, ModelCard
from dfcontract.live import LIVE_OF
from dfcontract.tensors import WARMUP_FILE
from dfdeploy.backends.common.options import THREADS_PARAMETER
from dfdeploy.errors import RepositoryUnusable
from dfdeploy.repository import built_models
from dfdeploy.tune.settings import as_built

FP32 = "fp32"
# What dfexport can build for a CPU; it says itself which of them a detector does not have.
FORMS = (("onnx", FP32), ("onnx", "int8"), ("openvino", FP32), ("openvino", "bf16"), ("openvino", "int8"))


@dataclass(frozen=True)
class Candidate:
    """A model that could be served for the same weights.

    Attributes:
        folder: the model's.
        backend: Triton's for it.
        card: the model's.
        max_batch_size: as it was built, whatever was tuned since.
    """

    folder: Path
    backend: str
    card: ModelCard
    max_batch_size: int

    @property
    def name(self) -> str:
        """The model's, at the server."""
        return self.folder.name

    @property
    def version_folder(self) -> Path:
        """The newest version's."""
        versions = [folder for folder in self.folder.iterdir() if folder.name.isdecimal()]
        return max(versions, key=lambda folder: int(folder.name))


def candidates(repository: Path, name: str) -> list[Candidate]:
    """The model of this name, then all others with its weights and window.

    Raises:
        RepositoryUnusable: there is no such detector; lists those that there are.
        CardError: a model has no card that can be read.
    """
    found = {model: one for model in built_models(repository) if (one := _candidate(repository / model)) is not None}
    if name not in found:
        raise RepositoryUnusable(f"no detector {name} in {repository}, only {', '.join(found) or 'none'}")
    wanted = _weights_of(found[name])
    return [found[name], *(one for model, one in found.items() if model != name and _weights_of(one) == wanted)]


def reference(found: list[Candidate]) -> Candidate:
    """The fp32 build that the others' answers are compared with: the first, ONNX before others.

    Raises:
        RepositoryUnusable: there is none.
    """
    in_fp32 = sorted(
        (one for one in found if one.card.precision in ("", FP32)), key=lambda one: one.card.format != "onnx"
    )
    if not in_fp32:
        card = found[0].card
        raise RepositoryUnusable(
            f"{found[0].name} has no fp32 build beside it to compare its answers with; build one: "
            f"{_command(card, f'{card.detector}_fp32')}"
        )
    return in_fp32[0]


def commands_for_others(found: list[Candidate]) -> list[str]:
    """The commands that build what is not there to be measured."""
    card = found[0].card
    there = {(one.card.format or "onnx", one.card.precision or FP32) for one in found}
    commands = []
    for form, precision in FORMS:
        if (form, precision) not in there:
            own = f"{card.detector}_{precision}" if form == "onnx" else f"{card.detector}_{form}_{precision}"
            commands.append(_command(card, own, f"--format={form}", f"--precision={precision}"))
    return commands


def _command(card: ModelCard, own: str, *options: str) -> str:
    """What builds another model of the same weights."""
    weights = {RANDOM: ["--weights=random"], CUSTOM: [f"--checkpoint={card.checkpoint_source}"]}.get(card.weights, [])
    return shlex.join(["dfexport", "build", card.detector, *weights, *options, f"--as={own}"])


def _candidate(folder: Path) -> Candidate | None:
    """None for what is no detector: a live model, or one of a backend that is not ours."""
    config = as_built(folder)
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    if LIVE_OF in parameters or config.backend not in THREADS_PARAMETER or not (folder / WARMUP_FILE).is_file():
        return None
    card = ModelCard.from_parameters(folder.name, "", parameters)
    return Candidate(folder, config.backend, card, max(config.max_batch_size, 1))


def _weights_of(one: Candidate) -> tuple[str, str, int]:
    return one.card.detector, one.card.checkpoint_sha256, one.card.window_samples
