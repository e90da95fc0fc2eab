"""Makes docs/images/page.png again: `dfpage` shows a recording that is human at first, then synthetic.

python docs/page_picture.py 'http://127.0.0.1:8010/?token=…'     # what dfpage printed, with aasist served
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import expect, sync_playwright

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLES = PROJECT / "examples"
PICTURE = PROJECT / "docs/images/page.png"
PARTS = ("human", "synthetic", "human", "synthetic_diphone", "human")
SIZE = {"width": 1100, "height": 1000}
PATIENCE_MS = 120_000


def main(address: str) -> None:
    """Open the page at the address, have it score the recording, and save what it looks like."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        files = [spliced(Path(folder)), EXAMPLES / "human.flac", EXAMPLES / "synthetic.flac"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(address)
        page.set_input_files("#files", files)
        expect(page.locator("#progress")).to_contain_text("all done", timeout=PATIENCE_MS)
        expect(page.locator("#speech-words")).to_contain_text("of speech in", timeout=PATIENCE_MS)
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()
    print(PICTURE)


def spliced(folder: Path) -> Path:
    """The example recordings, one after the other."""
    parts = [soundfile.read(EXAMPLES / f"{name}.flac") for name in PARTS]
    path = folder / "spliced.flac"
    soundfile.write(path, np.concatenate([samples for samples, _ in parts]), parts[0][1])
    return path


if __name__ == "__main__":
    main(sys.argv[1])
