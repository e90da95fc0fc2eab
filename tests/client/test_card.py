"""The model card as the client reads it."""

import pytest

from dfclient.errors import ContractError


def test_what_the_configuration_says(card):
    made = card(licence="MIT", paper="A paper", precision="fp16", score_kind="log_softmax", window_samples="64600")
    assert (made.model, made.version, made.detector) == ("toy", "1", "toy")
    assert (made.licence, made.paper, made.precision, made.score_kind) == ("MIT", "A paper", "fp16", "log_softmax")
    assert (made.threshold, made.threshold_source) == (0.25, "a made-up set")
    assert made.window_s == 4.0375
    assert not made.is_random
    assert card(weights="random").is_random
    assert card(threshold="").threshold is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate_hz": ""},
        {"window_samples": "0"},
        {"window_samples": "-5"},
        {"window_samples": "4.0"},
        {"weights": ""},
        {"weights": "good"},
        {"threshold": "high"},
        {"threshold": "nan"},
    ],
)
def test_a_wrong_card_is_refused_and_named(card, wrong):
    with pytest.raises(ContractError, match=next(iter(wrong))):
        card(**wrong)
