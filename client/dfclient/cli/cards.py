"""`dfclient models --full`: all that a model's card says, for people."""

from collections.abc import Iterator
from textwrap import wrap

from dfcontract.card import SCORE_KINDS, ModelCard
from dfcontract.published import out_of_domain
from dfcontract.text import printable

LABEL_WIDTH, TEXT_WIDTH = 15, 90


def full(card: ModelCard, *, takes_streams: bool) -> str:
    """The card, a heading and a line or more a fact; what it does not state is left out.

    Args:
        card: as the server gave it.
        takes_streams: whether its live sibling is ready.
    """
    weights = card.weights.upper() if card.is_random else card.weights
    lines = [f"{card.model}, version {card.version}: {card.detector} with {weights} weights"]
    for label, text in _facts(card, takes_streams=takes_streams):
        first, *more = wrap(printable(text), TEXT_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"  {label:<{LABEL_WIDTH}}{first}", *(f"  {'':<{LABEL_WIDTH}}{line}" for line in more)]
    return printable(lines[0]) + "\n" + "\n".join(lines[1:])


def _facts(card: ModelCard, *, takes_streams: bool) -> Iterator[tuple[str, str]]:
    """Label and text, in order of use."""
    yield "score", f"{card.score_kind}: {SCORE_KINDS[card.score_kind]}; higher sounds more bona fide"
    yield "threshold", _threshold(card)
    window = f"{card.window_samples:,} samples, {card.window_s:.3f} s at {card.sample_rate_hz:,} Hz"
    if card.clip is None:
        yield "window", window
    else:
        whole = f"{card.clip.least:,} to {card.clip.most:,} samples at {card.sample_rate_hz:,} Hz"
        yield "window", f"the whole clip, {whole}; of a longer one the mean of windows of {card.clip.most:,} samples"
        yield "sliding, live", f"{window}: not what its authors score"
    yield "live", "yes" if takes_streams else "no"
    if card.preparation:
        yield "preparation", card.preparation
    yield "EER", "none is published for these weights" if not card.eers else str(card.eers[0])
    yield from (("", str(eer)) for eer in card.eers[1:])
    if worth := out_of_domain(card.eers, card.trained_on):
        yield "in short", worth
    yield from (("elsewhere", str(transfer)) for transfer in card.transfers)
    yield from (
        (label, text)
        for label, text in (
            ("trained on", card.trained_on),
            ("published", card.published_result),
            ("paper", card.paper),
            ("licence", card.licence),
            ("checkpoint", card.checkpoint_source),
            ("sha256", card.checkpoint_sha256),
            ("format", " ".join(word for word in (card.format, card.precision) if word)),
            ("precision", card.precision_note),
            ("drift", card.drift),
        )
        if text
    )


def _threshold(card: ModelCard) -> str:
    if card.threshold is None:
        return "none is stated"
    whose = "of the calibration in the card" if card.calibration is not None else "set on"
    return f"{card.threshold:g}, {whose} {card.threshold_source or 'unnamed data'}"
