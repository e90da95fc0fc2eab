"""The site builds without a warning, its links lead somewhere, and a browser that opens it asks nobody else."""

import os
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pages
import pytest

import axe_core

pytestmark = pytest.mark.slow
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Built as `make docs` builds it; a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=pages.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


class Document(HTMLParser):
    """What a page loads, what it links to, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in values:
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(values["href"])


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[str, Document]:
    return {str(path.relative_to(site)): Document(path.read_text()) for path in site.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere(documents):
    foreign = {name: [url for url in found.loads if "//" in url] for name, found in documents.items()}
    assert {name: urls for name, urls in foreign.items() if urls} == {}


def test_every_link_inside_leads_to_a_place(site, documents):
    broken = []
    for name, document in documents.items():
        for link in document.links if name != "404.html" else []:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = Path(os.path.normpath(target / "index.html" if target.is_dir() else target))
            known = documents.get(str(target.relative_to(site)))
            if not target.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                broken.append(f"{name}: {link}")
    assert broken == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def opened(site):
    """A browser, and the site's address."""
    sync_api = pytest.importorskip("playwright.sync_api")
    serve = partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server, sync_api.sync_playwright() as playwright:
        Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser, f"http://127.0.0.1:{server.server_port}/"
        browser.close()
        server.shutdown()


def test_a_browser_asks_nobody_else(opened):
    browser, own = opened
    asked: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for path in ("index.html", "tutorial.html", "models/sls.html", "reference/python.html"):
        page.goto(own + path, wait_until="networkidle")
    page.get_by_placeholder("Search").click()
    page.keyboard.type("calibrate")
    page.locator(".md-search-result__item").first.wait_for(timeout=PATIENCE_MS)
    page.close()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((own, "data:", "blob:"))] == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_nothing_serious_is_in_the_way_of_anybody(opened, width, scheme, tmp_path):
    browser, own = opened
    axe = axe_core.source(tmp_path)
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    page, found = context.new_page(), {}
    for path in ("index.html", "tutorial.html", "models/aasist.html", "models/index.html", "howto/calibrate.html"):
        page.goto(own + path, wait_until="networkidle")
        found[path] = axe_core.faults(page, axe)
    context.close()
    assert {path: faults for path, faults in found.items() if faults} == {}
