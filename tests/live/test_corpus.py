"""Streams of real recordings to the published AASIST-L, where weights and corpus lie beside the checkout."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dfclient import Detector, audio
from dfdeploy.embedded import Server
from dfexport.__main__ import main as dfexport

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detector]:
    if not (SHARED / "weights").is_dir() or not (SHARED / "corpus").is_dir():
        pytest.skip(f"the published weights or the corpus are not here ({SHARED})")
    repository = tmp_path_factory.mktemp("published") / "model_repository"
    assert dfexport(["build", "aasist_l", f"--weights-dir={SHARED / 'weights'}", f"--repository={repository}"]) == 0
    with Server(repository) as server, Detector(server.grpc_url, "aasist_l") as detector:
        yield detector


def test_streamed_clips_score_as_offline(detector: Detector) -> None:
    """Chunks from one sample to the whole file, by chance, each clip its own hop."""
    rng = np.random.default_rng(11)
    clips = sorted(path for path in (SHARED / "corpus").rglob("*") if path.suffix in (".wav", ".flac", ".mp3"))
    assert clips
    for path in rng.choice(clips, 8, replace=False):
        waveform = audio.load(path, detector.card.sample_rate_hz).samples
        hop_s = float(rng.uniform(1.0, detector.card.window_s))
        longest = int(rng.choice([500, 5_000, len(waveform)]))
        offline = detector.score(waveform, 16_000, mode="sliding", hop_s=hop_s)
        with detector.stream(hop_s=hop_s) as live:
            start = 0
            while start < len(waveform):
                length = int(rng.integers(1, longest + 1))
                live.send(waveform[start : start + length])
                start += length
            live.end()
            found = list(live)
        assert [window.start_s for window in found] == [window.start_s for window in offline.windows], path
        np.testing.assert_allclose(
            [window.score for window in found],
            [window.score for window in offline.windows],
            atol=1e-5,
            err_msg=str(path),
        )
