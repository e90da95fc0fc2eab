"""The tables of README and docs are what the code's rows say."""

import importlib.util
from pathlib import Path

import notebooks
import pytest

from dfeval.figures import METRICS, Metric

PROGRAM = Path(__file__).resolve().parents[2] / "docs" / "tables.py"


@pytest.fixture(scope="module")
def tables():
    """docs/tables.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("tables", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_table_is_stale(tables):
    assert [page.name for page, _ in tables.stale()] == [], "run python docs/tables.py"


def test_no_notebook_is_stale():
    stale = [path.name for path, text in notebooks.notebooks() if path.read_text() != text]
    assert stale == [], "run python docs/notebooks.py"


def test_every_table_stands_somewhere(tables):
    text = "".join(page.read_text() for page in tables.pages())
    assert {block["name"] for block in tables.BLOCK.finditer(text)} == set(tables.TABLES)


def test_a_new_row_makes_its_page_stale_and_the_check_says_which(tables, monkeypatch, capsys):
    monkeypatch.setitem(METRICS, "new", Metric("a|b", False, "made up", "", "", lambda basis: None))
    assert tables.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/evaluation.md: stale: run python docs/tables.py\n"
    ((_, text),) = tables.stale()
    assert "\n| a\\|b | made up | |\n<!-- end -->" in text


def test_what_stands_around_a_table_stays(tables):
    page = "before\n<!-- table: metrics -->\nold\n<!-- end -->\nafter\n"
    filled = tables.filled(page, "page.md")
    assert filled == f"before\n<!-- table: metrics -->\n{tables.TABLES['metrics']()}<!-- end -->\nafter\n"
    assert tables.filled(filled, "page.md") == filled


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- table: nobody -->\n<!-- end -->", "page.md: table 'nobody' is unknown; known are detectors, "),
        ("<!-- table: metrics -->\n| a |\n", "page.md: expected each"),
        ("<!-- table: metrics -->\n<!-- table: metrics -->\n<!-- end -->", "page.md: expected each"),
    ],
)
def test_a_wrong_mark_is_named(page, message, tables):
    with pytest.raises(ValueError, match=message):
        tables.filled(page, "page.md")
