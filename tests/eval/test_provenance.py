"""Figures that can be had once more, and inputs that are not those they were."""

import hashlib
import json

import pytest

from dfeval.__main__ import main
from dfeval.errors import EvalError
from dfeval.provenance import verify


@pytest.fixture
def figures(small_data, tmp_path, capsys):
    """What `dfeval metrics --json` prints with as many options as there are, in a file."""
    scores, protocol = small_data
    words = f"metrics {scores} --protocol {protocol} --where language=pt,en --invert --name mine --threshold 0.5 "
    words += "--by language --c-fa 5 --seed 3 --bootstrap 20 --asv-rates 0.02 0.02 0.4 --json"
    assert main(words.split()) == 0
    path = tmp_path / "figures.json"
    path.write_text(capsys.readouterr().out)
    return path


def test_inputs_versions_and_choices_are_named(figures, small_data):
    about = json.loads(figures.read_text())["provenance"]
    assert [(one["role"], one["sha256"]) for one in about["inputs"]] == [
        (role, hashlib.sha256(path.read_bytes()).hexdigest())
        for role, path in zip(("scores", "protocol"), small_data, strict=True)
    ]
    assert about["packages"]["numpy"]
    assert (about["settings"]["seed"], about["settings"]["by"]) == (3, ["language"])
    assert about["reading"]["scores"]["invert"]


def test_the_same_files_give_the_same_figures(figures, capsys):
    assert list(verify(figures)) == [("mine", [], [])]
    assert main(["verify", str(figures)]) == 0
    assert capsys.readouterr().out == "mine: the same figures\n"


def test_a_changed_score_shows(figures, small_data, capsys):
    scores = small_data[0]
    text = scores.read_text()
    first = text.splitlines()[1].split(",")[1]
    scores.write_text(text.replace(first, "9.5", 1))
    ((_, differences, _),) = verify(figures)
    assert "scores.csv: expected the sha256" in differences[0]
    assert any(difference.startswith("pooled.auc: expected 0.") for difference in differences)
    assert main(["verify", str(figures)]) == 1
    assert "differences" in capsys.readouterr().out


def test_a_changed_figure_and_another_version_show(figures):
    content = json.loads(figures.read_text())
    content["pooled"]["eer"] += 1e-6
    content["provenance"]["packages"]["numpy"] = "1.0"
    figures.write_text(json.dumps([content]))
    ((_, differences, notes),) = verify(figures)
    assert [difference.split(":")[0] for difference in differences] == ["pooled.eer"]
    assert notes[0].startswith("made with numpy 1.0, recomputed with ")


def test_moved_inputs_are_found(figures, small_data, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in small_data:
        path.rename(elsewhere / path.name)
    with pytest.raises(EvalError, match=r"is not there; say with --inputs DIR where the scores are"):
        list(verify(figures))
    assert list(verify(figures, elsewhere)) == [("mine", [], [])]


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", '{"provenance": {}, "detector": "x"}'])
def test_what_holds_no_figures_is_named(content, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(EvalError, match=r"metrics.json: (expected metrics.json|can't be read|its provenance)"):
        list(verify(path))
