"""Row filters: ``codec=C05``, ``attack!=A07``, ``duration_s>=2``, ``language=pt,en``."""

import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfeval.errors import EvalError

CONDITION = re.compile(r"(?P<column>[^=!<>]+)(?P<sign>!=|<=|>=|=|<|>)(?P<value>.*)", re.DOTALL)
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


def met(condition: str, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Where a table's rows meet a condition: a column, a sign, and a value; several after ``=`` and ``!=``, by commas.

    Raises:
        EvalError: no condition, no such column, or an order asked of what is no number.
    """
    found = CONDITION.fullmatch(condition)
    if found is None:
        raise EvalError(f"--where {condition}: expected column=value, as in codec=C05 or duration_s>=2")
    column, sign, text = found["column"].strip(), found["sign"], found["value"].strip()
    if column not in table.columns:
        raise EvalError(
            f"--where {condition}: the protocol has no column {column!r}; it has {', '.join(table.columns)}"
        )
    if sign in ("=", "!="):
        is_one = table[column].astype(str).isin([value.strip() for value in text.split(",")])
        return np.asarray(is_one if sign == "=" else ~is_one, dtype=bool)
    try:
        numbers = pd.to_numeric(table[column].astype(str), errors="coerce")
        return np.asarray(COMPARISONS[sign](numbers, float(text)), dtype=bool)
    except ValueError:
        raise EvalError(f"--where {condition}: expected a number after {sign}, found {text!r}") from None
