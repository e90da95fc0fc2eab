"""What rows of several architectures state alike: who measured what, and where files lie."""

from dfcontract.published import Eer
from dfexport.spec import RemoteFile

ARENA = "Speech Anti-Spoofing Arena, huggingface.co/SpeechAntiSpoofingBenchmarks"
MEASURED = "measured for dfserve"
ASVSPOOF_2019_LA = "ASVspoof 2019 LA"
ASVSPOOF_2019_LA_TRAIN = f"{ASVSPOOF_2019_LA}, its training part"


def eers_of(sets: tuple[str, ...], percents: tuple[float, ...]) -> tuple[Eer, ...]:
    """Figures of several sets, in percent, that a detector's authors state."""
    return tuple(Eer(data, percent) for data, percent in zip(sets, percents, strict=True))


def arena(*figures: tuple[str, float], trained_on: tuple[str, ...] = (ASVSPOOF_2019_LA,)) -> tuple[Eer, ...]:
    """Its figures for 2021 pool all phases, and can't be compared with those of the ``eval`` part."""
    return tuple(Eer(data, percent, ARENA, data in trained_on) for data, percent in figures)


def drive(file_id: str) -> str:
    """The address of a file on Google Drive."""
    return f"https://drive.google.com/uc?export=download&id={file_id}"


HUB = "https://huggingface.co"


def hub_file(repository: str, file: str, revision: str, name: str, size_bytes: int | None = None) -> RemoteFile:
    """A file of the hub under a name of its own here, since most are called ``model.safetensors`` there."""
    return RemoteFile(name, f"{HUB}/{repository}/resolve/{revision}/{file}", size_bytes=size_bytes)
