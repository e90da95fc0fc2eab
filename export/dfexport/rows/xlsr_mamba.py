"""XLSR-Mamba's two tracks."""

from dfcontract.published import Eer
from dfexport.rows.common import ASVSPOOF_2019_LA_TRAIN, arena, eers_of
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, RemoteFile

_MAMBA_PAPER = (
    "Xiao and Das, XLSR-Mamba: A Dual-Column Bidirectional State Space Model for Spoofing Attack Detection, "
    "IEEE Signal Processing Letters 2025, arXiv 2411.10027"
)


def _mamba_checkpoint(track: str) -> Checkpoint:
    """The average of the track's five checkpoints, as the hub has it; its own name there is ``model.safetensors``."""
    page = f"https://huggingface.co/AustinXiao/XLSR-Mamba-{track}"
    remote = RemoteFile(f"XLSR-Mamba-{track}.safetensors", f"{page}/resolve/main/model.safetensors")
    return Checkpoint((remote,), page=page, licence="MIT", size="1.27 GB")


ROWS: tuple[DetectorSpec, ...] = (
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
        eers=(
            *eers_of(("ASVspoof 2021 DF eval", "In-the-Wild"), (1.88, 6.71)),
            *arena(("ASVspoof 2019 LA", 0.17), ("ASVspoof 2021 LA, all phases", 7.43)),
            *arena(("DeepVoice", 28.82), ("CFAD", 16.86), ("DECRO", 15.17), ("DFADD", 10.70), ("HABLA", 2.58)),
        ),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
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
        eers=(Eer("ASVspoof 2021 LA eval", 0.93),),
        trained_on=ASVSPOOF_2019_LA_TRAIN,
    ),
)
