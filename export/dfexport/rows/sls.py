"""SLS."""

from dfexport.rows.common import ASVSPOOF_2019_LA_TRAIN, arena, drive, eers_of
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, RemoteFile

_SLS_PAGE = "https://github.com/QiShanZhang/SLSforASVspoof-2021-DF"


ROWS: tuple[DetectorSpec, ...] = (
    DetectorSpec(
        name="sls",
        family="sls:SLS",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("asvdf_sls_best.pth", drive("1gfyrxFihJevsqVIOO-YS0WY55CuWS_xJ")),),
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
        eers=(
            *eers_of(("ASVspoof 2021 DF eval", "ASVspoof 2021 LA eval", "In-the-Wild"), (1.92, 2.87, 7.46)),
            *arena(("ASVspoof 2019 LA", 0.23), ("ASVspoof 2021 LA, all phases", 7.39)),
            *arena(("ASVspoof 2021 DF, all phases", 3.93), ("XMAD", 15.27), ("CD-ADD", 9.81)),
        ),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
)
