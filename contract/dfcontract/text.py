"""Numbers as text, the same in cards, score files and calibrations."""


def number(value: float) -> str:
    """The shortest text of at most nine significant digits; a float32 read from it is the same float32."""
    return f"{value:.9g}"
