"""The detectors that can be built: a row is an architecture × a published checkpoint × a window."""

from dfexport.errors import ExportError
from dfexport.spec import Checkpoint, DetectorSpec, RemoteFile, Threshold

_AASIST_PAGE = "https://github.com/clovaai/aasist"
_AASIST_WEIGHTS = "https://raw.githubusercontent.com/clovaai/aasist/main/models/weights"
_AASIST_PAPER = (
    "Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, "
    "ICASSP 2022, arXiv 2110.01200"
)


def _aasist_checkpoint(name: str, sha256: str) -> Checkpoint:
    remote = RemoteFile(name, f"{_AASIST_WEIGHTS}/{name}", sha256)
    return Checkpoint((remote,), page=_AASIST_PAGE, licence="MIT (NAVER Corp.)")


_ROWS = (
    DetectorSpec(
        name="aasist",
        architecture="aasist",
        options={"size": "full"},
        window_samples=64_600,
        checkpoint=_aasist_checkpoint("AASIST.pth", "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0"),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.83 %, min t-DCF 0.0275",
        parameters=297_866,
        threshold=Threshold(1.4938, "ASVspoof 2019 LA eval, at its EER"),
    ),
    DetectorSpec(
        name="aasist_l",
        architecture="aasist",
        options={"size": "light"},
        window_samples=64_600,
        checkpoint=_aasist_checkpoint(
            "AASIST-L.pth", "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a"
        ),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.99 %, min t-DCF 0.0309",
        parameters=85_306,
    ),
)

DETECTORS: dict[str, DetectorSpec] = {row.name: row for row in _ROWS}


def find(name: str) -> DetectorSpec:
    """Look a detector up by name.

    Raises:
        ExportError: no such row.
    """
    if name not in DETECTORS:
        raise ExportError(f"unknown detector {name!r}; known: {', '.join(DETECTORS)}")
    return DETECTORS[name]
