"""TCM-ADD's two tracks."""

from dfcontract.published import Eer
from dfexport.rows.common import ASVSPOOF_2019_LA_TRAIN
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, OperatingPoint, RemoteFile

_TCM_PAPER = (
    "Truong et al., Temporal-Channel Modeling in Multi-head Self-Attention for Synthetic Speech Detection, "
    "Interspeech 2024, arXiv 2406.17376"
)
_TCM_PAGE = "https://github.com/ductuantruong/tcm_add"
_TCM_LICENCE = "none stated for the weights by their authors (the code is MIT): yours to fetch and to judge"


def _tcm_add(name: str, file: str, *eers: Eer, threshold: OperatingPoint | None = None) -> DetectorSpec:
    """A checkpoint of TCM-ADD; the first figure is the one that its authors publish.

    The files lie in a OneDrive folder, linked from the page, and have no address of their own.
    """
    return DetectorSpec(
        name=name,
        family="tcm_add:TCM_ADD",
        window_samples=66_800,
        other_windows=(64_600,),
        checkpoint=Checkpoint((RemoteFile(file, None),), page=_TCM_PAGE, licence=_TCM_LICENCE, size="1.28 GB"),
        paper=_TCM_PAPER,
        published_result=f"{eers[0].data}: EER {eers[0].percent:.2f} %",
        parameters=319_260_196,
        seconds_per_window=0.41,  # 1.03 times nes2net_x's, in turns
        threshold=threshold,
        precisions=XLSR_PRECISIONS,
        eers=eers,
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    )


ROWS: tuple[DetectorSpec, ...] = (
    _tcm_add(
        "tcm_add",
        "tcm_add_df_avg_5_best_4.pth",
        Eer("ASVspoof 2021 DF eval", 2.06),
        Eer("In-the-Wild", 7.79, "Nes2Net, arXiv 2504.05657"),
        threshold=OperatingPoint(-3.73, "ASVspoof 2021 DF eval, as its authors state"),
    ),
    _tcm_add("tcm_add_la", "tcm_add_la_avg_5_best_4.pth", Eer("ASVspoof 2021 LA eval", 1.03)),
)
