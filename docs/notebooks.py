"""Write a notebook for each detector family, from `inference.ipynb`, the registry and what a family is.

    python docs/notebooks.py      (make docs-tables; a test fails when one is stale)

The seed of this project had one for each of these families.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maker import architectures, cards

from dfexport.registry import find

FOLDER = Path(__file__).resolve().parents[1] / "eval/dfeval/notebooks"
TEMPLATE = FOLDER / "inference.ipynb"
DEFAULT = 'os.environ.get("DFSERVE_MODEL", "aasist")'
# Notebook → the detectors of its family; the first is what it asks the server for.
FAMILIES = {
    "aasist": ("aasist", "aasist_l"),
    "ssl_aasist": ("ssl_aasist", "ssl_aasist_la"),
    "sls": ("sls",),
    "xlsr_mamba": ("xlsr_mamba", "xlsr_mamba_la"),
}


def notebooks() -> Iterator[tuple[Path, str]]:
    """Each notebook's file and what has to be in it."""
    for family, names in FAMILIES.items():
        notebook: dict[str, Any] = json.loads(TEMPLATE.read_text(encoding="utf-8"))
        first, *cells = notebook["cells"]
        notebook["cells"] = [
            {**first, "source": _lines(_introduction(names))},
            *(_asking(cell, names[0]) for cell in cells),
        ]
        yield FOLDER / f"{family}.ipynb", json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _introduction(names: tuple[str, ...]) -> str:
    specs = [find(name) for name in names]
    first = specs[0]
    window = f"{first.window_samples:,} samples ({first.window_s:.4g} s)"
    lines = [
        f"# {first.name}: scores from a running server\n",
        f"{architectures.architecture(first).summary}\n",
        f"{first.paper}.\n",
        *(f"- `{spec.name}`: {spec.result}; weights: {spec.checkpoint.licence}" for spec in specs),
        f"\nIt hears {window} at a time. {cards.SCORE_WORDS[first.score_kind]}",
        f"\nStart a server first (`dfexport build {first.name}`, then `dfdeploy serve`), and put some recordings into",
        "a folder. Everything below talks to the server over gRPC; no torch is needed here. The settings may come from",
        "the environment.",
    ]
    return "\n".join(lines)


def _asking(cell: dict[str, Any], name: str) -> dict[str, Any]:
    return {**cell, "source": [line.replace(DEFAULT, DEFAULT.replace("aasist", name)) for line in cell["source"]]}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    for path, text in notebooks():
        path.write_text(text, encoding="utf-8")
        print(path.name)
