"""Does a loaded model answer what it answered when it was built?

Triton calls a model ready once it has loaded. With numpy 2 in the server's environment, for one, everything loads and
every answer is empty.
"""

from pathlib import Path

import numpy as np

from dfclient.errors import DfclientError
from dfclient.transport import Transport
from dfdeploy.errors import WrongAnswers

TIMEOUT_S = 120.0


def check_models(url: str, repository: Path, models: list[str]) -> None:
    """Send each model its warm-up waveform and compare the logits with its card.

    Raises:
        WrongAnswers: another answer, an empty one, or none.
    """
    transport = Transport(url, timeout_s=TIMEOUT_S)
    try:
        for model in models:
            _check(transport, repository, model)
    finally:
        transport.close()


def _check(transport: Transport, repository: Path, model: str) -> None:
    waveform_path = repository / model / "warmup" / "WAVEFORM"
    try:
        card = transport.model_info(model).parameters
        if "self_check_logits" not in card or not waveform_path.is_file():
            raise WrongAnswers(
                f"{model} can't be checked: it has no self_check_logits in its card, or no {waveform_path}; "
                "build it with dfexport"
            )
        logits, _ = transport.infer(model, "", np.fromfile(waveform_path, "<f4"))
    except DfclientError as error:
        raise WrongAnswers(f"{model} is loaded but does not answer: {error}") from None
    expected = np.array(card["self_check_logits"].split(), np.float32)
    difference = float(np.abs(logits - expected).max())
    if not difference <= float(card["self_check_tolerance"]):
        raise WrongAnswers(
            f"{model} answers wrong: logits {_text(logits)} for its self-check, {_text(expected)} when it was built "
            f"(tolerance {card['self_check_tolerance']}); build it again, and check the server's environment"
        )


def _text(logits: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in logits)
