"""From a recording's drop on the page to its verdict in words, beside the inference that lies in it.

    python benchmarks/page.py [--repository DIR] [--models NAME ...] [--seconds S] [--rounds N]

Serves the repository and the page, opens it in Chromium without a window, and gives it the example recordings one after
the other as one FLAC file. In each round the same windows go to the server alone, the same file through the client
library, and the file to the page, with one detector chosen; while the page waits for its verdict it also has the audio
drawn and speech found, as it always has. What is printed are medians. Needs Playwright and Chromium, as the tests do.
"""

import argparse
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Page, expect, sync_playwright
from rich.console import Console
from rich.table import Table

from dfclient import Detector, Server
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfcontract.windows import SLIDING, cut
from dfdeploy import embedded
from dfpage.cli import hosts_of, server_of
from dfpage.settings import Settings

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PATIENCE_MS = 300_000
WAYS = ("inference", "client", "page")


def main() -> None:
    """Measure each detector, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--models", nargs="+", help="default: all that are served")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("detector", title=f"{options.seconds:g} s of FLAC, medians of {options.rounds} rounds, seconds")
    for title in (*WAYS, "page beyond inference"):
        table.add_column(title, justify="right")
    with embedded.Server(options.repository) as server, tempfile.TemporaryDirectory() as folder:
        with Server(server.grpc_url) as known:
            models = options.models or [card.model for card in known.models()]
        for model in models:
            found = measured(server.grpc_url, model, Path(folder), options.seconds, options.rounds)
            medians = [statistics.median(found[way]) for way in WAYS]
            over = statistics.median(
                page - alone for page, alone in zip(found["page"], found["inference"], strict=True)
            )
            table.add_row(model, *(f"{value:.2f}" for value in (*medians, over)))
    Console().print(table)


def measured(url: str, model: str, folder: Path, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds that each way takes, round by round."""
    samples = recording(seconds)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with Detector(url, model) as detector, shown(url, model) as page:
        starts = detector.windowing(SLIDING).starts(len(samples))
        card = detector.card
        windows = np.stack([cut(samples, start, card.window_samples, card.pre_emphasis) for start in starts])
        for number in range(rounds + 1):
            path = folder / f"{model}_{number}.flac"
            soundfile.write(path, samples, SAMPLE_RATE_HZ)
            took = {
                "inference": seconds_of(partial(detector.infer, windows)),
                "client": seconds_of(partial(detector.score, path, mode=SLIDING)),
                "page": seconds_of(partial(drop, page, path)),
            }
            settle(page)
            for way, value in took.items() if number else ():  # the first round warms all of them
                found[way].append(value)
    return found


def recording(seconds: float) -> np.ndarray:
    """The example recordings one after the other, again and again."""
    parts = [soundfile.read(path, dtype="float32")[0] for path in sorted(EXAMPLES.glob("*.flac"))]
    whole = np.concatenate(parts)
    return np.resize(whole, round(seconds * SAMPLE_RATE_HZ))


@contextmanager
def shown(url: str, model: str) -> Iterator[Page]:
    """The page in a browser, with one detector chosen."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings = Settings(url, hosts_of("127.0.0.1", port, []), port)
    server = server_of(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"http://127.0.0.1:{port}/?token={settings.token}")
        expect(page.locator("#server")).to_have_attribute("data-state", "up")
        for box in page.locator("#detectors input").all():
            if box.get_attribute("id") != f"detector-{model}":
                box.uncheck()
        yield page
        browser.close()
    server.should_exit = True
    thread.join()
    listener.close()


def drop(page: Page, path: Path) -> None:
    """Give the page a file, and wait until it has said what the score means."""
    page.set_input_files("#files", str(path))
    page.wait_for_function(
        """(name) => document.getElementById("shown-title").textContent === name
            && document.querySelector("#shown .verdict .numbers") !== null""",
        arg=path.name,
        timeout=PATIENCE_MS,
    )


def settle(page: Page) -> None:
    """Wait until speech is found, too: that work would slow down what is measured next."""
    expect(page.locator("#speech-words")).to_contain_text("of speech in", timeout=PATIENCE_MS)


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
