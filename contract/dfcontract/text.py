"""Numbers as text, the same in cards, score files and calibrations; and strangers' text as a terminal may have it."""

from collections.abc import Iterable


def number(value: float) -> str:
    """The shortest text of at most nine significant digits; a float32 read from it is the same float32."""
    return f"{value:.9g}"


def printable(text: str) -> str:
    """Text as one line of a terminal: line ends, escape codes and bytes that are no text as backslash escapes."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def printable_lines(lines: Iterable[str]) -> str:
    """Lines of which parts are a server's, or a file's: nobody's text may break out of its line."""
    return "\n".join(map(printable, lines))
