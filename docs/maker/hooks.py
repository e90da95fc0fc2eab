"""What `mkdocs build` asks while it works: the generated pages, a place for optional ones, links out of this folder."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

from maker import cards, programs, python_api  # noqa: E402  (the folder is no package)

# Pages that a checkout need not have yet; without them their place in the navigation is empty.
OPTIONAL = ("bulk.md", "compose.md", "kubernetes.md", "sizing.md", "speed.md")
# What lies outside the site's folder, and the page that says it here.
ELSEWHERE = {
    "../README.md#detectors": "models/index.md",
    "../README.md": "index.md",
    "../CONTRIBUTING.md": "contributing.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave optional pages out of the navigation where they are missing."""
    missing = {page for page in OPTIONAL if not (DOCS / page).is_file()}
    config.nav = _without(config.nav, missing)
    for entry in config.nav:
        if "Detectors" in entry:
            entry["Detectors"] += [{card.title: card.path} for card in cards.all_cards()]
    return config


def _without(nav: Any, pages: set[str]) -> Any:
    if isinstance(nav, list):
        return [kept for entry in nav if (kept := _without(entry, pages)) not in (None, {})]
    if isinstance(nav, dict):
        return {title: kept for title, entry in nav.items() if (kept := _without(entry, pages)) is not None}
    return None if nav in pages else nav


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is generated."""
    generated = {
        "reference/commands.md": programs.reference(),
        "reference/python.md": python_api.reference(),
        "models/index.md": cards.index(),
        "contributing.md": contributing(),
        **{card.path: card.text for card in cards.all_cards()},
    }
    for path, text in generated.items():
        files.append(File.generated(config, path, content=text))
    return files


def contributing() -> str:
    """CONTRIBUTING.md, whose links begin at the root."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links out of the site's folder to the page that says the same here."""
    for target, page in ELSEWHERE.items():
        markdown = markdown.replace(f"]({target})", f"]({page})")
    return markdown


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search, which a screen reader announces as a dialog."""
    return output.replace(
        'data-md-component="search" role="dialog">', 'data-md-component="search" role="dialog" aria-label="Search">'
    )
