"""A score in words: on which side of which threshold it lies, and what that does not say."""

import math
from dataclasses import dataclass

from dfclient import Score
from dfcontract.calibration import BONA_FIDE
from dfcontract.card import ModelCard
from dfcontract.windows import SLIDING

ABOVE, BELOW, NONE, RANDOM = "above", "below", "none", "random"
OTHER_DATA = (
    "Recordings unlike that data, in language, microphone, codec or kind of synthesis, are misjudged far more often: "
    "AASIST errs on 0.8 % of its own test set and on about 35 % of recordings of other origin."
)
NO_PROOF = "It is one model's opinion of the sound: a reason to listen closer, never a proof."


@dataclass(frozen=True)
class Verdict:
    """What a person reads.

    Attributes:
        side: `above` or `below` the threshold; `none`: there is none to use; `random`: untrained weights.
        headline: a few words.
        meaning: a sentence or two.
        limits: what it does not say, a sentence each.
    """

    side: str
    headline: str
    meaning: str
    limits: tuple[str, ...]


def verdict_of(score: Score) -> Verdict:
    """The verdict on a recording: by the calibration that suits it, else by the card's threshold, else none."""
    card = score.card
    if card.is_random:
        return Verdict(
            RANDOM,
            "No verdict: random weights",
            f"{card.model} was built with random weights and has learned nothing. Its scores show that the machinery "
            "works; they say nothing about any recording.",
            (),
        )
    if score.calibration is not None:
        return _calibrated(score)
    if card.calibration is not None:
        return Verdict(
            NONE,
            "No verdict: cut otherwise",
            f"The calibration of {card.model} was fitted on recordings that were cut like this: "
            f"{card.calibration.cutting}. It says nothing about scores of others.",
            (NO_PROOF,),
        )
    if card.threshold is None:
        meaning = f"The card of {card.model} states none. A higher score sounds more bona fide to it."
        return Verdict(NONE, "No verdict: no threshold", meaning, (NO_PROOF,))
    return _against_threshold(score, card, card.threshold)


def _against_threshold(score: Score, card: ModelCard, threshold: float) -> Verdict:
    is_above = score.score >= threshold
    likeness = "bona fide speech than like the spoofed" if is_above else "spoofed speech than like the bona fide"
    source = card.threshold_source or "data that its card does not name"
    limits = [f"The threshold {threshold:g} was set on {source}, and holds for data like that.", OTHER_DATA]
    if len(score.windows) > 1:
        limits.append(
            f"Such thresholds are set on one window a recording; this is the {_pool_words(score.pool or 'mean')} of "
            f"{len(score.windows)} windows."
        )
    if score.mode == SLIDING and card.sliding_note:
        limits.append(f"It heard {card.sliding_note}.")
    return Verdict(
        ABOVE if is_above else BELOW,
        f"{'Above' if is_above else 'Below'} the threshold",
        f"To {card.model} it sounds more like {likeness} of its threshold's data.",
        (*limits, NO_PROOF),
    )


def _calibrated(score: Score) -> Verdict:
    calibration, llr = score.calibration, score.llr
    if calibration is None or llr is None:
        raise ValueError("expected a score with a calibration")
    is_above = score.verdict == BONA_FIDE
    factor = math.exp(min(abs(llr), 700.0))
    favoured = "bona fide" if llr >= 0 else "spoofed"
    limits = (
        f"The calibration was fitted on {calibration.fitted_on['protocol']}, and holds for data like that; its "
        f"threshold: {calibration.threshold.rule}.",
        OTHER_DATA,
        NO_PROOF,
    )
    return Verdict(
        ABOVE if is_above else BELOW,
        "Bona fide by the calibration" if is_above else "Spoof by the calibration",
        f"Such a score is {_times(factor)} as likely for {favoured} speech as for the other (LLR {llr:+.2f}). If both "
        f"were equally likely beforehand, it is bona fide with a probability of {_percent(llr)}; other odds "
        "beforehand give another figure.",
        limits,
    )


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor < 100 else f"{factor:,.0f} times" if factor < 1e6 else "over a million times"


def _percent(llr: float) -> str:
    """The probability of bona fide speech at even odds; never quite none or all, which no figure could show."""
    percent = 100 / (1 + math.exp(min(-llr, 700.0)))
    return "over 99.9 %" if percent > 99.9 else "under 0.1 %" if percent < 0.1 else f"{percent:.1f} %"


def _pool_words(pool: str) -> str:
    if pool in ("mean", "min"):
        return {"mean": "mean", "min": "lowest score"}[pool]
    number = pool[1:]
    ending = "th" if number[-2:-1] == "1" or "." in number else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
    return f"{number}{ending} percentile"
