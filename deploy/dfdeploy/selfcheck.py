"""Does a loaded model answer what it answered when it was built?

Triton calls a model ready once it has loaded, also where its answers are wrong or empty: with NumPy 2 and the own
conversion of tensors of Triton 24.10, for one, all of them are empty.
"""

from pathlib import Path

import numpy as np

from dfclient import Detector
from dfclient.errors import DfclientError
from dfclient.transport import Transport
from dfcontract.card import ModelCard
from dfcontract.errors import CardError
from dfcontract.live import LIVE_OF
from dfcontract.tensors import WARMUP_FILE, Samples
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
    """Compare a detector's answer to a window; a live model's to the same window as a stream."""
    try:
        parameters = transport.model_info(model).parameters
        live_of = parameters.get(LIVE_OF)
        waveform_path = repository / (live_of or model) / WARMUP_FILE
        parameters = transport.model_info(live_of).parameters if live_of else parameters
        expected = ModelCard.from_parameters(live_of or model, "", parameters).self_check
        if expected is None or not waveform_path.is_file():
            raise WrongAnswers(
                f"{model} can't be checked: it has no self_check_logits in its card, or no {waveform_path}; "
                "build it with dfexport"
            )
        waveform = np.fromfile(waveform_path, "<f4")
        logits = _streamed(transport, live_of, waveform) if live_of else transport.infer(model, "", waveform)[0]
    except CardError as error:
        raise WrongAnswers(f"{model} can't be checked: {error}") from None
    except DfclientError as error:
        raise WrongAnswers(f"{model} is loaded but does not answer: {error}") from None
    wanted = np.array(expected.logits, np.float32)
    difference = float(np.abs(logits - wanted).max())
    if not difference <= expected.tolerance:
        raise WrongAnswers(
            f"{model} answers wrong: logits {_text(logits)} for its self-check, {_text(wanted)} when it was built "
            f"(tolerance {expected.tolerance}); build it again, and check the server's environment"
        )


def _streamed(transport: Transport, detector: str, waveform: Samples) -> Samples:
    with Detector(transport.url, detector, timeout_s=TIMEOUT_S) as opened, opened.stream() as live:
        live.send(waveform)
        live.end()
        (window,) = live
    return np.array(window.logits, np.float32)


def _text(logits: Samples) -> str:
    return " ".join(f"{value:.6g}" for value in logits)
