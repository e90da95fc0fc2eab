"""Score files that can't be written, or should not be: one line, and an exit code that is not 0."""

import re
import resource
import shutil
import subprocess
import sys

import pytest

from dfclient import Detector, ScoreFileError
from dfclient.__main__ import main
from dfclient.batch import score_set
from dfclient.clips import clips_from

COMMAND = [sys.executable, "-m", "dfclient", "score"]


def run(tmp_path, url: str, *arguments: str, **options) -> tuple[int, list[str]]:
    """Exit code and the lines that begin with the command's name."""
    command = [*COMMAND, *arguments, "--url", url, "--model", "tiny"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, **options)
    assert "Traceback" not in finished.stderr
    return finished.returncode, [line for line in finished.stderr.splitlines() if line.startswith("dfclient: ")]


@pytest.fixture
def many(recording, tmp_path):
    """A folder of 40 recordings."""
    for number in range(40):
        recording(f"in/{number:02}.wav", 0.2, seed=number)
    return tmp_path / "in"


def test_a_full_disk_is_one_line_and_what_was_written_stays(tiny_server, many, tmp_path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    code, lines = run(tmp_path, tiny_server.grpc_url, "in", "--out", "s.csv", preexec_fn=limit)
    assert code == 1
    assert len(lines) == 1
    assert re.match(r"dfclient: error: s\.csv: .*File too large", lines[0])
    code, lines = run(tmp_path, tiny_server.grpc_url, "in", "--out", "s.csv", "--resume")
    assert (code, lines) == (0, [])
    ids = [line.split(",")[0] for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    assert sorted(ids) == [f"{number:02}" for number in range(40)]


def test_an_errors_file_that_can_not_be_made_is_one_line(tiny_server, recording, tmp_path):
    recording("in/a.wav")
    (tmp_path / "in/b.wav").write_bytes(b"no sound")
    (tmp_path / "s.errors.csv").mkdir()
    code, lines = run(tmp_path, tiny_server.grpc_url, "in", "--out", "s.csv")
    assert code == 1
    assert any(re.match(r"dfclient: error: .*s\.errors\.csv.*[Ii]s a directory", line) for line in lines)


def test_a_folder_that_is_removed_midway_is_an_error(tiny_server, many, tmp_path):
    (tmp_path / "out").mkdir()

    class Remover:
        def begin(self, n_missing, n_done):
            pass

        def take(self, result):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    with (
        Detector(tiny_server.grpc_url, "tiny") as detector,
        pytest.raises(ScoreFileError, match="was removed while it was written"),
    ):
        score_set(detector, clips_from([str(many)]), tmp_path / "out/s.csv", listener=Remover())


@pytest.fixture
def dfclient_in(tiny_server, tmp_path, monkeypatch, capsys):
    """dfclient_in(*arguments) → exit code and standard error of a command that is run in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def run_there(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, "--url", tiny_server.grpc_url, "--model", "tiny"])
        return code, capsys.readouterr().err

    return run_there


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
@pytest.mark.parametrize(
    ("inputs", "out"),
    [
        (["in/a.wav"], "in/a.wav"),
        (["in"], "in/../in/a.wav"),
        (["in"], "link.csv"),
        (["m.csv"], "m.csv"),
        (["@list.txt"], "list.txt"),
    ],
)
def test_scores_never_overwrite_their_inputs(dfclient_in, recording, tmp_path, inputs, out, option):
    recording("in/a.wav")
    (tmp_path / "link.csv").symlink_to("in/a.wav")
    (tmp_path / "m.csv").write_text("path\nin/a.wav\n")
    (tmp_path / "list.txt").write_text("in/a.wav\n")
    before = {path: path.read_bytes() for path in (tmp_path / "in/a.wav", tmp_path / "m.csv", tmp_path / "list.txt")}
    code, err = dfclient_in("score", *inputs, "--out", out, option)
    assert code == 2
    assert re.search(r"--out .* is .*, one of the inputs", err)
    assert {path: path.read_bytes() for path in before} == before


def test_a_stream_does_not_either(dfclient_in, recording):
    recording("a.wav")
    code, err = dfclient_in("stream", "a.wav", "--out", "a.wav", "--overwrite")
    assert code == 2
    assert "one of the inputs" in err


def test_a_deadline_that_never_comes_is_refused(tmp_path, capsys):
    assert main(["models", "--url", "127.0.0.1:1", "--timeout", "inf"]) == 2
    assert "above 0 and finite, found inf" in capsys.readouterr().err
