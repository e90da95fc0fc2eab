"""Nes2Net-X's two checkpoints."""

from dfcontract.published import Eer
from dfexport.rows.common import ASVSPOOF_2019_LA_TRAIN, drive
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, RemoteFile

_NES2NET_PAPER = (
    "Liu et al., Nes2Net: A Lightweight Nested Architecture for Foundation Model Driven Speech Anti-spoofing, "
    "IEEE Transactions on Information Forensics and Security 2025, arXiv 2504.05657"
)
_NES2NET_PAGE = "https://github.com/Liu-Tianchi/Nes2Net_ASVspoof_ITW"
# A share of ssl_aasist's CPU time, taken in turns, times its 0.40 s.
_SECONDS = 0.40
_NES2NET_LICENCE = "none stated by its authors: yours to fetch and to judge"


ROWS: tuple[DetectorSpec, ...] = (
    DetectorSpec(
        name="nes2net_x",
        family="nes2net_x:NES2NET_X",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("nes2net_x_df_avg_5.pth", drive("1JFGv_2TONMnTLGbiOIuHFfMvuo4SIIpg")),),
            page=_NES2NET_PAGE,
            licence=_NES2NET_LICENCE,
            size="1.26 GB",
        ),
        paper=_NES2NET_PAPER,
        published_result="",
        parameters=315_949_607,
        seconds_per_window=_SECONDS,
        precisions=XLSR_PRECISIONS,
        eers=(Eer("ASVspoof 2021 DF eval", 1.49),),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
    DetectorSpec(
        name="nes2net_x_itw",
        family="nes2net_x:NES2NET_X",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("nes2net_x_itw_avg_5.pth", drive("14YD8A54HLkXzlp7PWZ5iTW56WmQTIeEy")),),
            page=_NES2NET_PAGE,
            licence=_NES2NET_LICENCE,
            size="1.26 GB",
        ),
        paper=_NES2NET_PAPER,
        published_result="",
        parameters=315_949_607,
        seconds_per_window=_SECONDS,
        precisions=XLSR_PRECISIONS,
        eers=(
            Eer("In-the-Wild, whole clips", 5.15),
            Eer("In-the-Wild, at 64,600 samples, its sibling of 5.52 % on whole clips", 8.48, "third party"),
        ),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
)
