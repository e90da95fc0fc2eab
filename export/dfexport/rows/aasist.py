"""AASIST's two sizes."""

from dfcontract.published import Eer, Transfer
from dfexport.rows.common import ASVSPOOF_2019_LA_TRAIN, MEASURED, arena
from dfexport.spec import Checkpoint, DetectorSpec, OperatingPoint, RemoteFile

_CORPUS = "301 clips of 16 other systems"
_AASIST_PAGE = "https://github.com/clovaai/aasist"
_AASIST_WEIGHTS = "https://raw.githubusercontent.com/clovaai/aasist/main/models/weights"
_AASIST_MIRROR = "https://cdn.jsdelivr.net/gh/clovaai/aasist@main/models/weights"  # a CDN of public GitHub repositories
_AASIST_PAPER = (
    "Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, "
    "ICASSP 2022, arXiv 2110.01200"
)


def _aasist_checkpoint(name: str, sha256: str, size: str, *mirrors: str) -> Checkpoint:
    remote = RemoteFile(name, f"{_AASIST_WEIGHTS}/{name}", sha256, mirrors=(f"{_AASIST_MIRROR}/{name}", *mirrors))
    return Checkpoint((remote,), page=_AASIST_PAGE, licence="MIT (NAVER Corp.)", size=size)


ROWS: tuple[DetectorSpec, ...] = (
    DetectorSpec(
        name="aasist",
        family="aasist:FULL",
        window_samples=64_600,
        max_batch_size=8,
        checkpoint=_aasist_checkpoint(
            "AASIST.pth",
            "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0",
            "1.3 MB",
            "https://huggingface.co/SpeechAntiSpoofingBenchmarks/AASIST/resolve/main/AASIST.pth",
        ),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.83 %, min t-DCF 0.0275",
        parameters=297_866,
        seconds_per_window=0.079,
        threshold=OperatingPoint(1.4938, "ASVspoof 2019 LA eval, at its EER"),
        eers=(
            Eer("ASVspoof 2019 LA eval", 0.83, trained_on=True),
            *arena(("ASVspoof 2021 LA, all phases", 12.35), ("ASVspoof 2021 DF, all phases", 17.04)),
            *arena(("In-the-Wild", 43.01), ("SONAR", 57.61), ("CD-ADD", 51.05), ("ODSS", 50.41)),
            *arena(("LibriSeVoc", 37.98), ("HABLA", 37.36), ("DECRO", 29.74)),
            Eer(_CORPUS, 34.6, MEASURED),
        ),
        transfers=(Transfer("ASVspoof 2019 LA eval", _CORPUS, 58.5, 18.1, 34.6, MEASURED),),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
    DetectorSpec(
        name="aasist_l",
        family="aasist:LIGHT",
        window_samples=64_600,
        max_batch_size=8,
        checkpoint=_aasist_checkpoint(
            "AASIST-L.pth", "814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a", "0.4 MB"
        ),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.99 %, min t-DCF 0.0309",
        parameters=85_306,
        seconds_per_window=0.064,
        eers=(
            Eer("ASVspoof 2019 LA eval", 0.99, trained_on=True),
            *arena(("ASVspoof 2021 LA, all phases", 13.15), ("ASVspoof 2021 DF, all phases", 15.96)),
            *arena(("In-the-Wild", 44.45), ("ASVspoof 5", 37.53), ("CD-ADD", 50.72), ("DeepVoice", 49.68)),
            *arena(("ODSS", 47.14), ("HABLA", 34.84)),
            Eer(_CORPUS, 35.5, MEASURED),
        ),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
)
