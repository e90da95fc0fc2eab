"""All of a card, as people read it."""

import csv
from pathlib import Path

import pytest

from dfclient.cli.cards import full
from dfclient.cli.progress import Progress
from dfclient.cli.report import Tally, heading, model_row, summary
from dfcontract.card import SCORE_KINDS, ModelCard
from dfexport.card import model_card
from dfexport.registry import DETECTORS


def card_of(name: str) -> ModelCard:
    return model_card(name, DETECTORS[name], weights="pretrained", sha256="ab" * 32, source="a page")


@pytest.mark.parametrize("name", DETECTORS)
def test_every_published_figure_and_its_source_is_printed(name: str) -> None:
    card = card_of(name)
    lines = " ".join(full(card, takes_streams=True).split())
    for eer in card.eers:
        assert f" {eer} " in f"{lines} "
    for transfer in card.transfers:
        assert f"elsewhere {transfer} " in lines
    assert SCORE_KINDS[card.score_kind] in lines
    assert f"trained on {card.trained_on}" in lines
    assert card.licence in lines
    assert ("none is stated" in lines) == (card.threshold is None)


def test_a_detector_of_whole_clips_says_what_it_scores() -> None:
    card = card_of("antideepfake_xlsr_1b")
    lines = " ".join(full(card, takes_streams=True).split())
    assert "the whole clip, 400 to 208,000 samples at 16,000 Hz; of a longer one the mean of windows of" in lines
    assert "sliding, live 64,600 samples" in lines
    assert model_row(card, takes_streams=True)[2] == "clip, up to 13 s"
    assert "figures are not of these scores" in heading(card, "sliding")
    assert "figures are not of these scores" not in heading(card) + heading(card_of("aasist"), "sliding")


def test_the_summary_says_how_such_scores_did_elsewhere() -> None:
    card, tally = card_of("aasist"), Tally(scored=1)
    *_, rates, threshold = summary(
        tally, Progress(1, results_on_stdout=True), [card], skipped=0, rows=None
    ).splitlines()
    assert rates.endswith("was not trained on: 12.35 % (ASVspoof 2021 LA, all phases) to 57.61 % (SONAR)")
    assert threshold == (
        "a threshold set on ASVspoof 2019 LA eval rejected 58.5 % of the bona fide and accepted 18.1 % of the spoof "
        "recordings of 301 clips of 16 other systems, where the equal error rate is 34.6 % (measured for dfserve)"
    )


def test_the_measured_transfer_is_that_of_the_authors_own_answers() -> None:
    answers = Path(__file__).parents[3] / "shared" / "golden" / "aasist_corpus_logits.csv"
    if not answers.is_file():
        pytest.skip(f"{answers} is not there")
    with answers.open() as file:
        rows = list(csv.DictReader(file))
    card = card_of("aasist")
    accepted: dict[str, list[bool]] = {"bonafide": [], "spoof": []}
    assert card.threshold is not None
    for row in rows:
        accepted[row["label"]].append(float(row["AASIST_logit_bonafide"]) >= card.threshold)
    bonafide, spoof = (100 * sum(those) / len(those) for those in accepted.values())
    (transfer,) = card.transfers
    assert (round(100 - bonafide, 1), round(spoof, 1)) == (transfer.rejected_percent, transfer.accepted_percent)


def test_other_weights_than_the_published_have_no_published_figures() -> None:
    card = model_card("mine", DETECTORS["aasist"], weights="custom", sha256="ab" * 32, source="mine.pth")
    assert card.eers == ()
    assert "EER            none is published for these weights" in full(card, takes_streams=False)


def test_a_line_can_not_break_out_of_its_place() -> None:
    card = ModelCard("m", "1", "d", 16_000, 64_600, "custom", licence="free\x1b[2J\nthreshold 0")
    assert "free\\x1b[2J\\nthreshold 0" in full(card, takes_streams=False)
