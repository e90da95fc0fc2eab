"""What someone who looks something up has already, under the names that the documentation's examples use.

Recordings are the examples, some with noise; scores of `dev` and `eval` are our server's; those of the published sets
are made up, in the sets' own forms; the checkpoint of one's own is AASIST's.
"""

import csv
import pickle
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

import audio_forms
from dfclient.__main__ import main as dfclient
from dfdeploy.embedded import Server
from dfexport.__main__ import main as dfexport

MODELS = ("aasist", "aasist_l")
RATE_HZ = 16_000
PER_SET = 16
# Debian's recorder, for machines without a microphone, as tests' are: what it hears is a file.
MICROPHONE = '#!/bin/sh\nexec cat "$(dirname "$0")/../heard.raw"\n'


def write(folder: Path, examples: Path, weights: Path) -> None:
    """Fill a folder: models, recordings, protocols, scores.

    Args:
        folder: an empty one.
        examples: the folder of the three example recordings.
        weights: the folder of the published checkpoints.
    """
    voices = {path.stem: soundfile.read(path, dtype="float32")[0] for path in sorted(examples.glob("*.flac"))}
    _recordings(folder, voices)
    _protocol(folder / "protocol.csv", ((name, name) for name in voices))
    _published(folder)
    (folder / "runs").mkdir()
    shutil.copy(weights / "AASIST.pth", folder / "runs/best.pth")
    repository = folder / "model_repository"
    _succeeds(dfexport(["build", *MODELS, f"--weights-dir={weights}", f"--repository={repository}"]))
    with Server(repository) as server:
        for name in ("dev", "eval"):
            _scored_set(folder, name, voices, server.grpc_url)


def _recordings(folder: Path, voices: dict[str, np.ndarray]) -> None:
    human, synthetic = voices["human"], voices["synthetic"]
    for name in ("recordings", "more", "bin"):
        (folder / name).mkdir()
    for name, samples in voices.items():
        soundfile.write(folder / "recordings" / f"{name}.flac", samples, RATE_HZ)
    soundfile.write(folder / "more/first.wav", human / 2, RATE_HZ)
    soundfile.write(folder / "more/second.wav", synthetic / 2, RATE_HZ)
    (folder / "more.csv").write_text("path,utt_id\nmore/first.wav,the_first\n")
    (folder / "list.txt").write_text("# one a line\nmore/second.wav\n")
    soundfile.write(folder / "a.wav", human, RATE_HZ)
    soundfile.write(folder / "call.mp3", human, RATE_HZ)
    length = min(len(human), len(synthetic))
    sides = np.stack([human[:length], synthetic[:length]], axis=1)
    soundfile.write(folder / "call.wav", soxr.resample(sides, RATE_HZ, 8_000), 8_000, subtype="ULAW")
    audio_forms.write_tracks(folder / "film.mkv", [human, synthetic], RATE_HZ, "flac", languages=("eng", "deu"))
    soundfile.write(folder / "heard.raw", human, RATE_HZ, subtype="PCM_16", endian="LITTLE")
    (folder / "bin/arecord").write_text(MICROPHONE)
    (folder / "bin/arecord").chmod(0o755)


def _scored_set(folder: Path, name: str, voices: dict[str, np.ndarray], url: str) -> None:
    """NAME_protocol.csv, NAME_MODEL.csv, and NAME.csv, which is the first model's.

    The noise is so loud that scores of both classes overlap: without that, no calibration can be fitted.
    """
    random = np.random.default_rng(len(name))  # another seed for each set
    sources = ["human", "synthetic", "human", "synthetic_diphone"] * (PER_SET // 4)
    (folder / name).mkdir()
    for number, source in enumerate(sources):
        noise = random.normal(0, 10 ** random.uniform(-3, -1), voices[source].shape)
        soundfile.write(folder / name / f"{name}_{number:02}.wav", voices[source] + noise, RATE_HZ)
    _protocol(
        folder / f"{name}_protocol.csv", ((f"{name}_{number:02}", source) for number, source in enumerate(sources))
    )
    for model in MODELS:
        scores = folder / f"{name}_{model}.csv"
        _succeeds(dfclient(["score", str(folder / name), f"--model={model}", f"--url={url}", f"--out={scores}"]))
    (folder / f"{name}.csv").write_text((folder / f"{name}_{MODELS[0]}.csv").read_text())


def _protocol(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    named = [
        (utt_id, "bonafide", "", "anna", "en") if source == "human" else (utt_id, "spoof", source, "anna", "en")
        for utt_id, source in rows
    ]
    _table(path, ("utt_id", "label", "system", "speaker", "language"), named)


def _published(folder: Path) -> None:
    """Two sets in the form of ASVspoof 2019 LA and of In-the-Wild, with scores of two detectors."""
    random = np.random.default_rng(3)
    labels = ["bonafide", "spoof"] * 60

    def scores() -> list[float]:
        return [random.normal(2.0 if label == "bonafide" else -1.0, 1.5) for label in labels]

    for name in ("la19", "itw"):
        (folder / name).mkdir()
    clips = [f"{number}.wav" for number in range(len(labels))]
    wild = [(clip, "Alec Guinness", label) for clip, label in zip(clips, labels, strict=True)]
    trials = [f"LA_E_{number:07}" for number in range(len(labels))]
    attacks = {"bonafide": "-", "spoof": "A11"}
    lines = [f"LA_0039 {trial} - {attacks[label]} {label}\n" for trial, label in zip(trials, labels, strict=True)]
    for protocol in ("la19/protocol.txt", "la19_eval.txt"):
        (folder / protocol).write_text("".join(lines))
    for protocol in ("itw/meta.csv", "itw_meta.csv"):
        _table(folder / protocol, ("file", "speaker", "label"), wild)
    for file, ids in (("itw/aasist.csv", clips), ("itw.csv", clips), ("la19.csv", trials)):
        _table(folder / file, ("utt_id", "score"), zip(ids, scores(), strict=True))
    plain = [f"{trial} {score}\n" for trial, score in zip(trials, scores(), strict=True)]
    (folder / "la19/aasist.txt").write_text("".join(plain))
    second = dict(zip(trials, scores(), strict=True))
    for number, label in enumerate(attacks):
        (folder / f"la19/{label}.pkl").write_bytes(pickle.dumps({trial: second[trial] for trial in trials[number::2]}))


def _table(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def _succeeds(status: int) -> None:
    assert status == 0
