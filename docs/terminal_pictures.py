"""Makes docs/images/demo.svg and docs/images/report.png again: the demonstration and a report, as they really are.

    python docs/terminal_pictures.py demo [--weights-dir DIR]        # runs examples/demo.py and keeps what it prints
    python docs/terminal_pictures.py report REPORT                   # a folder that `dfeval report --out` wrote

docs/page_picture.py makes the page's.
"""

import argparse
import inspect
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
COLUMNS = 112
WIDTH, HEIGHT = 1100, 2128  # of the report's picture
# rich's picture asks a CDN for its font; a README's picture may not, and any fixed font will do.
FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*(?=@font-face|\.\{unique_id\})", re.DOTALL)
SVG = FONT_FACES.sub("", inspect.signature(Console.save_svg).parameters["code_format"].default)


def demo(weights_dir: Path) -> Path:
    """Run the demonstration in an empty folder, with its console recorded."""
    sys.path.insert(0, str(ROOT / "examples"))
    import demo

    path = IMAGES / "demo.svg"
    # No terminal, so that no spinner's frames are recorded.
    demo.console = Console(record=True, highlight=False, width=COLUMNS, color_system="truecolor", file=io.StringIO())
    weights, before = weights_dir.resolve(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            demo.console.print("[bold]$ make demo[/]")
            if demo.main(["--weights-dir", str(weights)]):
                sys.exit("the demonstration failed")
        finally:
            os.chdir(before)
    demo.console.save_svg(str(path), title="dfserve", code_format=SVG)
    return path


def report(folder: Path) -> Path:
    """The top of a report's page."""
    from playwright.sync_api import sync_playwright

    path = IMAGES / "report.png"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
        page.goto((folder / "index.html").resolve().as_uri())
        page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})
        browser.close()
    return path


def main() -> None:
    """Make the picture that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    pictures = parser.add_subparsers(required=True, metavar="PICTURE")
    of_demo = pictures.add_parser("demo", help="docs/images/demo.svg")
    of_demo.add_argument("--weights-dir", type=Path, default=Path("weights"))
    of_demo.set_defaults(make=lambda arguments: demo(arguments.weights_dir))
    of_report = pictures.add_parser("report", help="docs/images/report.png")
    of_report.add_argument("report", type=Path, metavar="REPORT")
    of_report.set_defaults(make=lambda arguments: report(arguments.report))
    arguments = parser.parse_args()
    print(arguments.make(arguments))


if __name__ == "__main__":
    main()
