"""The Python that the documentation shows is Python, and imports names that exist."""

import ast
import importlib

import pages
import pytest

from dfexport import registry
from dfexport.family import family_of
from dfexport.rows import aasist

OURS = ("dfclient", "dfcontract", "dfdeploy", "dfeval", "dfexport")
BLOCKS = [
    pytest.param(block.text, id=f"{page.name}:{block.line}")
    for page in pages.pages()
    for block in pages.blocks(page.read_text())
    if block.language == "python"
]


@pytest.mark.parametrize("text", BLOCKS)
def test_it_is_python_and_its_imports_exist(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_row_of_the_how_to_is_one():
    page = pages.DOCS / "howto/detector.md"
    (row,) = [block.text for block in pages.blocks(page.read_text()) if block.title == "A row"]
    spec = eval(row, vars(aasist))
    assert spec.name not in registry.DETECTORS
    assert sum(len(shape) > 0 for shape in family_of(spec).known_shapes.values()) > 100
    assert spec.parameters == registry.DETECTORS["aasist_l"].parameters
