"""What a detector's scores are worth: the equal error rates that somebody published, with the data and who says so."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

NOT_DISCLOSED = "not disclosed"
_KEYS = {"data", "percent", "source", "trained_on"}


@dataclass(frozen=True)
class Eer:
    """An equal error rate that somebody published.

    Attributes:
        data: the data set, and which part of it.
        percent: the rate; lower is better, 50 is guessing.
        source: who says so; "" for the detector's authors.
        trained_on: whether data of the same set was in the training data, so that the figure says little of other
            data.
    """

    data: str
    percent: float
    source: str = ""
    trained_on: bool = False

    def __str__(self) -> str:
        """One line: the data set, the rate, and what makes it worth less."""
        notes = [self.source] if self.source else []
        notes += ["trained on this set"] if self.trained_on else []
        return f"{self.data} {self.percent:g} %" + (f" ({', '.join(notes)})" if notes else "")

    def to_json(self) -> dict[str, Any]:
        """What has a value, under the names of the fields."""
        notes = {"source": self.source, "trained_on": self.trained_on}
        return {"data": self.data, "percent": self.percent, **{key: note for key, note in notes.items() if note}}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """The inverse.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(values, dict) or not {"data", "percent"} <= values.keys() <= _KEYS:
            raise ValueError
        data, percent = values["data"], values["percent"]
        source, trained_on = values.get("source", ""), values.get("trained_on", False)
        is_rate = isinstance(percent, int | float) and not isinstance(percent, bool) and 0 <= percent <= 100
        if not (is_rate and isinstance(data, str) and isinstance(source, str) and isinstance(trained_on, bool)):
            raise ValueError
        return cls(data, percent, source, trained_on)


def to_text(eers: Sequence[Eer]) -> str:
    """Rates as one parameter of a card."""
    return json.dumps([eer.to_json() for eer in eers], ensure_ascii=False)


def from_text(text: str) -> tuple[Eer, ...]:
    """The inverse.

    Raises:
        ValueError: the text holds something else.
    """
    values = json.loads(text)
    if not isinstance(values, list):
        raise ValueError
    return tuple(Eer.from_json(value) for value in values)


def out_of_domain(eers: Sequence[Eer], trained_on: str) -> str:
    """One line for whoever has scored: how wrong such scores were on other data than the training's.

    Args:
        eers: of the weights.
        trained_on: what is known of their training data; "" for nothing.

    Returns:
        The line; "" where nobody published anything of the kind.
    """
    others = sorted((eer for eer in eers if not eer.trained_on), key=lambda eer: eer.percent)
    if not others:
        return ""
    named = [f"{eer.percent:g} % ({eer.data})" for eer in (others[0], others[-1])]
    rates = named[0] if len(others) == 1 else " to ".join(named)
    if trained_on in ("", NOT_DISCLOSED):
        return f"published equal error rates of such scores: {rates}; what the model was trained on is {NOT_DISCLOSED}"
    return f"published equal error rates of such scores on data that the model was not trained on: {rates}"
