"""Scores and a protocol in, the figures that the field publishes out.

>>> from dfeval import evaluate, join, load_protocol, load_scores
>>> trials = join(load_scores(Path("scores.csv")), load_protocol(Path("protocol.csv"), "csv"))
>>> evaluate(trials).pooled["eer"]
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfeval.errors import EvalError
    from dfeval.evaluation import evaluate
    from dfeval.protocols import load_protocol
    from dfeval.scores import load_scores
    from dfeval.trials import join

__all__ = ["EvalError", "evaluate", "join", "load_protocol", "load_scores"]

_HOME = {
    "EvalError": "errors",
    "evaluate": "evaluation",
    "join": "trials",
    "load_protocol": "protocols",
    "load_scores": "scores",
}


def __getattr__(name: str) -> object:
    """Load pandas and the rest when they are asked for: `import dfeval` stays instant."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"dfeval.{_HOME[name]}"), name)
