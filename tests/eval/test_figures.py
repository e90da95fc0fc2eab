"""A figure is one row: what it states reaches every output."""

import csv
import json

import pytest

from dfeval.__main__ import main
from dfeval.figures import METRICS, Basis, Metric
from dfeval.metrics.eer import OperatingPoint


def half(basis: Basis) -> OperatingPoint:
    """Half the bona fide trials' share, at a threshold that no other figure has."""
    return OperatingPoint(basis.rates.n_bonafide / (basis.rates.n_bonafide + basis.rates.n_spoof) / 2, 12.25)


@pytest.fixture
def made_up(monkeypatch):
    row = Metric("HALF", True, "a made-up figure", "", "", half, drawn=lambda replicates, _: replicates.eers)
    monkeypatch.setitem(METRICS, "half", row)


def test_a_new_row_is_computed_shown_and_written(made_up, small_data, tmp_path, capsys):
    scores, protocol = map(str, small_data)
    common = ["--protocol", protocol, "--bootstrap", "50", "--by", "system"]
    assert main(["metrics", scores, *common]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("HALF"))
    assert "25.00%" in line
    assert "12.25" in line
    assert main(["metrics", scores, "--json", *common]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["pooled"]["half"], figures["thresholds"]["half"]) == (0.25, 12.25)
    assert figures["intervals"]["half"]["low"] < 0.25 < figures["intervals"]["half"]["high"]
    assert [group["half"] for group in figures["groups"]] == pytest.approx([1 / 3, 1 / 3])
    assert main(["report", scores, *common, "--out", str(tmp_path / "report")]) == 0
    assert "a made-up figure" in (tmp_path / "report" / "index.html").read_text()
    with (tmp_path / "report" / "metrics.csv").open() as file:
        assert {
            row["value"] for row in csv.DictReader(file) if (row["column"], row["metric"]) == ("pooled", "half")
        } == {"0.25"}


def test_figures_without_a_verifier_are_left_out(small_data, capsys):
    scores, protocol = map(str, small_data)
    assert main(["metrics", scores, "--protocol", protocol, "--json", "--bootstrap", "0"]) == 0
    assert list(json.loads(capsys.readouterr().out)["pooled"]) == [name for name in METRICS if "tdcf" not in name]
