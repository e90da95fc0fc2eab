"""DF Arena's two sizes."""

from dataclasses import replace

from dfcontract.published import Eer
from dfexport.rows.common import HUB, eers_of, hub_file
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, OperatingPoint

_ARENA_LICENCE = "non-commercial research use alone (commercial by request to its authors)"
_DF_ARENA_PAPER = (
    "Kulkarni et al., Do Compact SSL Backbones Matter for Audio Deepfake Detection? A Controlled Study with RAPTOR, "
    "arXiv 2603.06164"
)
_DF_ARENA_SETS = ("In-the-Wild", "ASVspoof 2021 DF", "ASVspoof 2021 LA")
_DF_ARENA_TRAINED_ON = "ASVspoof 2019 and 5, Codecfake, LibriSeVoc, DFADD, CtrSVDD, SpoofCeleb, MLAAD, EnvSDD"


def _df_arena(size: str, parameters: int, weights: str, revision: str) -> DetectorSpec:
    """What both sizes have in common."""
    repository = f"Speech-Arena-2025/DF_Arena_{size}_V_1"
    name = f"df_arena_{size.lower()}"
    return DetectorSpec(
        name=name,
        family=f"df_arena:DF_ARENA_{size}",
        window_samples=64_600,
        checkpoint=Checkpoint(
            (hub_file(repository, "pytorch_model.bin", revision, f"{name}.bin"),),
            page=f"{HUB}/{repository}",
            licence=_ARENA_LICENCE,
            size=weights,
            asks_consent=True,
        ),
        paper=_DF_ARENA_PAPER,
        published_result="",
        parameters=parameters,
        score_kind="softmax",
        threshold=OperatingPoint(0.5, "the more likely class, as its authors decide"),
        precisions=XLSR_PRECISIONS,
        # All hidden states of a batch are held until the head has weighed them.
        max_batch_size=8,
        trained_on=_DF_ARENA_TRAINED_ON,
    )


ROWS: tuple[DetectorSpec, ...] = (
    replace(
        _df_arena("500M", 436_190_725, "1.74 GB", "main"),
        seconds_per_window=0.52,  # 1.30 times nes2net_x's, in turns
        eers=(
            *eers_of(_DF_ARENA_SETS, (1.76, 3.30, 4.23)),
            Eer("ASVspoof 2019 LA", 1.09, trained_on=True),
            Eer("ASVspoof 5", 12.39, trained_on=True),
            Eer("14 sets pooled, those of its training among them", 10.88, trained_on=True),
        ),
    ),
    replace(
        _df_arena("1B", 1_147_843_845, "4.59 GB", "fb6ce85de12c2c5a509d89114adaf827dd75f49f"),
        eers=(
            *eers_of(_DF_ARENA_SETS, (0.91, 1.75, 4.66)),
            Eer("ASVspoof 2019 LA", 1.14, trained_on=True),
            Eer("ASVspoof 5", 17.25, trained_on=True),
            Eer("14 sets pooled, those of its training among them", 9.52, trained_on=True),
        ),
    ),
)
