"""Spectra's three heads."""

from dataclasses import replace

from dfcontract.published import NOT_DISCLOSED
from dfexport.rows.common import HUB, arena, eers_of, hub_file
from dfexport.spec import XLSR_PRECISIONS, Checkpoint, DetectorSpec, OperatingPoint, RemoteFile

# Seconds a window: shares of ssl_aasist's CPU time, taken in turns, times its 0.40 s.
_SPECTRA_PREPARATION = (
    "pre-emphasis y[t] = x[t] - 0.97 x[t-1], of each window by itself. A clip shorter than the window is repeated so "
    "that each copy answers as its authors' pre-emphasised clip does; a window that begins inside a recording begins "
    "with x[0], theirs with x[0] - 0.97 x[-1]"
)


def _spectra(name: str, file: RemoteFile, repository: str, size: str) -> DetectorSpec:
    """What the three have in common; they differ in their heads and figures."""
    return DetectorSpec(
        name=name,
        family=f"spectra:{name.upper()}",
        window_samples=64_600,
        checkpoint=Checkpoint((file,), page=f"{HUB}/{repository}", licence="Apache-2.0", size=size),
        paper=f"lab260, {repository} on the Hugging Face hub (no paper)",
        published_result="",
        parameters=0,
        precisions=XLSR_PRECISIONS,
        trained_on=NOT_DISCLOSED,
        preparation=_SPECTRA_PREPARATION,
        pre_emphasis=0.97,
    )


_SPECTRA_SETS = ("ASVspoof 2019 LA", "ASVspoof 2021 LA", "ASVspoof 2021 DF", "ASVspoof 5", "In-the-Wild")
_CARD = "its authors' model card; the data is not named"


ROWS: tuple[DetectorSpec, ...] = (
    replace(
        _spectra(
            "spectra_0",
            # Its revision is not known here, so that the digest of what came is all that says what it was.
            hub_file("lab260/spectra_0", "model.safetensors", "main", "spectra_0.safetensors"),
            "lab260/spectra_0",
            "1.27 GB",
        ),
        parameters=318_332_098,
        seconds_per_window=0.39,
        threshold=OperatingPoint(-1.0625009, _CARD),
        eers=eers_of(_SPECTRA_SETS, (0.181, 6.475, 5.410, 14.426, 1.026)),
    ),
    replace(
        _spectra(
            "spectra_aasist",
            hub_file(
                "lab260/Spectra-AASIST",
                "model.safetensors",
                "eb65c2662d9e646d72557b3f4bdd08b000068c7f",
                "spectra_aasist.safetensors",
                1_264_151_840,
            ),
            "lab260/Spectra-AASIST",
            "1.26 GB",
        ),
        parameters=316_012_046,
        seconds_per_window=0.41,
        threshold=OperatingPoint(-1.140625, _CARD),
        eers=eers_of(_SPECTRA_SETS, (0.159, 5.164, 2.568, 14.056, 1.461)),
    ),
    replace(
        _spectra(
            "spectra_aasist3",
            hub_file(
                "lab260/Spectra-AASIST3",
                "model.safetensors",
                "bc0ded888080ddad493177bb53aa6f5b95219d7c",
                "spectra_aasist3.safetensors",
                1_276_330_956,
            ),
            "lab260/Spectra-AASIST3",
            "1.28 GB",
        ),
        parameters=318_948_755,
        threshold=OperatingPoint(-1.460938, _CARD),
        # The splines at each pair of nodes: some 30 MB a clip, several times at once.
        max_batch_size=8,
        eers=(
            *eers_of(_SPECTRA_SETS, (0.723, 4.506, 1.998, 13.82, 0.961)),
            *arena(("ASVspoof 2019 LA", 0.97), ("ASVspoof 2021 LA, all phases", 4.38), trained_on=()),
            *arena(("ASVspoof 2021 DF, all phases", 4.30), ("In-the-Wild", 1.20)),
        ),
    ),
)
