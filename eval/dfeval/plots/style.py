"""Colours, sizes and how a figure is written.

Colours are Okabe & Ito's ("Color Universal Design", 2008), which all common kinds of colour vision tell apart; lines
differ in dash as well. In a page, colours become CSS variables, so that one picture serves light and dark.
"""

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfeval.errors import EvalError

INK = "#1b1f24"
BONAFIDE = "#0072b2"
SPOOF = "#d55e00"
DETECTORS = ("#0071b1", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d1f")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
SIZE = (6.4, 4.4)  # inches
DPI = 160
LEGEND_CHARACTERS = 62  # in a line of a legend, all columns together
LEGEND_LINE_INCHES = 0.22
SUFFIXES = (".png", ".svg")

# Names of groups may be in any script. Matplotlib takes each character from the first of these that has it.
FAMILIES = (
    *("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Devanagari", "Noto Sans Arabic"),
    *("Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai", "Noto Sans Hebrew"),
)
_PATHS = {font.name: font.fname for font in reversed(font_manager.fontManager.ttflist) if font.name in FAMILIES}
# A hundredth of a point is less than an eye sees, and a third of the page.
_COORDINATES, _DECIMALS = re.compile(r'\b(?:d|x|y|points)="[^"]*"'), re.compile(r"(\.\d\d)\d+")
_GLYPH_MISSING = r"Glyph \d+ .* missing from"

STYLE: dict[Any, Any] = {
    "font.family": [name for name in FAMILIES if name in _PATHS] or ["sans-serif"],
    **{"font.size": 12, "axes.titlesize": 12, "axes.labelsize": 12, "legend.fontsize": 10.5},
    **{"xtick.labelsize": 11, "ytick.labelsize": 11, "lines.linewidth": 2, "legend.frameon": False},
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
    **{"axes.grid": True, "grid.color": INK, "grid.alpha": 0.13, "grid.linewidth": 0.8},
    **{"svg.fonttype": "path", "svg.hashsalt": "dfeval", "text.parse_math": False},  # a name may hold a dollar sign
}
CSS_NAMES = {INK: "ink", BONAFIDE: "bonafide", SPOOF: "spoof"} | {
    colour: f"detector-{index}" for index, colour in enumerate(DETECTORS)
}


styled = mpl.rc_context(STYLE)  # decorates what draws or writes a figure


def axes(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, laid out so that no text is clipped."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def legend(figure: Figure, n_columns: int) -> None:
    """The legend above the axes, where it hides nothing: one column where names are too long for several."""
    labels = [label for ax in figure.axes for label in ax.get_legend_handles_labels()[1]]
    if max(map(len, labels), default=0) * n_columns > LEGEND_CHARACTERS:
        n_columns = 1
        figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + LEGEND_LINE_INCHES * (len(labels) - 1))
    figure.legend(loc="outside upper center", ncols=n_columns)


def colour_of(detector: int) -> str:
    """Colour of the n-th detector; they repeat after six."""
    return DETECTORS[detector % len(DETECTORS)]


def dash_of(detector: int) -> Any:
    """Dash of the n-th detector, another one for each of those that have its colour."""
    return DASHES[(detector + detector // len(DETECTORS)) % len(DASHES)]


def marker_of(detector: int) -> str:
    """Marker of the n-th detector, another one for each of those that have its colour."""
    return MARKERS[(detector + detector // len(DETECTORS)) % len(MARKERS)]


def undrawable(texts: Iterable[str]) -> str:
    """The characters of texts that no font at hand has: a picture shows a box in place of each."""
    characters = {character for text in texts for character in text if not character.isspace()}
    known = [font_manager.get_font(path).get_charmap() for path in _PATHS.values()]
    return "".join(sorted(one for one in characters if not any(ord(one) in charmap for charmap in known)))


@contextmanager
def _boxes_for_missing_glyphs() -> Iterator[None]:
    """No warning for each character that `undrawable` has named already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_GLYPH_MISSING)
        yield


@styled
def save(figure: Figure, folder: Path, name: str) -> None:
    """Write ``name``.png and ``name``.svg on white."""
    for suffix in SUFFIXES:
        save_as(figure, folder / f"{name}{suffix}")


@styled
def save_as(figure: Figure, path: Path) -> None:
    """Write a figure on white as PNG or SVG, as the suffix says."""
    if path.suffix not in SUFFIXES:
        raise EvalError(f"{path}: expected a file name that ends in {' or '.join(SUFFIXES)}")
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with _boxes_for_missing_glyphs():
        figure.savefig(path, dpi=DPI, facecolor="white", metadata=metadata)


@styled
def inline_svg(figure: Figure, name: str) -> str:
    """The figure as SVG markup for a page: no background, colours from the page's CSS, ids its own.

    Its text stays text: a browser has fonts for every script, and glyphs drawn as paths would be half of the page.
    """
    buffer = io.StringIO()
    with _boxes_for_missing_glyphs(), mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    markup = buffer.getvalue()
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", markup, flags=re.DOTALL)
    markup = _COORDINATES.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), markup)
    markup = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", markup)
    for colour, variable in CSS_NAMES.items():
        markup = re.sub(rf"(fill|stroke): {colour}", rf"\1: var(--{variable})", markup, flags=re.IGNORECASE)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", markup))
