"""How each data set writes its protocol, one row of ``FORMATS`` each, and the words that labels are written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

BONAFIDE, SPOOF = "bonafide", "spoof"
ALL_PHASES = "all"
LABELS = MappingProxyType(
    {BONAFIDE: BONAFIDE, "bona-fide": BONAFIDE, "bona_fide": BONAFIDE, "genuine": BONAFIDE, "human": BONAFIDE}
    | {"real": BONAFIDE, SPOOF: SPOOF, "spoofed": SPOOF, "fake": SPOOF, "synthetic": SPOOF, "deepfake": SPOOF}
)
ID_COLUMNS = ("utt_id", "file", "relative_path", "trial_anon", "filename")  # all else is read as categories
# Values that bona fide trials have where a spoof has its attack or TTS system.
NOT_APPLICABLE = ("", "-", BONAFIDE, "nan")


@dataclass(frozen=True)
class ProtocolFormat:
    """How one data set writes its protocol.

    ``columns`` names the fields of a file without a header, in order; without it the file has a header, whose names
    ``rename`` turns into ours (``utt_id``, ``label``, ``speaker``, ``attack`` …). ``header_word`` is a word by which
    the header of a file that comes both ways is known. ``groups`` are the columns that figures are broken down by.
    """

    title: str
    separator: str
    columns: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    header_word: str | None = None
    groups: tuple[str, ...] = ()
    phase_column: str | None = None
    default_phase: str = ALL_PHASES


FORMATS: Mapping[str, ProtocolFormat] = MappingProxyType(
    {
        "asvspoof2019-la": ProtocolFormat(
            title="ASVspoof 2019 LA",
            separator=r"\s+",
            columns=("speaker", "utt_id", "environment", "attack", "label"),
            groups=("attack",),
        ),
        "asvspoof2021-la": ProtocolFormat(
            title="ASVspoof 2021 LA",
            separator=r"\s+",
            columns=("speaker", "utt_id", "codec", "transmission", "attack", "label", "trim", "phase"),
            groups=("attack", "codec"),
            phase_column="phase",
            default_phase="eval",
        ),
        "asvspoof2021-df": ProtocolFormat(
            title="ASVspoof 2021 DF",
            separator=r"\s+",
            columns=(
                *("speaker", "utt_id", "codec", "source", "attack", "label", "trim", "phase"),
                *("vocoder", "task", "team", "gender_pair", "language"),
            ),
            groups=("vocoder", "codec", "source"),
            phase_column="phase",
            default_phase="eval",
        ),
        "asvspoof5": ProtocolFormat(
            title="ASVspoof 5",
            separator=r"\s+",
            columns=(
                *("speaker", "utt_id", "gender", "codec", "codec_q", "codec_seed"),
                *("attack_tag", "attack", "label", "tmp"),
            ),
            rename={
                **{"trial_anon": "utt_id", "filename": "utt_id", "cm-label": "label", "attack_anon": "attack"},
                **{"tar_spk_anon": "speaker", "spk": "speaker", "attack-tag": "attack_tag"},
            },
            header_word="cm-label",
            groups=("attack", "codec"),
        ),
        "in-the-wild": ProtocolFormat(
            title="In-the-Wild",
            separator=",",
            rename={"file": "utt_id"},
        ),
        "brspeech-df": ProtocolFormat(
            title="BRSpeech-DF",
            separator="|",
            rename={"relative_path": "utt_id", "df_class": "label"},
            groups=("tts", "subset"),
            phase_column="subset",
        ),
        "csv": ProtocolFormat(
            title="CSV",
            separator=",",
            groups=("system", "attack", "tts", "vocoder", "codec", "language"),
            phase_column="phase",
        ),
    }
)
