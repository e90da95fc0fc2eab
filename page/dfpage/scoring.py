"""One recording, one detector: the score as `dfclient score --mode sliding` makes it, as JSON for the page."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from starlette.datastructures import QueryParams

from dfclient import Clip, Detector, Score
from dfclient.audio import AudioOptions
from dfcontract.score_file import to_row
from dfcontract.windows import SLIDING
from dfpage.detectors import card_values
from dfpage.errors import PageInputError
from dfpage.uploads import Upload
from dfpage.verdict import verdict_of


@dataclass(frozen=True)
class Choice:
    """How the person wants recordings cut, pooled and mixed; the defaults are `dfclient score --mode sliding`'s."""

    model: str
    hop_s: float | None = None
    pool: str | None = None
    audio: AudioOptions = field(default_factory=AudioOptions)

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """From a request's parameters.

        Raises:
            PageInputError: one of them can't be used.
        """
        model, hop = query.get("model", ""), query.get("hop", "")
        if not model:
            raise PageInputError("expected a detector's name as the parameter `model`")
        try:
            hop_s = float(hop) if hop else None
        except ValueError:
            raise PageInputError(f"expected a number of seconds as `hop`, found {hop!r}") from None
        return cls(model, hop_s, query.get("pool") or None, chosen_audio(query))


def chosen_audio(query: QueryParams) -> AudioOptions:
    """Which channels and track a request asks for.

    Raises:
        InputError: they name none.
    """
    return AudioOptions.parsed(query.get("channels", "mix"), query.get("track") or None)


def score_upload(detector: Detector, upload: Upload, choice: Choice) -> dict[str, Any]:
    """Score a file.

    Raises:
        DfclientError: as `Detector.score`.
    """
    clip = Clip(str(upload.path), upload.stem)
    part = choice.audio
    score = detector.score(
        clip, mode=SLIDING, hop_s=choice.hop_s, pool=choice.pool, channels=part.channels, track=part.track
    )
    return score_values(replace(score, path=upload.name))


def score_values(score: Score) -> dict[str, Any]:
    """A score as the page shows it; `row` is its row of a score file, as text."""
    return {
        "row": to_row(score.as_dict()),
        "score": score.score,
        "windows": [[window.start_s, window.end_s, window.score] for window in score.windows],
        "llr": score.llr,
        "verdict": asdict(verdict_of(score)),
        "duration_s": score.duration_s,
        "sample_rate_hz": score.sample_rate_hz,
        "channels": score.channels,
        "pool": score.pool,
        "hop_s": score.hop_s,
        "warnings": score.warnings,
        "card": card_values(score.card),
    }
