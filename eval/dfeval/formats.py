"""How each data set writes its protocol, one row of ``FORMATS`` each, and the words that labels are written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

BONAFIDE, SPOOF = "bonafide", "spoof"
ALL_PHASES = "all"
LABELS: Mapping[str, str] = MappingProxyType(
    {BONAFIDE: BONAFIDE, "bona-fide": BONAFIDE, "bona_fide": BONAFIDE, "genuine": BONAFIDE, "human": BONAFIDE}
    | {"real": BONAFIDE, SPOOF: SPOOF, "spoofed": SPOOF, "fake": SPOOF, "synthetic": SPOOF, "deepfake": SPOOF}
)
# As AntiDeepfake writes them. Other sets have 1 for spoof, so a protocol that is read by these rows says so.
NUMERIC_LABELS: Mapping[str, str] = MappingProxyType({"1": BONAFIDE, "0": SPOOF})
PLAIN_LABELS = (BONAFIDE, "bona-fide", "bona_fide", SPOOF)  # what they mean needs no word
# Values that bona fide trials have where a spoof has its attack or TTS system.
NOT_APPLICABLE = ("", "-", BONAFIDE, "nan")


@dataclass(frozen=True)
class ProtocolFormat:
    """How one data set writes its protocol.

    Attributes:
        title: the data set's name.
        example: a line of a protocol, for the documentation.
        columns: the fields of a file without a header, in order, with spaces between; empty where it has a header.
        rename: a header's names to ours (``utt_id``, ``label``, ``speaker``, ``attack`` …).
        header_word: a word by which the header of a file that comes with and without one is known.
        groups: columns that figures are broken down by.
        phase_column: the column that parts a data set's trials into phases.
        default_phase: the phase that counts when nobody asks for another.
        n_files: that its protocol is in.
    """

    title: str
    example: str
    columns: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    header_word: str | None = None
    groups: tuple[str, ...] = ()
    phase_column: str | None = None
    default_phase: str = ALL_PHASES
    n_files: int = 1


FORMATS: Mapping[str, ProtocolFormat] = MappingProxyType(
    {
        "asvspoof2019-la": ProtocolFormat(
            title="ASVspoof 2019 LA",
            example="`LA_0039 LA_E_2834763 - A11 spoof`",
            columns=("speaker", "utt_id", "environment", "attack", "label"),
            groups=("attack",),
        ),
        "asvspoof2021-la": ProtocolFormat(
            title="ASVspoof 2021 LA",
            example="`LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval`",
            columns=("speaker", "utt_id", "codec", "transmission", "attack", "label", "trim", "phase"),
            groups=("attack", "codec"),
            phase_column="phase",
            default_phase="eval",
        ),
        "asvspoof2021-df": ProtocolFormat(
            title="ASVspoof 2021 DF",
            example="`TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder… …`",
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
            example="`E_0000 E_0000000001 F C05 2 x AC1 A18 spoof -`, or with a header that has `cm-label`",
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
            example="`0.wav,Alec Guinness,spoof` under `file,speaker,label`",
            rename={"file": "utt_id"},
        ),
        "brspeech-df": ProtocolFormat(
            title="BRSpeech-DF",
            example="two files: `--protocol bonafide.csv synthetic.csv`, fields parted by `|`",
            rename={"relative_path": "utt_id", "df_class": "label"},
            groups=("tts", "subset"),
            phase_column="subset",
            n_files=2,
        ),
        "csv": ProtocolFormat(
            title="CSV",
            example="`human_01,bonafide,,anna,en` under a header with `utt_id` and `label`",
            groups=("system", "attack", "tts", "vocoder", "codec", "language"),
            phase_column="phase",
        ),
    }
)
