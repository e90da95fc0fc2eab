"""The detectors that can be built: a row is an architecture × a published checkpoint × a window.

The tables of the README and of docs/detectors.md are made from these rows.
"""

from dfexport.errors import unknown
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, Eer, OperatingPoint, RemoteFile

_AASIST_PAGE = "https://github.com/clovaai/aasist"
_AASIST_WEIGHTS = "https://raw.githubusercontent.com/clovaai/aasist/main/models/weights"
_AASIST_PAPER = (
    "Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, "
    "ICASSP 2022, arXiv 2110.01200"
)


def _aasist_checkpoint(name: str, sha256: str, size: str) -> Checkpoint:
    remote = RemoteFile(name, f"{_AASIST_WEIGHTS}/{name}", sha256)
    return Checkpoint((remote,), page=_AASIST_PAGE, licence="MIT (NAVER Corp.)", size=size)


_SSL_PAGE = "https://github.com/TakHemlata/SSL_Anti-spoofing"
_SSL_PAPER = (
    "Tak et al., Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data "
    "augmentation, Odyssey 2022, arXiv 2202.12233"
)
_SLS_PAGE = "https://github.com/QiShanZhang/SLSforASVspoof-2021-DF"


def _drive(file_id: str) -> str:
    return f"https://drive.google.com/uc?export=download&id={file_id}"


_MAMBA_PAPER = (
    "Xiao and Das, XLSR-Mamba: A Dual-Column Bidirectional State Space Model for Spoofing Attack Detection, "
    "IEEE Signal Processing Letters 2025, arXiv 2411.10027"
)


def _mamba_checkpoint(track: str) -> Checkpoint:
    """The average of the track's five checkpoints, as the hub has it; its own name there is ``model.safetensors``."""
    page = f"https://huggingface.co/AustinXiao/XLSR-Mamba-{track}"
    remote = RemoteFile(f"XLSR-Mamba-{track}.safetensors", f"{page}/resolve/main/model.safetensors")
    return Checkpoint((remote,), page=page, licence="MIT", size="1.27 GB")


_TCM_PAPER = (
    "Truong et al., Temporal-Channel Modeling in Multi-head Self-Attention for Synthetic Speech Detection, "
    "Interspeech 2024, arXiv 2406.17376"
)
_TCM_PAGE = "https://github.com/ductuantruong/tcm_add"
_TCM_LICENCE = "none stated for the weights by their authors (the code is MIT): yours to fetch and to judge"

_ROWS = (
    DetectorSpec(
        name="aasist",
        family="aasist:FULL",
        window_samples=64_600,
        max_batch_size=8,
        checkpoint=_aasist_checkpoint(
            "AASIST.pth", "51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0", "1.3 MB"
        ),
        paper=_AASIST_PAPER,
        published_result="ASVspoof 2019 LA eval: EER 0.83 %, min t-DCF 0.0275",
        parameters=297_866,
        seconds_per_window=0.079,
        threshold=OperatingPoint(1.4938, "ASVspoof 2019 LA eval, at its EER"),
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
    ),
    DetectorSpec(
        name="ssl_aasist",
        family="ssl_aasist:SSL_AASIST",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("Best_LA_model_for_DF.pth", _drive("1JHBClArVdM-Cr1b8In1iakTV_TvC3HvG")),),
            page=_SSL_PAGE,
            licence="MIT",
            size="1.27 GB",
        ),
        paper=_SSL_PAPER,
        published_result="ASVspoof 2021 DF eval: EER 2.85 %",
        parameters=315_884_810,
        seconds_per_window=0.40,
        threshold=OperatingPoint(-3.5327, "ASVspoof 2021 DF eval, at its EER"),
        precisions=XLSR_PRECISIONS,
    ),
    DetectorSpec(
        name="ssl_aasist_la",
        family="ssl_aasist:SSL_AASIST",
        window_samples=64_600,
        # The page links a Drive folder; no address of the file itself is known.
        checkpoint=Checkpoint((RemoteFile("LA_model.pth", None),), page=_SSL_PAGE, licence="MIT", size="1.27 GB"),
        paper=_SSL_PAPER,
        published_result="ASVspoof 2021 LA eval: EER 0.82 %",
        parameters=315_884_810,
        seconds_per_window=0.40,
        precisions=XLSR_PRECISIONS,
    ),
    DetectorSpec(
        name="sls",
        family="sls:SLS",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("asvdf_sls_best.pth", _drive("1gfyrxFihJevsqVIOO-YS0WY55CuWS_xJ")),),
            page=_SLS_PAGE,
            licence="none stated by its authors: yours to fetch and to judge",
            size="1.36 GB",
        ),
        paper=(
            "Zhang, Wen and Hu, Audio Deepfake Detection with Self-Supervised XLS-R and SLS Classifier, "
            "ACM Multimedia 2024"
        ),
        published_result="ASVspoof 2021 DF: EER 1.92 %, 2021 LA: 2.87 %, In-the-Wild: 7.46 %",
        parameters=338_836_997,
        seconds_per_window=0.40,
        score_kind="log_softmax",
        precisions=XLSR_PRECISIONS,
    ),
    DetectorSpec(
        name="xlsr_mamba",
        family="xlsr_mamba:XLSR_MAMBA",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=_mamba_checkpoint("DF"),
        paper=_MAMBA_PAPER,
        published_result="ASVspoof 2021 DF eval: EER 1.88 %; In-the-Wild, at 64,600 samples: 6.71 %",
        parameters=317_083_350,
        seconds_per_window=0.42,
        precisions=XLSR_PRECISIONS,
    ),
    DetectorSpec(
        name="xlsr_mamba_la",
        family="xlsr_mamba:XLSR_MAMBA",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=_mamba_checkpoint("LA"),
        paper=_MAMBA_PAPER,
        published_result="ASVspoof 2021 LA eval: EER 0.93 %",
        parameters=317_083_350,
        seconds_per_window=0.42,
        precisions=XLSR_PRECISIONS,
    ),
    DetectorSpec(
        name="tcm_add",
        family="tcm_add:TCM_ADD",
        window_samples=66_800,
        other_windows=(64_600,),
        # A OneDrive folder, linked from the page, whose files have no address of their own. The same name for both.
        checkpoint=Checkpoint(
            (RemoteFile("tcm_add_df_avg_5_best_4.pth", None),), page=_TCM_PAGE, licence=_TCM_LICENCE, size="1.28 GB"
        ),
        paper=_TCM_PAPER,
        published_result="ASVspoof 2021 DF eval: EER 2.06 %",
        parameters=319_260_196,
        threshold=OperatingPoint(-3.73, "ASVspoof 2021 DF eval, as its authors state"),
        precisions=XLSR_PRECISIONS,
        eers=(Eer("ASVspoof 2021 DF eval", 2.06), Eer("In-the-Wild", 7.79, "Nes2Net, arXiv 2504.05657")),
    ),
    DetectorSpec(
        name="tcm_add_la",
        family="tcm_add:TCM_ADD",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=Checkpoint(
            (RemoteFile("tcm_add_la_avg_5_best_4.pth", None),), page=_TCM_PAGE, licence=_TCM_LICENCE, size="1.28 GB"
        ),
        paper=_TCM_PAPER,
        published_result="ASVspoof 2021 LA eval: EER 1.03 %",
        parameters=319_260_196,
        precisions=XLSR_PRECISIONS,
        eers=(Eer("ASVspoof 2021 LA eval", 1.03),),
    ),
)

DETECTORS: dict[str, DetectorSpec] = {row.name: row for row in _ROWS}


def find(name: str) -> DetectorSpec:
    """Look a detector up by name.

    Raises:
        ExportError: no such row.
    """
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    return DETECTORS[name]
