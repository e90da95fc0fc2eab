"""What the page shows of a card."""

from dfexport.card import model_card
from dfexport.registry import find
from dfpage.detectors import card_values


def test_the_page_says_what_a_score_is_worth() -> None:
    values = card_values(model_card("a", find("aasist"), weights="pretrained", sha256="ab" * 32, source="a page"))
    assert values["eers"][0] == "ASVspoof 2019 LA eval 0.83 % (trained on this set)"
    assert values["out_of_domain"].endswith("to 57.61 % (SONAR)")
    assert values["trained_on"] == find("aasist").trained_on
