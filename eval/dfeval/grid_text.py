"""Grids of figures as Markdown, as LaTeX with booktabs, and as JSON."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from dfeval.console import NOTHING, bounds
from dfeval.grids import Grid

_LATEX = {**{mark: rf"\{mark}" for mark in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
_LATEX |= {"^": r"\textasciicircum{}"}
_LATEX_SPECIAL = re.compile(r"[&%$#_{}\\~^]")


def markdown(grids: Sequence[Grid]) -> str:
    """Tables with a line of title each; the best of a column is bold, intervals stand behind their figures."""
    return "\n".join(map(_markdown, grids))


def latex(grids: Sequence[Grid]) -> str:
    r"""A tabular each, for ``\usepackage{booktabs}``; the best of a column is bold, intervals are small below."""
    return "\n".join(map(_latex, grids))


def as_json(grids: Sequence[Grid]) -> str:
    """Every cell with its interval and counts."""
    content = [
        {
            **{"title": grid.title, "metric": grid.metric, "corner": grid.corner},
            "cells": [
                {"row": row, "column": column, **dataclasses.asdict(grid.cells[row, column])}
                for row in grid.rows
                for column in grid.columns
                if (row, column) in grid.cells
            ],
        }
        for grid in grids
    ]
    return json.dumps(content, indent=2) + "\n"


# By the suffix of the file that is written.
WRITERS: Mapping[str, Callable[[Sequence[Grid]], str]] = MappingProxyType(
    {".md": markdown, ".tex": latex, ".json": as_json}
)


def _markdown(grid: Grid) -> str:
    def cell(row: str, column: str) -> str:
        if (row, column) not in grid.cells:
            return NOTHING
        figure = grid.cells[row, column]
        value = _value(grid, figure.value)
        value = f"**{value}**" if grid.is_best(row, column) else value
        return f"{value} ({bounds(figure.interval, grid.is_rate)})" if figure.interval else value

    lines = [
        [grid.corner, *grid.columns],
        *([row, *(cell(row, column) for column in grid.columns)] for row in grid.rows),
    ]
    texts = [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines]
    return "\n".join([f"{_heading(grid)}\n", texts[0], "|---" + "|---:" * len(grid.columns) + "|", *texts[1:], ""])


def _latex(grid: Grid) -> str:
    def cell(row: str, column: str) -> str:
        if (row, column) not in grid.cells:
            return "--"
        value = _value(grid, grid.cells[row, column].value)
        return rf"\textbf{{{value}}}" if grid.is_best(row, column) else value

    def below(row: str, column: str) -> str:
        figure = grid.cells.get((row, column))
        if figure is None or figure.interval is None:
            return ""
        return rf"{{\scriptsize {bounds(figure.interval, grid.is_rate).replace(' to ', '--')}}}"

    lines = [rf"% {_heading(grid)}; needs \usepackage{{booktabs}}", rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}"]
    lines += [r"\toprule", _latex_line([grid.corner, *grid.columns]), r"\midrule"]
    for row in grid.rows:
        lines.append(" & ".join([_escaped(row), *(cell(row, column) for column in grid.columns)]) + r" \\")
        if any(texts := [below(row, column) for column in grid.columns]):
            lines.append(" & ".join(["", *texts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _heading(grid: Grid) -> str:
    return f"{grid.title}{' (%)' if grid.is_rate else ''}"


def _value(grid: Grid, value: float) -> str:
    return f"{100 * value:.2f}" if grid.is_rate else f"{value:.4f}"


def _latex_line(texts: Sequence[str]) -> str:
    return " & ".join(map(_escaped, texts)) + r" \\"


def _escaped(text: str) -> str:
    return _LATEX_SPECIAL.sub(lambda mark: _LATEX[mark[0]], text)
