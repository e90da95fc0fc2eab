"""The page of each detector says what the registry and the network's code say."""

import re

import pages
import pytest
from maker import architectures, cards

from dfexport.detectors import antideepfake, df_arena
from dfexport.layers import xlsr
from dfexport.precision import PRECISIONS
from dfexport.registry import DETECTORS

CONFIGS = {
    "xlsr_300m": xlsr.XLSR_300M,
    "xlsr_1b": xlsr.XLSR_1B,
    "xlsr_2b": xlsr.XLSR_2B,
    "mms_300m": xlsr.XLSR_300M,
    "mms_1b": xlsr.XLSR_1B,
    "w2v_small": xlsr.W2V_BASE,
    "w2v_large": xlsr.XLSR_300M,
    "hubert_xlarge": xlsr.HUBERT_XLARGE,
}


@pytest.fixture(params=DETECTORS)
def spec(request):
    return DETECTORS[request.param]


def test_the_picture_has_the_encoder_that_the_code_builds(spec):
    described = architectures.architecture(spec)
    if not described.encoder:
        assert spec.family.startswith("aasist:")
        return
    row, config = architectures.rows()["encoders"][described.encoder], CONFIGS[described.encoder]
    assert (row["layers"], row["width"]) == (config.layers, config.hidden)
    assert architectures.frames(spec.window_samples) == config.frames(spec.window_samples)
    family = xlsr_config(spec)
    assert family is None or family == config


def xlsr_config(spec):
    """The encoder's size where the family's partial states it."""
    module, _, name = spec.family.partition(":")
    homes = {"antideepfake": antideepfake, "df_arena": df_arena}
    return getattr(homes[module], name).shapes.args[0] if module in homes else None


def test_a_page_has_each_published_figure_once_with_its_source(spec):
    text = next(card.text for card in cards.all_cards() if card.title == spec.name)
    for eer in (eer for eer in spec.eers if eer.source != cards.MEASURED):
        assert len(re.findall(rf"^\| {re.escape(eer.data)} \| {eer.percent:g} % \|", text, re.MULTILINE)) >= 1
    for fact in (f"{spec.parameters:,}", spec.checkpoint.licence, spec.checkpoint.page, spec.paper):
        assert fact in text
    assert "None" not in text
    shown, measured = text.partition("## Measured here")[::2]
    for eer in spec.eers:
        assert f"{eer.percent:g} % on {eer.data}" in measured or eer.source != cards.MEASURED
    assert cards.MEASURED not in shown
    assert cards.MEASURED in {eer.source for eer in DETECTORS["aasist"].eers}
    for precision in PRECISIONS:
        offered = re.search(rf"^\| {precision} \| (?!not offered)", measured, re.MULTILINE)
        assert bool(offered) == (precision in spec.precisions)
    assert text.count("<svg ") == text.count("</svg>") == 1
    assert list(pages.command_lines(text)) == [["dfexport", "build", spec.name]]
    assert pages.indented(text) == []


def test_a_citation_is_that_of_the_paper(spec):
    entry = cards.citations()[architectures.architecture(spec).cite]
    arxiv = re.search(r"arXiv ([\d.]+)", spec.paper)
    assert (re.findall(r"eprint\s*= \{([\d.]+)\}", entry) or [None]) == ([arxiv[1]] if arxiv else [None])
    first_author = re.search(r"author\s*= \{+(\w+)", entry)[1]
    assert first_author == spec.paper.split()[0].rstrip(",")


def test_a_detector_without_a_row_is_named():
    stranger = DETECTORS["aasist"].__class__(**{**vars(DETECTORS["aasist"]), "name": "new", "family": "new:NEW"})
    with pytest.raises(KeyError, match=r"new: docs/maker/architectures.toml has no row for it"):
        architectures.architecture(stranger)
