"""From nothing to a score row, as a user without a checkpoint types it."""

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfdeploy import ports

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / command[0], *command[1:]], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which aasist_l was built with random weights."""
    folder = tmp_path_factory.mktemp("walk")
    built = run("dfexport", "build", "aasist_l", "--weights", "random", cwd=folder)
    assert built.returncode == 0, built.stderr
    assert "RANDOM WEIGHTS" in built.stdout
    return folder


def test_random_weights_are_named_from_the_config_to_the_score_row(project: Path) -> None:
    repository = project / "model_repository_random"
    assert not (project / "model_repository").exists()
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    serve = [BIN / "dfdeploy", "serve", f"--repository={repository}", *(f"--{k}-port={v}" for k, v in chosen.items())]
    url = f"127.0.0.1:{chosen['grpc']}"
    with subprocess.Popen(serve, cwd=project, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("ready and self-checked: aasist_l" in line for line in server.stdout)
            assert run("dfclient", "health", "--url", url, cwd=project).returncode == 0
            models = run("dfclient", "models", "--url", url, cwd=project).stdout
            assert re.search(r"aasist_l.*random", models, re.IGNORECASE | re.DOTALL)
            command = ["score", str(ROOT / "examples"), "--model", "aasist_l", "--url", url, "--out", "scores.csv"]
            scored = run("dfclient", *command, cwd=project)
            assert scored.returncode == 0, scored.stderr
            assert "RANDOM" in (scored.stdout + scored.stderr).upper()
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
    with (project / "scores.csv").open() as file:
        rows = {row["utt_id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"human", "synthetic", "synthetic_diphone"}
    assert {(row["weights"], row["checkpoint_sha256"], row["mode"]) for row in rows.values()} == {
        ("random", "random", "protocol")
    }

    trials = ("utt_id,label", "human,bonafide", "synthetic,spoof", "synthetic_diphone,spoof", "absent,spoof")
    (project / "protocol.csv").write_text("\n".join(trials))
    arguments = ["scores.csv", "--protocol", "protocol.csv", "--protocol-format", "csv"]
    figures = run("dfeval", "metrics", *arguments, cwd=project)
    assert figures.returncode == 0, figures.stderr
    assert "RANDOM" in figures.stdout.upper()
    counts = json.loads(run("dfeval", "metrics", *arguments, "--json", cwd=project).stdout)["matching"]
    assert (counts["n_matched"], counts["n_missing"]) == (3, 1)


def test_a_missing_checkpoint_says_where_to_get_it_and_where_to_put_it(project: Path) -> None:
    """Where the publisher is out of reach; where it is not, the download is right."""
    built = run("dfexport", "build", "aasist_l", "--weights-dir", "here", cwd=project)
    if built.returncode == 0:
        assert "pretrained" in built.stdout
        return
    for part in ("AASIST-L.pth", "https://github.com/clovaai/aasist", "here", "WEIGHTS=random"):
        assert part in built.stderr
    assert "Traceback" not in built.stderr
