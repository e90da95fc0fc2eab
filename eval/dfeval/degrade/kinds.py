"""The kinds of degradation, one row of ``KINDS`` each, and the conditions that a run makes of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from numpy.random import Generator

from dfeval.degrade import effects
from dfeval.degrade.codecs import missing, through_codec
from dfeval.errors import EvalError
from dfeval.metrics.eer import Floats

CLEAN, RIR = "clean", "rir"


@dataclass(frozen=True)
class Kind:
    """One kind of degradation.

    Attributes:
        meaning: in words, with its source.
        apply: from a waveform (16 kHz, mono), the condition's number and a generator to the degraded waveform.
        unit: of the number, in words; empty where there is none.
        suffix: of the number in a condition's name.
        values: the numbers that are taken when nobody says which.
        limits: the least and the greatest number that makes sense.
        codec: the key of `codecs.CODECS` that it needs.
    """

    meaning: str
    apply: Callable[[Floats, float, Generator], Floats]
    unit: str = ""
    suffix: str = ""
    values: tuple[float, ...] = ()
    limits: tuple[float, float] = (0.0, 0.0)
    codec: str = ""


@dataclass(frozen=True)
class Condition:
    """A kind with its number; `name` is what the protocol's column and the folder are called."""

    kind: str
    value: float | None = None

    @property
    def name(self) -> str:
        """``mp3-64k``, ``telephone-alaw``."""
        return self.kind if self.value is None else f"{self.kind}-{self.value:g}{KINDS[self.kind].suffix}"

    def apply(self, waveform: Floats, random: Generator) -> Floats:
        """The degraded waveform."""
        return KINDS[self.kind].apply(waveform, 0.0 if self.value is None else self.value, random)


def _unchanged(waveform: Floats, _value: float, _random: Generator) -> Floats:
    return waveform


def _coded(name: str, has_rates: bool, waveform: Floats, value: float, _random: Generator) -> Floats:
    return through_codec(waveform, name, value if has_rates else None)


def _codec(name: str, meaning: str, values: tuple[float, ...] = (), limits: tuple[float, float] = (0, 0)) -> Kind:
    rates = {"unit": "kbit/s", "suffix": "k", "values": values, "limits": limits} if values else {}
    return Kind(meaning, partial(_coded, name, bool(values)), codec=name, **rates)  # type: ignore[arg-type]


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        CLEAN: Kind("as it is, mixed to mono at 16 kHz", _unchanged),
        "telephone-alaw": _codec("telephone-alaw", "a telephone line: 300 to 3,400 Hz at 8 kHz, G.711 A-law"),
        "telephone-mulaw": _codec("telephone-mulaw", "the same with G.711 µ-law"),
        "amr-nb": _codec("amr-nb", "a mobile call: the same band, AMR-NB", (12.2, 4.75), (4.75, 12.2)),
        "g722": _codec("g722", "a wide-band call: G.722 at 64 kbit/s"),
        "mp3": _codec("mp3", "MP3 at 16 kHz", (64, 16), (8, 160)),
        "aac": _codec("aac", "AAC-LC at 16 kHz", (32,), (8, 96)),
        "opus": _codec("opus", "Opus at 16 kHz", (24, 8), (6, 256)),
        "white-noise": Kind(
            "white noise over the whole recording, at this ratio of mean powers",
            effects.white_noise,
            *("dB SNR", "db", (20, 10), (-20, 80)),
        ),
        "pink-noise": Kind(
            "the same with pink noise (its power falls with 1/frequency)",
            effects.pink_noise,
            *("dB SNR", "db", (20, 10), (-20, 80)),
        ),
        "reverb": Kind(
            "a made-up room of this RT60: noise that decays, as late reverberation does (Polack's model), no real room",
            effects.made_up_room,
            *("s RT60", "s", (0.3, 0.8), (0.05, 10)),
        ),
        "packet-loss": Kind(
            "packets of 20 ms lost by chance, this share of them; silence in their place",
            effects.packet_loss,
            *("%", "pc", (5, 20), (0.1, 99)),
        ),
        "trim": Kind(
            "without the silence at both ends: frames of 20 ms that lie so far below the loudest",
            effects.trimmed,
            *("dB", "db", (40,), (5, 100)),
        ),
        "resample": Kind("down to this rate and back", effects.through_rate, "kHz", "khz", (8,), (1, 15.9)),
    }
)
RIR_MEANING = "a room of yours: one of the responses given with --rir, drawn by chance for each recording"


def conditions_of(asked: Sequence[str] | None, exclude: Sequence[str] = ()) -> tuple[list[Condition], list[str]]:
    """The conditions of a run, `clean` first, and why others of the default are not among them.

    Args:
        asked: words such as ``mp3`` (its default numbers) or ``mp3:64,16``; None for all that can be had here.
        exclude: kinds to leave out.

    Raises:
        EvalError: an unknown kind, a number that makes no sense, or a codec that this machine lacks.
    """
    words = [name for name in KINDS if name != CLEAN] if asked is None else list(asked)
    if unknown := [name for name in (*exclude, *(word.partition(":")[0] for word in words)) if name not in KINDS]:
        raise EvalError(f"expected kinds of degradation among {', '.join(KINDS)}, found {', '.join(unknown)}")
    if CLEAN in exclude:
        raise EvalError(f"{CLEAN} is always made: it is what the other conditions are judged against")
    conditions, notes = [Condition(CLEAN)], []
    for word in words:
        name = word.partition(":")[0]
        if name in exclude:
            continue
        reason = missing(KINDS[name].codec) if KINDS[name].codec else ""
        if reason and asked is not None:
            raise EvalError(f"{name}: {reason}")
        if reason:
            notes.append(f"{name} is left out: {reason}")
        else:
            conditions += _conditions(word)
    return list(dict.fromkeys(conditions)), notes


def _conditions(word: str) -> Iterator[Condition]:
    name, colon, numbers = word.partition(":")
    kind = KINDS[name]
    if colon and not kind.unit:
        raise EvalError(f"{word}: {name} takes no number")
    try:
        values = [float(number) for number in numbers.split(",")] if colon else list(kind.values)
    except ValueError:
        raise EvalError(f"{word}: expected numbers ({kind.unit}) after the colon, as in {_example(name)}") from None
    low, high = kind.limits
    for value in values:
        if not low <= value <= high:
            raise EvalError(f"{word}: expected {low:g} to {high:g} {kind.unit}, found {value:g}")
        yield Condition(name, value)
    if not values:
        yield Condition(name)


def _example(name: str) -> str:
    return f"{name}:{','.join(f'{value:g}' for value in KINDS[name].values)}"
