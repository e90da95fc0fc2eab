"""Which detectors the server has, how it is, and a way to each of them."""

from typing import Any

from dfclient import Detector, ModelCard, RetryPolicy, Server
from dfclient.errors import ServerError
from dfclient.results import window_calibration
from dfcontract.calibration import Calibration
from dfcontract.live import detectors_among, live_name
from dfcontract.published import out_of_domain

STATUS_TIMEOUT_S = 5.0
AT_ONCE = RetryPolicy(wait_s=0.0, busy_s=0.0, slow_attempts=1)
# A person waits: what is away for longer is said, and the page asks again by itself when it is back.
SCORING = RetryPolicy(wait_s=3.0)


class Detectors:
    """Those of one Triton server.

    Args:
        url: HOST:PORT of its gRPC endpoint.

    Raises:
        InputError: no such address can be.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._asking = Server(url, timeout_s=STATUS_TIMEOUT_S, retry=AT_ONCE)
        self._scoring = Server(url, retry=SCORING)
        self._listening = Server(url)

    def close(self) -> None:
        """Close the connections."""
        for server in (self._asking, self._scoring, self._listening):
            server.close()

    def to_score(self, name: str) -> Detector:
        """A detector with the card of the moment: a server that has been exchanged is met anew each time."""
        return self._scoring.detector(name)

    def to_listen(self, name: str) -> Detector:
        """A detector for a live stream, which outlasts a restart of the server."""
        return self._listening.detector(name)

    def status(self) -> dict[str, Any]:
        """Whether the server answers, with which detectors; and its own words where something is away."""
        try:
            health = self._asking.health()
            cards = self._asking.cards()
        except ServerError as error:
            return {"url": self.url, "is_live": False, "reason": str(error), "detectors": []}
        models = {model.name: model for model in health.models}
        detectors = []
        for name in detectors_among(models):
            card = cards.get(name)
            takes_streams = live_name(name) in models and models[live_name(name)].is_ready
            if isinstance(card, ModelCard) and models[name].is_ready:
                detectors.append({**card_values(card), "is_ready": True, "reason": "", "takes_streams": takes_streams})
            else:
                reason = models[name].reason if card is None else str(card)
                waiting = "the server is loading or unloading it"
                detectors.append({"name": name, "is_ready": False, "reason": reason or waiting, "takes_streams": False})
        return {"url": self.url, "is_live": health.is_live, "reason": "", "detectors": detectors}


def card_values(card: ModelCard) -> dict[str, Any]:
    """What the page shows of a card."""
    return {
        "name": card.model,
        "version": card.version,
        "weights": card.weights,
        "is_random": card.is_random,
        "window_s": card.window_s,
        "window": card.window_words,
        "threshold": threshold_of(card, window_calibration(card)),
        "threshold_source": card.threshold_source,
        "checkpoint_sha256": card.checkpoint_sha256,
        "precision": card.precision,
        "licence": card.licence,
        "paper": card.paper,
        "published_result": card.published_result,
        "eers": [str(eer) for eer in card.eers],
        "out_of_domain": out_of_domain(card.eers, card.trained_on),
        "trained_on": card.trained_on,
        "score_kind": card.score_kind,
    }


def threshold_of(card: ModelCard, calibration: Calibration | None) -> float | None:
    """What scores are held against; None where nothing is: random weights, or a calibration of other cuts.

    Args:
        card: the model's.
        calibration: the card's, where it is for scores of this kind: of single windows, or pooled in some way.
    """
    if card.is_random:
        return None
    if card.calibration is not None:
        return None if calibration is None else calibration.threshold.score
    return card.threshold
