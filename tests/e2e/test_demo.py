"""The demonstration, as `make demo` runs it on a machine without a checkpoint."""

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfcontract.errors import DfserveError
from dfexport.errors import CheckpointMissing

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    """examples/demo.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("demo", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_goes_from_nothing_to_a_picture_and_says_that_random_scores_mean_nothing(
    demo, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.console, "width", 120)
    assert demo.main(["--model", "aasist_l", "--weights", "random"]) == 0
    shown = capsys.readouterr().out
    for recording in demo.RECORDINGS:
        assert recording in shown
    assert "these scores mean NOTHING" in shown
    assert_proved(shown, "three made-up signals")
    assert "proves nothing" not in shown  # what is said of real scores
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"build", "demo.png"}
    assert (tmp_path / "build" / "demo_repository" / "aasist_l").is_dir()


def assert_proved(shown, of):
    """Both differences are printed, and small."""
    rows = re.findall(r"│ (the [\w ]+): (\w+) +│ (.+?) +│ +(none|\de[+-]\d+) │", shown)
    assert [row[:2] for row in rows] == [("the original code", "logits"), ("the graph without a server", "scores")]
    assert rows[0][2].startswith(of)
    assert all(difference == "none" or float(difference) < 1e-4 for *_, difference in rows)


def test_without_a_checkpoint_it_says_first_what_it_could_not_get(demo, monkeypatch, capsys):
    def load(*arguments, random, **options):
        if not random:
            raise CheckpointMissing("AASIST-L.pth is not in weights and could not be downloaded (https://a: gone)")
        return SimpleNamespace(kind="random")

    monkeypatch.setattr("dfexport.build.load_weights", load)
    built = SimpleNamespace(parity=SimpleNamespace(eager_difference=1e-6))
    monkeypatch.setattr("dfexport.build.build", lambda *arguments: built)
    demo.export("aasist_l", Path("weights"), random=False)
    shown = capsys.readouterr().out
    assert (
        shown.index("No checkpoint, so no scores") < shown.index("What is shown without it") < shown.index("exported")
    )
    assert "https://a: gone" in shown


def test_the_golden_figures_are_those_of_the_tests(demo):
    golden = json.loads(demo.GOLDEN.read_text())
    recorded = PROGRAM.parents[1] / "tests/golden/aasist_seeded_logits.json"
    assert golden["seeded"] == json.loads(recorded.read_text())
    assert golden["published"].keys() == golden["seeded"].keys()


@pytest.mark.parametrize("step", ["export", "serve_and_score"])
def test_what_goes_wrong_in_any_room_is_one_line(step, demo, tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise DfserveError("expected this, found that")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "export", lambda *arguments, **options: None)
    monkeypatch.setattr(demo, step, fail)
    assert demo.main(["--model", "aasist_l"]) == 1
    assert capsys.readouterr().out == "demo: error: expected this, found that\n"
    assert not (tmp_path / "demo.png").exists()
