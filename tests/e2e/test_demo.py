"""The demonstration, as `make demo` runs it on a machine without a checkpoint."""

import importlib.util
from pathlib import Path

import pytest

from dfcontract.errors import DfserveError

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
    assert demo.main(["--model", "aasist_l", "--weights", "random"]) == 0
    shown = capsys.readouterr().out
    for recording in demo.RECORDINGS:
        assert recording in shown
    assert "these scores mean NOTHING" in shown
    assert "proves nothing" not in shown  # what is said of real scores
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"build", "demo.png"}
    assert (tmp_path / "build" / "demo_repository" / "aasist_l").is_dir()


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
