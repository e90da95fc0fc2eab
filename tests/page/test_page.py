"""The page end to end: Chromium, the page's own HTTP server, a real Triton, real audio."""

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect

import audio_forms
import tiny_repository
from axe_core import faults
from dfclient import Detector
from dfclient.cli.main import main as dfclient
from dfcontract.calibration import Calibration, Threshold
from dfcontract.score_file import from_row
from dfdeploy.embedded import Server

SECONDS = 1000
PATIENCE = 30 * SECONDS


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1000, "height": 900}, accept_downloads=True)
    made.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield made
    made.close()


def opened(context: BrowserContext, address: str) -> Page:
    """The page with its detectors; nothing that it says in the console is an error."""
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    expect(page.locator("#server")).to_have_attribute("data-state", "up")
    return page


def drop(page: Page, *paths: Path, done: bool = True) -> None:
    page.set_input_files("#files", [str(path) for path in paths])
    if done:
        expect(page.locator("#progress")).to_contain_text("all done")


def saved(page: Page, model: str) -> bytes:
    """The score rows of a detector, as the page writes them."""
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Score rows of {model} as CSV", exact=True).click()
    return download.value.path().read_bytes()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_dropped_file_has_dfclients_scores_and_a_verdict_in_words(context, served, tiny_server, recordings, tmp_path):
    page = opened(context, served.address)
    assert "token" not in page.url
    drop(page, recordings / "synthetic.wav", recordings / "human.flac")
    for model in ("tiny", "tiny_trained"):
        out = tmp_path / f"{model}.csv"
        paths = [str(recordings / name) for name in ("synthetic.wav", "human.flac")]
        command = ["score", *paths, "--model", model, "--mode", "sliding", "--url", tiny_server.grpc_url]
        assert dfclient([*command, "--out", str(out)]) == 0
        ours, theirs = rows_of(saved(page, model)), rows_of(out.read_bytes())
        assert [row["path"] for row in ours] == ["synthetic.wav", "human.flac"]
        for mine, other in zip(ours, theirs, strict=True):
            scored = {"score", "window_scores", "path"}
            assert {k: v for k, v in mine.items() if k not in scored} == {
                k: v for k, v in other.items() if k not in scored
            }
            for name in ("score", "window_scores"):  # batches of another size move the last digits
                np.testing.assert_allclose(from_row(mine)[name], from_row(other)[name], atol=1e-6)
    score = float(ours[0]["score"])
    trained = page.locator(".verdict", has=page.get_by_role("heading", name="tiny_trained"))
    side = "Above" if score >= 0.25 else "Below"
    expect(trained.locator(".headline")).to_contain_text(f"{side} the threshold")
    expect(trained).to_contain_text(f"score {score:.4f}".replace("-", "\N{MINUS SIGN}"))
    expect(trained).to_contain_text("The threshold 0.25 was set on a made-up set")
    expect(trained).to_contain_text("mean of 5 windows")
    untrained = page.locator(".verdict", has=page.get_by_role("heading", name="tiny", exact=True))
    expect(untrained).to_contain_text("No verdict: random weights")
    expect(page.locator("#announce")).to_contain_text(f"{side} the threshold")
    assert page.errors == []


def test_a_minute_is_drawn_heard_and_tabled(context, served, recordings, tmp_path):
    page = opened(context, served.address)
    drop(page, recordings / "minute.flac")
    expect(page.locator("#facts")).to_have_text("1:00.0 · 16000 Hz · 1 channel")
    expect(page.locator("#speech-words")).to_contain_text("by Silero's voice activity detector")
    page.click("#windows-box > summary")
    rows = page.locator("#windows-scroll tbody tr")
    expect(rows).to_have_count(60)
    expect(rows.nth(6)).to_contain_text("0 %")  # the silence, from 5.3 to 7.3 s
    listen(page)
    rows.nth(2).get_by_role("button").click()
    assert page.evaluate("played")
    cursor = page.get_by_role("slider")
    assert "window 3 of 60, 0:02.0 to 0:03.0" in cursor.get_attribute("aria-valuetext")
    expect(page.locator("#stop")).to_be_disabled()  # a second later it has ended
    box = cursor.bounding_box()
    left, right = 46, 10  # of the time axis, beside it
    cursor.click(position={"x": left + 29.5 / 60 * (box["width"] - left - right), "y": 40})
    assert "0:29.0 to 0:30.0" in cursor.get_attribute("aria-valuetext")
    with page.expect_download() as download:
        page.click("#save-png")
    assert download.value.suggested_filename == "minute.flac.png"
    png = download.value.path().read_bytes()
    assert png.startswith(b"\x89PNG")
    with page.expect_download() as download:
        page.click("#save-svg")
    assert download.value.suggested_filename == "minute.flac.svg"
    svg = download.value.path().read_bytes()
    assert_a_picture_of_its_own(svg)
    assert difference(page, png, svg) < 4  # of 255: letters are smoothed otherwise
    assert coloured(page) > 4
    assert page.errors == []


def assert_a_picture_of_its_own(svg: bytes) -> None:
    """It holds each window's score as a line, says what it is, and asks nobody for anything."""
    root = ElementTree.fromstring(svg)
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert [element.get("stroke-width") for element in root.iter()].count("3") == 2 * 60
    assert {"minute.flac", "Waveform", "Spectrogram", "Speech", "tiny", "tiny_trained"} <= set(texts)
    assert any("never a proof" in text for text in texts)
    assert names.count("pattern") >= 1  # the hatching of silence
    assert names.count("image") == names.count("pattern") + 1  # and the spectrogram
    links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert all(link.startswith("data:image/png;base64,") for link in links)


def difference(page: Page, png: bytes, svg: bytes) -> float:
    """Mean difference of the two pictures, 0 to 255, when Chromium draws both."""
    both = [base64.b64encode(content).decode() for content in (png, svg)]
    blank = page.context.new_page()
    try:
        return blank.evaluate(
            """async ([png, svg]) => {
                const pixels = await Promise.all([`png;base64,${png}`, `svg+xml;base64,${svg}`].map(async (data) => {
                    const image = new Image();
                    image.src = `data:image/${data}`;
                    await image.decode();
                    const canvas = new OffscreenCanvas(1200, 600), pen = canvas.getContext("2d");
                    pen.drawImage(image, 0, 0, 1200, 600);
                    return pen.getImageData(0, 0, 1200, 600).data;
                }));
                const [drawn, other] = pixels;
                return drawn.reduce((sum, value, at) => sum + Math.abs(value - other[at]), 0) / drawn.length;
            }""",
            both,
        )
    finally:
        blank.close()


def listen(page: Page) -> None:
    """Have the page note that it plays, however briefly: its promise `played` is kept then."""
    page.evaluate("""() => {
        const stop = document.getElementById("stop");
        window.played = new Promise((resolve) => {
            new MutationObserver(() => stop.disabled || resolve(true)).observe(stop, { attributes: true });
        });
    }""")


def coloured(page: Page) -> int:
    """How many colours the picture has: an empty one has a line or two."""
    return page.evaluate("""() => {
        const canvas = document.getElementById("base");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set(new Uint32Array(data.buffer));
        return found.size;
    }""")


def test_by_keyboard_alone(context, served, recordings):
    page = opened(context, served.address)
    page.on("filechooser", lambda chooser: chooser.set_files(str(recordings / "minute.flac")))
    press(page, "choose-files")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("all done")
    press(page, "cursor")
    cursor = page.locator("#cursor")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(cursor).to_have_attribute("aria-valuenow", "60")
    assert cursor.get_attribute("aria-valuetext").startswith("tiny_trained, window 60 of 60, 0:59.0 to 1:00.0, score ")
    page.keyboard.press("ArrowLeft")
    expect(cursor).to_have_attribute("aria-valuenow", "59")
    listen(page)
    page.keyboard.press("Enter")
    assert page.evaluate("played")
    page.keyboard.press("Home")
    press(page, "play-all", backwards=True)
    page.keyboard.press("Enter")  # a minute of sound
    press(page, "stop")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_disabled()
    assert page.errors == []


def press(page: Page, target: str, *, backwards: bool = False) -> None:
    """Tab until the element of that id has the focus, which is seen."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate("document.activeElement.id") == target:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    raise AssertionError(f"the keyboard does not reach {target}")


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 360),
        ("dark", 360),
        *(pytest.param(scheme, width, marks=pytest.mark.slow) for scheme in ("light", "dark") for width in (768, 1280)),
    ],
)
def test_nothing_serious_is_in_the_way_of_anybody(browser, served, recordings, axe, scheme, width):
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 740}, reduced_motion="reduce"
    )
    page = opened(context, served.address)
    empty = faults(page, axe)
    drop(page, recordings / "human.flac", recordings / "no_audio.wav")
    page.click("#windows-box > summary")
    page.locator(".verdict summary").first.click()
    page.locator(".options summary").click()
    full = faults(page, axe)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.evaluate("document.getElementById('cursor').removeAttribute('aria-label')")
    spoilt = faults(page, axe)
    context.close()
    assert (empty, full) == ([], [])
    assert "cursor" in spoilt[0]  # it does see a fault where one is
    assert wide == 0


def test_nothing_is_asked_of_anybody_else(context, served, recordings):
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://", 1)))
    page.goto(served.address)
    expect(page.locator("#server")).to_have_attribute("data-state", "up")
    drop(page, recordings / "human.flac")
    with page.expect_download():
        page.click("#save-png")
    saved(page, "tiny")
    page.click("#record")
    page.wait_for_timeout(500)
    page.click("#record")
    expect(page.locator("#progress")).to_contain_text("2 recordings, all done")
    assert any("/api/live" in address for address in asked)
    assert [address for address in asked if not address.startswith((f"{served.origin}/", "blob:"))] == []


def test_recordings_sort_and_go(context, served, recordings):
    page = opened(context, served.address)
    drop(page, recordings / "synthetic.wav", recordings / "minute.flac", recordings / "no_audio.wav")
    names = page.locator("#recordings tbody th")
    length = page.get_by_role("button", name="Length")
    length.click()
    expect(names).to_have_text(["synthetic.wav", "minute.flac", "no_audio.wav"])
    length.click()
    expect(names).to_have_text(["minute.flac", "synthetic.wav", "no_audio.wav"])  # without a length: last
    expect(page.locator("#recordings th[aria-sort=descending]")).to_have_text("Length")
    expect(page.locator("#recordings")).to_contain_text("not readable as audio")
    expect(page.locator("#shown-title")).to_have_text("synthetic.wav")
    page.get_by_role("button", name="no_audio.wav", exact=True).click()
    expect(page.locator("#shown-title")).to_have_text("no_audio.wav")
    expect(page.locator(".verdict .headline").first).to_contain_text("Not scored")
    page.get_by_role("button", name="Remove no_audio.wav").click()
    expect(names).to_have_count(2)
    page.click("#clear")
    expect(page.locator("#listing")).to_be_hidden()
    expect(page.locator("#shown")).to_be_hidden()
    assert page.errors == []


def test_a_folder_is_searched_as_dfclient_does(context, served, recordings, tmp_path):
    folder = tmp_path / "set"
    for name in ("b/take.flac", "a/take.flac", "._take.flac", "notes.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((recordings / "human.flac").read_bytes())
    page = opened(context, served.address)
    page.set_input_files("#folder", str(folder))
    expect(page.locator("#progress")).to_contain_text("2 recordings, all done")
    assert [row["utt_id"] for row in rows_of(saved(page, "tiny"))] == ["set/a/take.flac", "set/b/take.flac"]


def test_what_is_dropped_is_taken_and_its_name_is_text(context, served, recordings):
    page, name = opened(context, served.address), "<img src=x onerror=document.title='owned'>.flac"
    page.evaluate(
        """async ({ name, content }) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name));
            for (const kind of ["dragenter", "dragover", "drop"]) {
                document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
            }
        }""",
        {"name": name, "content": base64.b64encode((recordings / "human.flac").read_bytes()).decode()},
    )
    expect(page.locator("#progress")).to_contain_text("1 recording, all done")
    expect(page.locator("#shown-title")).to_have_text(name)
    assert page.locator("main img").count() == 0
    assert page.title() == "Look at a recording · dfserve"
    assert rows_of(saved(page, "tiny"))[0]["path"] == name


def test_options_cut_and_pool_otherwise(context, served, tiny_server, recordings):
    page = opened(context, served.address)
    page.click(".options summary")
    drop(page, recordings / "human.flac")
    page.select_option("#hop", "half")
    page.select_option("#pool", "min")
    expect(page.locator("#progress")).to_contain_text("all done")
    expect(page.locator(".verdict").last).to_contain_text("lowest score of 10 windows")
    (row,) = rows_of(saved(page, "tiny_trained"))
    with Detector(tiny_server.grpc_url, "tiny_trained") as detector:
        expected = detector.score(recordings / "human.flac", mode="sliding", hop_s=0.5, pool="min")
    assert float(row["score"]) == pytest.approx(expected.score, abs=1e-6)
    page.uncheck("#detector-tiny")
    expect(page.locator(".verdict")).to_have_count(1)


def test_the_microphone_is_scored_while_it_records_and_then_as_a_recording(context, served):
    page = opened(context, served.address)
    heard: dict[str, list[list[float]]] = {}

    def follow(socket) -> None:
        windows = heard.setdefault(socket.url.split("model=")[1].split("&")[0], [])
        socket.on("framereceived", lambda frame: windows.append(json.loads(frame)))

    page.on("websocket", follow)
    page.click("#record")
    live = page.locator(".verdict", has=page.get_by_role("heading", name="tiny_trained"))
    expect(live.locator(".headline")).to_contain_text("So far")
    expect(live).to_contain_text(re.compile(r"([2-9]|\d\d) windows scored"))
    page.click("#record")
    expect(page.locator("#shown-title")).to_contain_text("microphone-")
    expect(page.locator("#progress")).to_contain_text("1 recording, all done")
    expect(page.locator("#record")).to_have_text("Use the microphone")
    (row,) = map(from_row, rows_of(saved(page, "tiny_trained")))
    live_scores = [message["window"][2] for message in heard["tiny_trained"] if "window" in message]
    assert len(live_scores) >= 2
    np.testing.assert_allclose(live_scores, row["window_scores"], atol=1e-5)
    assert page.errors == []


def test_a_microphone_that_is_refused_is_said_and_can_be_tried_again(context, served):
    page = context.new_page()
    page.add_init_script(
        """navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); }"""
    )
    page.goto(served.address)
    expect(page.locator("#server")).to_have_attribute("data-state", "up")
    page.click("#record")
    expect(page.locator("#announce")).to_contain_text("was not allowed to use the microphone: allow it for this page")
    expect(page.locator("#record")).to_be_enabled()
    expect(page.locator("#record")).to_have_text("Use the microphone")
    expect(page.locator("#listing")).to_be_hidden()


def test_a_track_of_several_is_scored_and_heard(context, served, tiny_server, recordings, tmp_path):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    film = tmp_path / "film.mkv"
    human, rate_hz = soundfile.read(recordings / "human.flac", dtype="float32")
    quiet = np.full(2 * rate_hz, 0.001, np.float32)
    audio_forms.write_tracks(film, [human, quiet], rate_hz, "flac", container="matroska", languages=("eng", "deu"))
    page = opened(context, served.address)
    page.click(".options summary")
    page.fill("#track", "deu")
    page.press("#track", "Tab")
    drop(page, film)
    expect(page.locator("#facts")).to_contain_text("0:02.0")
    (row,) = rows_of(saved(page, "tiny_trained"))
    with Detector(tiny_server.grpc_url, "tiny_trained") as detector:
        expected = detector.score(film, mode="sliding", track="deu")
    assert row["track"] == "deu"
    assert float(row["score"]) == pytest.approx(expected.score, abs=1e-6)


def test_a_calibrated_card_gives_a_likelihood_ratio_in_words(context, serve, recordings, tmp_path):
    calibration = Calibration(
        kind="affine",
        parameters={"slope": 2.0, "intercept": -1.0},
        threshold=Threshold(0.5, 0.0, "least cost"),
        detector="tiny_trained",
        weights="custom",
        checkpoint_sha256=tiny_repository.DIGESTS["tiny_trained"],
        fitted_on={"protocol": "calls.csv"},
        figures={},
    )
    with Server(tiny_repository.write(tmp_path / "models", calibration)) as server, serve(server.grpc_url) as served:
        page = opened(context, served.address)
        drop(page, recordings / "human.flac")
        (row,) = rows_of(saved(page, "tiny_trained"))
        llr = 2 * float(row["score"]) - 1
        assert float(row["llr"]) == pytest.approx(llr, abs=1e-6)
        assert row["calibration_sha256"] == calibration.digest
        verdict = page.locator(".verdict", has=page.get_by_role("heading", name="tiny_trained"))
        words = "Bona fide by the calibration" if llr >= 0 else "Spoof by the calibration"
        expect(verdict.locator(".headline")).to_contain_text(words)
        expect(verdict).to_contain_text(f"LLR {llr:+.2f}")
        expect(verdict).to_contain_text("fitted on calls.csv")
        assert page.errors == []


def test_what_is_too_large_is_not_even_sent(context, serve, tiny_server, recordings):
    with serve(tiny_server.grpc_url, max_bytes=50_000) as small:
        page = opened(context, small.address)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        drop(page, recordings / "human.flac")
        expect(page.locator(".verdict").first).to_contain_text("expected a file of at most 0.05 MB")
        assert not [address for address in asked if "/api/score" in address or "/api/audio" in address]


def test_a_server_and_a_model_that_go_away_are_named_and_met_again(context, serve, recordings, tmp_path):
    both = tiny_repository.write(tmp_path / "both")
    with Server(both) as server:
        url, page = server.grpc_url, context.new_page()
        with serve(url) as served:
            page.goto(served.address)
            expect(page.locator("#server-words")).to_contain_text("2 detectors")
            drop(page, recordings / "human.flac")
            server.stop()
            expect(page.locator("#banner")).to_contain_text(f"no Triton server answers at {url}")
            drop(page, recordings / "synthetic.wav", done=False)
            expect(page.locator(".verdict .headline")).to_have_text(["Away", "Away"])
            expect(page.locator("#progress")).to_contain_text("1 of them waits for a detector that is away")
            shutil.rmtree(both / "tiny")
            shutil.rmtree(both / "tiny_live")
            with Server(both, grpc_port=int(url.rpartition(":")[2])):
                expect(page.locator("#banner")).to_be_hidden()
                expect(page.locator("#detectors")).to_contain_text("away: the server no longer has it")
                trained = page.locator(".verdict", has=page.get_by_role("heading", name="tiny_trained"))
                expect(trained).to_contain_text("the threshold")
        expect(page.locator("#banner")).to_contain_text("dfpage, the program behind this page, does not answer")
        expect(page.locator("#shown-title")).to_have_text("synthetic.wav")  # what is here stays
