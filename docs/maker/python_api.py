"""The page of the Python API, from what the packages export; mkdocstrings fills in their docstrings."""

import dfclient
import dfeval

ERRORS = ("Error", "Unavailable", "Busy", "Slow", "Denied", "NotFound", "Changed", "Refused")
DEPLOY = ("dfdeploy.embedded.Server",)
CONTRACT = ("dfcontract.calibration.Calibration", "dfcontract.fusion.Fusion", "dfcontract.windows")


def reference() -> str:
    """The page."""
    errors = [name for name in dfclient.__all__ if name.endswith(ERRORS)]
    values = [name for name in dfclient.__all__ if name not in errors]
    sections = (
        (
            "dfclient",
            "Recordings and streams to scores; see [Scoring recordings](../client.md#from-python).",
            [f"dfclient.{name}" for name in values],
        ),
        (
            "dfclient: errors",
            "Every error is a `DfclientError`, but for `ScoreFileError`.",
            [f"dfclient.{name}" for name in errors],
        ),
        (
            "dfeval",
            "Scores and protocol to figures; see [Evaluation](../evaluation.md#in-python-and-in-notebooks).",
            [f"dfeval.{name}" for name in dfeval.__all__],
        ),
        ("dfdeploy", "A server for tests and tools; see [Serving](../serving.md).", DEPLOY),
        ("dfcontract", "What the rooms agree on.", CONTRACT),
    )
    page = ["# Python\n", "From the docstrings of the names that stay; whatever else a package holds may change.\n"]
    for title, words, names in sections:
        page += [f"## {title}\n", f"{words}\n", *(f"::: {name}\n" for name in names)]
    return "\n".join(page)
