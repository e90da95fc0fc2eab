"""Scores by rule, small protocols, and the shared corpus where it is."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from dfeval.protocols import load_protocol
from dfeval.scores import load_scores
from dfeval.trials import Trials, join

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "metrics.json"
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"


@pytest.fixture(scope="session")
def golden() -> dict:
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="session")
def golden_scores() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bona fide and spoof scores of each golden case, by the rule in the shared golden README."""
    bonafide = np.random.RandomState(1).normal(2, 1.5, 2000)
    spoof = np.random.RandomState(2).normal(-1, 2, 8000)
    return {
        "continuous": (bonafide, spoof),
        "ties": (bonafide.round(1), spoof.round(1)),
        "separable": (bonafide + 20, spoof - 20),
        "inverted": (spoof[:2000], np.tile(bonafide, 2)),
    }


@pytest.fixture(scope="session")
def golden_asv() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ASV scores of target, nontarget and spoof trials."""
    return (
        np.random.RandomState(3).normal(3, 1, 1500),
        np.random.RandomState(4).normal(-2, 1.2, 3000),
        np.random.RandomState(5).normal(1.5, 1.5, 4000),
    )


def _write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _write_small_data(folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(11)
    labels = ["bonafide"] * 60 + ["spoof"] * 60
    systems = ["-"] * 60 + ["fish"] * 30 + ["yourtts"] * 30
    scores = rng.normal(np.repeat((2.0, 0.5, -2.0), (60, 30, 30)), 1.2)
    trials, rows = [], []
    for index, (label, system, score) in enumerate(zip(labels, systems, scores, strict=True)):
        utt = f"clip_{index:03d}"
        conditions = {"system": system, "speaker": f"s{index % 12}", "language": ("pt", "en")[index % 2]}
        trials.append({"utt_id": utt, "label": label, **conditions})
        provenance = {"path": f"audio/{utt}.wav", "model": "made_up", "weights": "pretrained"}
        rows.append({"utt_id": utt, "score": f"{score:.6f}", **provenance})
    return _write_csv(folder / "scores.csv", rows), _write_csv(folder / "protocol.csv", trials)


@pytest.fixture(scope="session")
def write_small_data() -> Callable[[Path], tuple[Path, Path]]:
    """write_small_data(folder) → score file and protocol of 120 trials.

    60 bona fide and two systems of 30 spoofs each, 12 speakers, two languages.
    """
    return _write_small_data


@pytest.fixture
def small_data(tmp_path: Path) -> tuple[Path, Path]:
    """Score file and protocol of 120 trials (see write_small_data), to change at will."""
    return _write_small_data(tmp_path)


@pytest.fixture
def small_trials(small_data: tuple[Path, Path]) -> Trials:
    scores, protocol = small_data
    return join(load_scores(scores), load_protocol(protocol, "csv"))


@pytest.fixture(scope="session")
def corpus_scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Score files of the original AASIST and AASIST-L on the shared corpus."""
    logits = SHARED / "golden" / "aasist_corpus_logits.csv"
    if not logits.exists():
        pytest.skip(f"{logits} is not here: the corpus figures can't be checked")
    folder = tmp_path_factory.mktemp("corpus")
    with logits.open() as file:
        rows = list(csv.DictReader(file))
    paths = {}
    for column, name in (("AASIST", "aasist"), ("AASIST-L", "aasist_l")):
        paths[name] = folder / f"{name}.csv"
        lines = [f"{row['utt_id']},{row[f'{column}_logit_bonafide']},{name},pretrained" for row in rows]
        paths[name].write_text("\n".join(["utt_id,score,model,weights", *lines]) + "\n")
    return paths


@pytest.fixture(scope="session")
def corpus_protocol() -> Path:
    path = SHARED / "corpus" / "protocol.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here: the corpus figures can't be checked")
    return path
