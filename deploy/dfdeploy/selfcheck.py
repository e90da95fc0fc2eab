"""Does a loaded model answer what it answered when it was built?

Triton calls a model ready once it has loaded, also where its answers are wrong or empty: with NumPy 2 and the own
conversion of tensors of Triton 24.10, for one, all of them are empty.
"""

from pathlib import Path

import numpy as np

from dfclient import Detector
from dfclient.calls import check_identity, check_score
from dfclient.credentials import Credentials
from dfclient.errors import DfclientError, ModelChanged
from dfclient.transport import Transport
from dfcontract.card import ModelCard
from dfcontract.errors import CardError
from dfcontract.live import LIVE_OF
from dfcontract.tensors import WARMUP_FILE, Samples
from dfcontract.text import printable
from dfdeploy.errors import WrongAnswers
from dfdeploy.repository import built_models

TIMEOUT_S = 120.0


def wrong_models(
    url: str, repository: Path, models: list[str], credentials: Credentials | None = None
) -> dict[str, str]:
    """Send each model its warm-up waveform and compare the logits with its card; model → what is wrong, if anything."""
    wrong = {}
    transport = Transport(url, timeout_s=TIMEOUT_S, credentials=credentials)
    try:
        for model in models:
            try:
                check_model(transport, repository, model)
            except WrongAnswers as error:
                wrong[model] = str(error)
    finally:
        transport.close()
    return wrong


def report(url: str, repository: Path, credentials: Credentials | None = None) -> bool:
    """Print a line for each model of a server: whether it answers what it answered when it was built; True if all do.

    Args:
        url: HOST:PORT of its gRPC endpoint.
        repository: what it serves, or a copy: the waveforms to send lie there.
        credentials: what it asks of a client.

    Raises:
        DfclientError: no server, or none that is ready.
        RepositoryUnusable: no repository.
    """
    built = built_models(repository)
    transport = Transport(url, timeout_s=TIMEOUT_S, credentials=credentials)
    try:
        served = sorted({state.name for state in transport.model_states() if state.state == "READY"})
    finally:
        transport.close()
    wrong = wrong_models(url, repository, served, credentials)
    for model in served:
        print(printable(f"{model} {wrong.get(model, 'answers right')}"))
    missing = sorted({*built} - {*served})
    for model in missing:
        print(f"{model} is in {repository} and not served")
    return bool(served) and not wrong and not missing


def check_model(transport: Transport, repository: Path, model: str) -> None:
    """Compare a detector's answer to a window; a live model's to the same window as a stream.

    Raises:
        WrongAnswers: another answer, an empty one, or none.
    """
    try:
        parameters = transport.model_info(model).parameters
        live_of = parameters.get(LIVE_OF)
        waveform_path = repository / (live_of or model) / WARMUP_FILE
        parameters = transport.model_info(live_of).parameters if live_of else parameters
        card = ModelCard.from_parameters(live_of or model, "", parameters)
        expected = card.self_check
        if expected is None or not waveform_path.is_file():
            raise WrongAnswers(
                f"can't be checked: it has no self_check_logits in its card, or no {waveform_path}; "
                "build it with dfexport"
            )
        waveform = np.fromfile(waveform_path, "<f4")
        if len(waveform) != card.window_samples:
            raise WrongAnswers(
                f"can't be checked: expected {card.window_samples} samples in {waveform_path}, found {len(waveform)}; "
                "build it again"
            )
        logits = _streamed(transport, live_of, waveform) if live_of else _inferred(transport, card, waveform)
    except CardError as error:
        raise WrongAnswers(f"can't be checked: {error}") from None
    except ModelChanged as error:
        raise WrongAnswers(f"answers with another graph than its card's: {error}") from None
    except DfclientError as error:
        raise WrongAnswers(f"is loaded but does not answer: {error}") from None
    wanted = np.array(expected.logits, np.float32)
    difference = float(np.abs(logits - wanted).max())
    if not difference <= expected.tolerance:
        raise WrongAnswers(
            f"answers wrong: logits {_text(logits)} for its self-check, {_text(wanted)} when it was built "
            f"(tolerance {expected.tolerance}); build it again, and check the server's environment"
        )


def _inferred(transport: Transport, card: ModelCard, waveform: Samples) -> Samples:
    answer = transport.infer(card.model, "", waveform)
    check_identity(card, answer.identity)
    check_score(card, answer.logits, answer.score)
    return answer.logits


def _streamed(transport: Transport, detector: str, waveform: Samples) -> Samples:
    with Detector(transport.url, detector, transport=transport) as opened, opened.stream() as live:
        live.send(waveform)
        live.end()
        (window,) = live
    return np.array(window.logits, np.float32)


def _text(logits: Samples) -> str:
    return " ".join(f"{value:.6g}" for value in logits)
