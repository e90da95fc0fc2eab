"""SSL_Anti-spoofing's two checkpoints."""

from dfcontract.published import Eer, Transfer
from dfexport.rows.common import ASVSPOOF_2019_LA, ASVSPOOF_2019_LA_TRAIN, arena, drive
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, OperatingPoint, RemoteFile

_SSL_PAGE = "https://github.com/TakHemlata/SSL_Anti-spoofing"
_SSL_PAPER = (
    "Tak et al., Automatic speaker verification spoofing and deepfake detection using wav2vec 2.0 and data "
    "augmentation, Odyssey 2022, arXiv 2202.12233"
)


ROWS: tuple[DetectorSpec, ...] = (
    DetectorSpec(
        name="ssl_aasist",
        family="ssl_aasist:SSL_AASIST",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (RemoteFile("Best_LA_model_for_DF.pth", drive("1JHBClArVdM-Cr1b8In1iakTV_TvC3HvG")),),
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
        eers=(Eer("ASVspoof 2021 DF eval", 2.85),),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
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
        # The arena does not say which of the authors' files it scored; it is probably this one.
        eers=(
            Eer("ASVspoof 2021 LA eval", 0.82),
            *arena(("ASVspoof 2019 LA", 0.22), ("ASVspoof 2021 LA, all phases", 8.11)),
            *arena(("ASVspoof 2021 DF, all phases", 8.32), ("In-the-Wild", 11.22), ("ASVspoof 5", 16.25)),
            *arena(("SONAR", 46.12), ("CD-ADD", 38.57), ("CFAD", 17.28), ("LibriSeVoc", 11.21)),
        ),
        transfers=(
            Transfer(
                ASVSPOOF_2019_LA,
                "In-the-Wild",
                78.7,
                None,
                11.2,
                "arXiv 2606.21584, of an SSL-AASIST, probably these weights",
            ),
        ),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
)
