"""What a detector's scores are worth: error rates that somebody published, with the data and who says so."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
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
        if not (
            _is_rate(percent) and isinstance(data, str) and isinstance(source, str) and isinstance(trained_on, bool)
        ):
            raise ValueError
        return cls(data, percent, source, trained_on)


@dataclass(frozen=True)
class Transfer:
    """How a threshold that was set on one data set did on another one, as every deployed threshold has to.

    Attributes:
        set_on: the data set that the threshold was set on.
        data: the one that it was applied to.
        rejected_percent: of the bona fide recordings there.
        accepted_percent: of the spoofed ones; None where nobody says.
        eer_percent: what a threshold set on that data would have given.
        source: who says so.
    """

    set_on: str
    data: str
    rejected_percent: float
    accepted_percent: float | None
    eer_percent: float
    source: str

    def __str__(self) -> str:
        """One line."""
        accepted = "" if self.accepted_percent is None else f" and accepted {self.accepted_percent:g} % of the spoof"
        return (
            f"a threshold set on {self.set_on} rejected {self.rejected_percent:g} % of the bona fide{accepted} "
            f"recordings of {self.data}, where the equal error rate is {self.eer_percent:g} % ({self.source})"
        )

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """The inverse of `dataclasses.asdict`.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(values, dict) or values.keys() != {one.name for one in fields(cls)}:
            raise ValueError
        texts = (values["set_on"], values["data"], values["source"])
        rates = (values["rejected_percent"], values["eer_percent"])
        accepted = values["accepted_percent"]
        if not all(isinstance(text, str) for text in texts) or not all(map(_is_rate, rates)):
            raise ValueError
        if not (accepted is None or _is_rate(accepted)):
            raise ValueError
        return cls(**values)


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


def to_text(published: Sequence[Eer] | Sequence[Transfer]) -> str:
    """What was published as one parameter of a card."""
    values = [one.to_json() if isinstance(one, Eer) else asdict(one) for one in published]
    return json.dumps(values, ensure_ascii=False)


def from_text(text: str) -> tuple[Eer, ...]:
    """Rates from their text.

    Raises:
        ValueError: the text holds something else.
    """
    return tuple(map(Eer.from_json, _list_in(text)))


def transfers_from_text(text: str) -> tuple[Transfer, ...]:
    """Transferred thresholds from their text; errors as of `from_text`."""
    return tuple(map(Transfer.from_json, _list_in(text)))


def _list_in(text: str) -> list[Any]:
    values = json.loads(text)
    if not isinstance(values, list):
        raise ValueError
    return values


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
