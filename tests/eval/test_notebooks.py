"""The notebooks, every cell, on small data."""

from pathlib import Path

import pytest
import soundfile

import dfeval
from dfexport.signals import wave

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the notebooks can't be run")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the notebooks can't be run")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: the notebooks can't be run")
NOTEBOOKS = Path(dfeval.__file__).parent / "notebooks"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(name, **environment) → the text that each code cell printed or showed; a cell that fails, fails the test."""

    def run_notebook(name, **environment):
        for variable, value in environment.items():
            monkeypatch.setenv(variable, str(value))
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
        assert not any("../" in cell.source for cell in notebook.cells), "a wheel has no checkout around it"
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells)
        return ["".join(map(_text, cell.outputs)) for cell in cells]

    return run_notebook


def _text(output):
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return data.get("text/plain", "") + ("<picture>" if "image/png" in data else "")


def test_evaluation_on_made_up_scores(run, tmp_path):
    shown = "\n".join(run("evaluation", BRSPEECH_REPLICATES=100))
    assert "NO DATA SET GIVEN: the scores below are made up" in shown
    assert "600 of 600 trials of BRSpeech-DF" in shown
    assert "fitted on dev, judged on test" in shown
    assert "set on other_scores.csv on CSV other_protocol.csv, where the EER is" in shown
    assert "bona fide rejected" in shown
    assert shown.count("<picture>") == 4
    assert (tmp_path / "report" / "index.html").exists()


def test_evaluation_on_given_files(run, tmp_path):
    (tmp_path / "human.csv").write_text(
        "relative_path|subset|df_class\n" + "".join(f"h/{n}.wav|test|bonafide\n" for n in range(12))
    )
    (tmp_path / "made.csv").write_text(
        "relative_path|subset|df_class|tts\n" + "".join(f"x/{n}.wav|test|spoof|xtts\n" for n in range(12))
    )
    scores = [f"/data/h/{n}.wav {n}" for n in range(12)] + [f"/data/x/{n}.wav {n - 4.5}" for n in range(12)]
    (tmp_path / "scores.txt").write_text("\n".join(scores) + "\n")
    (tmp_path / "other.txt").write_text("".join(f"o{n} {n % 7}\n" for n in range(24)))
    labels = "".join(f"o{n},{'bonafide' if n % 7 > 2 + n % 2 else 'spoof'}\n" for n in range(24))
    (tmp_path / "other.csv").write_text("utt_id,label\n" + labels)
    names = {"BONAFIDE": "human.csv", "SYNTHETIC": "made.csv", "SCORES": "scores.txt"}
    names |= {"OTHER_SCORES": "other.txt", "OTHER_PROTOCOL": "other.csv"}
    given = {f"BRSPEECH_{name}": tmp_path / file for name, file in names.items()}
    shown = "\n".join(run("evaluation", BRSPEECH_REPLICATES=50, **given))
    assert "made up" not in shown
    assert "24 of 24 trials" in shown
    assert "set on other.txt on CSV other.csv" in shown


@pytest.mark.parametrize(
    "name",
    [
        "inference",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("aasist", "ssl_aasist", "sls", "xlsr_mamba")),
    ],
)
def test_inference_against_a_server(name, run, tmp_path, tiny_server):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for seed, seconds in ((1, 1), (2, 3)):
        soundfile.write(recordings / f"clip_{seed}.wav", wave(seed, 16_000 * seconds), 16_000)
    shown = run(
        name,
        DFSERVE_URL=tiny_server.grpc_url,
        DFSERVE_MODEL="tiny_trained",
        DFSERVE_RECORDINGS=recordings,
        DFSERVE_SCORES=tmp_path / "scores.csv",
    )
    text = "\n".join(shown)
    assert "2 recordings" in text
    assert "all scored" in text
    assert "<picture>" in text
    assert (tmp_path / "scores.csv").read_text().count("tiny_trained") == 2
