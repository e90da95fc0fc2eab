"""The report: self-contained, safe from what file names hold, and working in a browser."""

import csv
import json
import re
import shutil
import subprocess
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

from dfdeploy.machine import missing_line
from dfeval import evaluate, join, load_protocol, load_scores
from dfeval.__main__ import main
from dfeval.evaluation import Settings
from dfeval.plots import style
from dfeval.plots.distributions import shorten
from dfeval.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>document.title='owned'</script> $x^{$ \"'&"


@pytest.fixture(scope="module")
def report(write_small_data, tmp_path_factory):
    """The folder of a report on two detectors, the second of random weights, with a system of a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    scores, protocol = write_small_data(folder)
    text = protocol.read_text().replace("fish", '"' + HOSTILE.replace('"', '""') + '"')
    protocol.write_text(text)
    second = folder / "second.csv"
    second.write_text(scores.read_text().replace("made_up,pretrained", "untrained,random"))
    loaded = load_protocol(protocol, "csv")
    settings = Settings(n_replicates=60)
    evaluations = [evaluate(join(load_scores(path), loaded), settings) for path in (scores, second)]
    return write_report(evaluations, folder / "report").parent


class Links(HTMLParser):
    """Every address that a page would load, and every tag."""

    def __init__(self):
        super().__init__()
        self.addresses, self.scripts = [], 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]


def test_page_needs_nothing_else(report):
    page = (report / "index.html").read_text()
    links = Links()
    links.feed(page)
    assert all(address.startswith("#") for address in links.addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    assert links.scripts == 1  # ours; the hostile name is text
    assert "&lt;script&gt;" in page


def test_page_says_what_figures_are_worth(report):
    page = (report / "index.html").read_text()
    assert re.search(r"RANDOM WEIGHTS:\s+\w+\s+scored with seeded weights", page)
    assert "protocol.csv" in page
    assert "bootstrap intervals" in page
    assert "hence optimistic" in page
    assert "120 of 120 trials" in page


def test_ids_of_pictures_are_their_own(report):
    identifiers = re.findall(r'\bid="([^"]+)"', (report / "index.html").read_text())
    assert len(identifiers) == len(set(identifiers))


def test_figures_as_files_agree(report):
    first, second = json.loads((report / "metrics.json").read_text())
    with (report / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    pooled = [row for row in rows if row["column"] == "pooled" and row["detector"] == "made_up"]
    assert {row["metric"]: float(row["value"]) for row in pooled} == first["pooled"]
    assert second["weights"] == "random"
    groups = [row for row in rows if row["column"] == "system" and row["metric"] == "eer"]
    assert {row["group"] for row in groups} == {HOSTILE, "yourtts"}


def test_every_picture_is_there_twice(report):
    names = {path.stem for path in (report / "pictures").glob("*.png")}
    assert names == {path.stem for path in (report / "pictures").glob("*.svg")}
    assert {"det", "roc", "eer-by-system", "1-scores", "1-scores-by-system", "1-confusion"} <= names
    assert {"1-reliability", "1-tippett", "2-scores"} <= names
    for path in (report / "pictures").glob("*.png"):
        assert path.stat().st_size > 5000


def test_two_detectors_of_one_name_are_refused(small_data, tmp_path):
    scores, protocol = small_data
    evaluation = evaluate(join(load_scores(scores), load_protocol(protocol, "csv")), Settings(n_replicates=0))
    with pytest.raises(Exception, match="give each a name of its own"):
        write_report([evaluation, evaluation], tmp_path / "report")


@pytest.mark.skipif(CHROMIUM is None, reason=str(missing_line("chromium")))
def test_page_sorts_and_runs_in_chromium(report, tmp_path):
    page = (report / "index.html").read_text()
    # The page under test clicks its own sort button and writes what it finds into its title.
    probe = """<script>
      const table = document.querySelector("table.sortable"), column = 4;
      const values = () => [...table.tBodies[0].rows].map(row => Number(row.cells[column].dataset.sort));
      const button = table.tHead.rows[0].cells[column].querySelector("button");
      button.click(); const up = values(); button.click(); const down = values();
      document.body.dataset.probe = JSON.stringify({
        up, down, pictures: document.querySelectorAll("figure svg").length,
        overflow: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        title: document.title,
      });
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=420,900", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-probe="([^"]+)"', done.stdout)
    assert found, done.stderr[-2000:]
    result = json.loads(found.group(1).replace("&quot;", '"').replace("&lt;", "<").replace("&amp;", "&"))
    assert result["up"] == sorted(result["up"])
    assert result["down"] == sorted(result["down"], reverse=True)
    assert result["pictures"] == len(list((report / "pictures").glob("*.svg")))
    assert result["overflow"] is False
    assert "owned" not in result["title"]


def test_no_cell_is_a_formula(write_small_data, tmp_path):
    """Spreadsheets run text that begins like one; figures and the dash of no attack stay as they are."""
    scores, protocol = write_small_data(tmp_path)
    protocol.write_text(protocol.read_text().replace("fish", "=1+1").replace("yourtts", "@SUM(A1)"))
    evaluation = evaluate(join(load_scores(scores), load_protocol(protocol, "csv")), Settings(n_replicates=20))
    folder = write_report([evaluation], tmp_path / "report").parent
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["group"] for row in rows if row["column"] == "system"} == {"'=1+1", "'@SUM(A1)"}
    for row in rows:
        float(row["value"])


def test_names_that_differ_at_their_end_stay_different_beside_a_picture():
    names = [f"neural-vocoder-autoregressive-system-{number:02d}" for number in range(12)]
    assert len({shorten(name) for name in names}) == 12
    assert {len(shorten(name)) for name in names} == {34}
    assert shorten("short") == "short"


SCRIPTS = ("音声合成", "हिन्दी", "русский", "한국어")


def test_names_in_any_script_are_text_on_the_page_and_one_note_at_most(write_small_data, tmp_path, monkeypatch, capsys):
    """On a machine that has no fonts but Matplotlib's own, a picture shows boxes, which is said once."""
    monkeypatch.setattr(style, "_PATHS", {"DejaVu Sans": style._PATHS["DejaVu Sans"]})
    monkeypatch.setitem(style.STYLE, "font.family", ["DejaVu Sans"])
    scores, protocol = write_small_data(tmp_path)
    name = " ".join(SCRIPTS)
    protocol.write_text(protocol.read_text().replace("fish", name), encoding="utf-8")
    command = ["report", scores, "--protocol", protocol, "--bootstrap", "0", "--out", tmp_path / "report"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(list(map(str, command))) == 0
    note = [line for line in capsys.readouterr().err.splitlines() if "font" in line]
    assert len(note) == 1
    missing = {character for script in SCRIPTS if script != "русский" for character in script}
    assert set(note[0].partition("no font here has ")[2].partition(":")[0]) == missing
    pictures = re.findall(r"<svg .*?</svg>", (tmp_path / "report" / "index.html").read_text("utf-8"), re.DOTALL)
    assert any(name in picture for picture in pictures)


@pytest.mark.slow  # draws forty groups of seven detectors
def test_seven_detectors_and_forty_groups_are_a_page_of_three_megabytes_at_most(tmp_path):
    rng = np.random.default_rng(0)
    systems = [f"{SCRIPTS[i % 4]} neural-vocoder-{i:02d}" for i in range(40)]
    kinds = [("-", "bonafide") if i % 4 == 0 else (systems[i % 40], "spoof") for i in range(4000)]
    rows = [f"u{i},{label},{system},s{i % 60}" for i, (system, label) in enumerate(kinds)]
    (tmp_path / "protocol.csv").write_text("\n".join(["utt_id,label,system,speaker", *rows]), encoding="utf-8")
    for number in range(7):
        values = rng.normal([1.0 if label == "bonafide" else -1.0 for _, label in kinds], 1.5)
        lines = [f"u{i},{value:.5f},detector-{number}-with-a-name-of-its-own" for i, value in enumerate(values)]
        (tmp_path / f"{number}.csv").write_text("\n".join(["utt_id,score,model", *lines]))
    loaded, settings = load_protocol(tmp_path / "protocol.csv", "csv"), Settings(n_replicates=20, by=("system",))
    paths = sorted(tmp_path.glob("[0-9].csv"))
    page = write_report([evaluate(join(load_scores(path), loaded), settings) for path in paths], tmp_path / "report")
    assert page.stat().st_size < 3_000_000
    assert all(system in page.read_text("utf-8") for system in systems[1:4])
